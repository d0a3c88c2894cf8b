"""The text that a person gets to see: how much to ask the model for, and what of its output to keep.

In: the place of the cursor and what the model wrote. Out: text that fits there, or none and the reason. It
belongs to the editor's way: benchmarks score what the model wrote, unless cleaning is an arm.
"""

from codefilter.postprocess.cleaning import Cleaned, clean, parsing_first
from codefilter.postprocess.extent import Extent, extent_of, without_closed
from codefilter.postprocess.place import Place

__all__ = ["Cleaned", "Extent", "Place", "clean", "extent_of", "parsing_first", "without_closed"]
