"""What becomes of a text after it was shown: spans of documents that move with the edits.

In: places and edits. Out: what stands there later.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Span:
    """A run of characters of a document, in code points; it grows with what is typed inside or at its end."""

    start: int
    end: int

    def edit(self, start: int, end: int, new_length: int) -> bool:
        """Follow the replacement of [start, end) by so many characters; False where the span is lost."""
        change = new_length - (end - start)
        if end < self.start or (end == self.start and start < self.start):
            self.start += change
            self.end += change
        elif start > self.end:
            pass
        elif start >= self.start and end <= self.end:
            self.end += change
        else:
            return False  # the edit reaches over an edge: what is whose cannot be told
        return True
