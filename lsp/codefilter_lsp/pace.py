"""How long to wait for the next key before the model is asked.

In: the times of keystrokes. Out: seconds to wait. Who types fast will press the next key before an answer can
be there, so the wait follows the usual time between two keys; after a pause there is none.
"""

from __future__ import annotations

_LONGEST_GAP_SECONDS = 1.0  # a longer one is a pause, not the pace of typing
_WEIGHT = 0.3  # of the newest gap in the running mean
_LONGEST_WAIT_SECONDS = 0.25
_SHARE_OF_GAP = 0.75


class Pace:
    """The typing in one editor."""

    def __init__(self) -> None:
        self._last = float("-inf")
        self._usual_gap: float | None = None

    def key(self, now: float) -> None:
        """A document changed at this time, in seconds of any clock."""
        gap, self._last = now - self._last, now
        if gap < _LONGEST_GAP_SECONDS:
            usual = self._usual_gap
            self._usual_gap = gap if usual is None else usual + _WEIGHT * (gap - usual)

    def wait_seconds(self, now: float) -> float:
        """How long a request of this time should wait, counted from the last key."""
        if self._usual_gap is None:
            return 0.0
        wanted = min(_LONGEST_WAIT_SECONDS, _SHARE_OF_GAP * self._usual_gap)
        return max(0.0, self._last + wanted - now)
