"""Make ``codefilter-VERSION.vsix``, the extension with the server's wheel inside.

Needs npm on the PATH, and a Python with pip. Run it from anywhere: ``python3.11
lsp/editors/vscode/make_vsix.py``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


def main() -> int:
    """Build the wheel, compile, package; returns the exit code."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("error: npm is not on the PATH\nhint: install Node.js 20 or newer, which brings it")
    server = HERE / "server"
    shutil.rmtree(server, ignore_errors=True)
    wheel = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(server), str(ROOT)]
    shutil.copy(ROOT / "LICENSE", HERE / "LICENSE")
    for command in (wheel, [npm, "install"], [npm, "run", "package"]):
        if subprocess.run(command, cwd=HERE, check=False).returncode != 0:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
