"""Every error a user can meet, with a hint that says what to do next.

The tree::

    CodeFilterError            exit 1
    ├── UsageError             exit 2   a wrong argument, line, path or name
    │   └── ConfigError        exit 2   a broken or unknown setting
    ├── SourceError            exit 1   a file or repository that cannot be read as source text
    ├── IndexStorageError      exit 1   an index that cannot be read or written
    ├── ModelError             exit 1   a model that cannot be used
    │   ├── ModelMissingError  exit 1   known or named, but not on this machine
    │   ├── PromptError        exit 1   a prompt that the model cannot read, however often it is asked
    │   ├── ServerError        exit 1   a server that does not answer now, whatever it is asked
    │   ├── DownloadError      exit 1   no source delivered the weights
    │   └── IntegrityError     exit 1   bytes that do not have the promised sha256
    ├── DatasetError           exit 1   a dataset that cannot be read, or does not fit its sources
    ├── FilterError            exit 1   a filter that lacks what it declares to need
    └── CancelledError         exit 130 the user or a newer request stopped the work

The command line prints ``error: <message>`` and ``hint: <hint>`` on stderr and exits with `exit_code`;
``--debug`` shows the traceback.
"""

from typing import ClassVar


class CodeFilterError(Exception):
    """Base of all expected errors: a one-line message, a hint, an exit code."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(CodeFilterError):
    """The request itself is wrong: an argument, a line, a path, a name."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration file or environment variable is broken or unknown."""


class SourceError(CodeFilterError):
    """A file or repository cannot be read as source text."""


class IndexStorageError(CodeFilterError):
    """An index cannot be read or written."""


class ModelError(CodeFilterError):
    """A model cannot be used."""


class ModelMissingError(ModelError):
    """A model is known, or named, but its weights are not on this machine."""


class PromptError(ModelError):
    """A model cannot read this prompt: it is too long for it, for instance. Others it can."""


class ServerError(ModelError):
    """A model's server cannot be reached, or does not answer now: the same request may work later."""


class DownloadError(ModelError):
    """No source delivered the weights or the package."""


class IntegrityError(ModelError):
    """Bytes do not have the promised sha256."""


class DatasetError(CodeFilterError):
    """A labelled dataset cannot be read, or its text cannot be found again."""


class FilterError(CodeFilterError):
    """A filter lacks something that it declares to need."""


class CancelledError(CodeFilterError):
    """The user or a newer request stopped the work."""

    exit_code = 130


def first_line(error: Exception) -> str:
    """An error of a library, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
