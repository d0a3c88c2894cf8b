"""What must start quickly does not load the engines of the models."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "gguf", "huggingface_hub", "safetensors")


@pytest.mark.parametrize(
    "code",
    [
        "import codefilter",
        "from codefilter.cli import main; main(['--help'])",
        "from codefilter.cli import main; main(['complete', '--help'])",
        "from codefilter.cli import main; main(['explain', '--help'])",
        "from codefilter.cli import main; main(['index', '--help'])",
        "from codefilter.cli import main; main(['models', 'list'])",
        "from codefilter.cli import main; main(['complete', 'absent.py', '--line', '1'])",
        "import codefilter_lsp.__main__",
    ],
)
def test_the_engines_are_not_loaded(code: str) -> None:
    report = f"; import sys; print('loaded:', [name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1:] == ["loaded: []"], done.stderr
