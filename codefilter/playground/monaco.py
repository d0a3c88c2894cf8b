"""Monaco, the editor of VS Code, from the package index: fetched once, checked, unpacked into the cache.

In: nothing. Out: a folder with its script, style and worker. A widget for another toolkit carries it; its
script is an AMD module, which gives the editor's API to a page that has a ``define``.
"""

from __future__ import annotations

from pathlib import Path

from codefilter.packages import Progress, fetch_wheel, silent, unpack_wheel
from codefilter.paths import atomic_folder, cache_path, exclusive, remove_leftovers

WHEEL = "trame_code-1.3.0-py3-none-any.whl"  # MIT; Monaco itself is MIT too
SHA256 = "838e58bf1e2011f4c139a5c85d6bd6b95d6fc711e9e4e808effde29ec0db4f56"
SCRIPT, STYLE, WORKER = "trame-code.umd.js", "style.css", "editor.worker.bundle.js"
FILES = {SCRIPT: SCRIPT, STYLE: STYLE, WORKER: f"monacoeditorwork/{WORKER}"}  # as the page names them
_INSIDE = Path("trame_code", "module", "serve")


def monaco_folder(progress: Progress = silent) -> Path:
    """The folder that holds `FILES`, fetched on the first call.

    Raises:
        DownloadError: the index does not deliver the wheel.
        IntegrityError: it has another sha256.
    """
    home = cache_path() / "playground" / f"monaco-{SHA256[:12]}"
    with exclusive(home.name, on_wait=lambda: progress("waiting for another process", 0, 0)):
        if not home.is_dir():
            remove_leftovers(home)
            fetched = fetch_wheel(
                WHEEL,
                SHA256,
                cache_path() / "downloads",
                lambda done: progress("fetching the editor (5 MB)", done, 0),
            )
            with atomic_folder(home) as temporary:
                unpack_wheel(fetched, temporary / "wheel")
            fetched.unlink()
    return home / "wheel" / _INSIDE
