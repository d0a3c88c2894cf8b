"""Repository → source files: which to take, and their text.

In: a folder. Out: `scan` finds the files and says why others are left out; `read_source` decodes one;
`skip_reason` judges one path as a scan would (an editor's changed file).
"""

from codefilter.source.decoding import Decoded, decode
from codefilter.source.ignoring import IGNORE_FILES
from codefilter.source.names import is_secret, is_skipped_folder
from codefilter.source.reading import DecodedSourceFile, read_source, text_reason
from codefilter.source.report import ScanReport, Skipped, SkipReason
from codefilter.source.scanning import SourceLimits, scan, skip_reason

__all__ = [
    "IGNORE_FILES",
    "Decoded",
    "DecodedSourceFile",
    "ScanReport",
    "SkipReason",
    "Skipped",
    "SourceLimits",
    "decode",
    "is_secret",
    "is_skipped_folder",
    "read_source",
    "scan",
    "skip_reason",
    "text_reason",
]
