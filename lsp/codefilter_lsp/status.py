"""What the server is doing, in one line: for a status bar, and for who asks why nothing is shown.

In: events. Out: `Status`, in the form that editors know from Copilot: busy or not, a kind, a message.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """As an editor colours it."""

    NORMAL = "Normal"
    WARNING = "Warning"
    ERROR = "Error"
    INACTIVE = "Inactive"  # switched off, snoozed


@dataclass(frozen=True)
class Status:
    """One line about the server."""

    message: str
    kind: Kind = Kind.NORMAL
    busy: bool = False

    def to_json(self) -> dict[str, object]:
        """The parameters of ``didChangeStatus``."""
        return {"busy": self.busy, "kind": self.kind.value, "message": self.message}
