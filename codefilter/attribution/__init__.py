"""Which chunks raised the likelihood of a text at a place, and of which of its tokens."""

from codefilter.attribution.measuring import Attribution, ChunkEffect, attribute

__all__ = ["Attribution", "ChunkEffect", "attribute"]
