"""The index: source files → chunks, terms and definitions that can be searched at once."""

from codefilter.index.entry import FileEntry
from codefilter.index.postings import Definition, Snapshot
from codefilter.index.report import IndexReport
from codefilter.index.repository import RepositoryIndex

__all__ = ["Definition", "FileEntry", "IndexReport", "RepositoryIndex", "Snapshot"]
