"""What is indexed, and how: the root, the scope, the chunker.

In: what a user asks for. Out: a checked `IndexSpec`, which also knows under which name an index is saved
and what makes a saved one unfit.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import codefilter
from codefilter.chunking import ChunkOptions, find_chunker
from codefilter.errors import UsageError
from codefilter.languages import parsing_versions
from codefilter.source.scanning import scope_parts


@dataclass(frozen=True)
class IndexSpec:
    """One way to index one repository; make it with `checked`."""

    root: Path  # absolute, without links
    scope: str | None  # folder below the root, with forward slashes; None: all of it
    chunker: str
    options: ChunkOptions

    @classmethod
    def checked(cls, root: Path, scope: str | None, chunker: str, options: ChunkOptions) -> IndexSpec:
        """Check what was asked for.

        Raises:
            UsageError: no such folder, scope or chunker.
        """
        if not root.is_dir():
            raise UsageError(f"{root} is not a folder", hint="Name the folder of a repository.")
        find_chunker(chunker, options)
        root = Path(os.path.realpath(root))
        return cls(root, "/".join(scope_parts(root, scope)) or None, chunker, options)

    @property
    def settings(self) -> str:
        """Everything besides the files that decides what the index says."""
        place = [str(self.root), self.scope, self.chunker]
        return json.dumps([codefilter.__version__, parsing_versions(), *place, asdict(self.options)])

    @property
    def file_name(self) -> str:
        """One name per root, scope and chunker; the folder's name in front is for people."""
        place = json.dumps([str(self.root), self.scope, self.chunker])
        name = re.sub(r"[^\w.-]", "_", self.root.name)[:40]
        return f"{name}-{hashlib.sha256(place.encode()).hexdigest()[:16]}.sqlite"
