"""Bytes → text: which encoding a file is in.

In: a file's bytes. Out: its text, lines ended by line feeds alone, or None where it is no text.
In order: a byte order mark, Python's coding cookie, UTF-8; else, and where the mark of UTF-8 is wrong, a
guess that is marked as one.
Notable: a wrong guess among the single-byte encodings spoils comments and string literals, not code, so the
last resort is Latin-1 and not a refusal.
"""

from __future__ import annotations

import codecs
import io
import tokenize
from typing import NamedTuple

from charset_normalizer import from_bytes

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark is the beginning of this one
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_GUESSES = [  # without cp1250: charset-normalizer would take every Western European file for Central European
    *("cp1252", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256"),
    *("gb18030", "big5", "shift_jis", "euc_jp", "euc_kr"),
]
_MAX_MESS = 0.1  # charset-normalizer's share of implausible text
_MIN_EVIDENCE_BYTES = 8  # with fewer that are not ASCII, one guess is as good as another
_LAST_RESORT = "latin-1"
_CONTROL_BYTES = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))
_MAX_CONTROL_SHARE = 0.01


class Decoded(NamedTuple):
    """A file's text and how it was found."""

    text: str
    encoding: str
    is_guess: bool


def decode(data: bytes, *, is_python: bool = False) -> Decoded | None:
    """Text of a file's bytes; None for binary data."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            rest = data[len(mark) :]
            is_bytewise = mark == codecs.BOM_UTF8 and b"\0" not in rest
            return _decoded(rest, encoding) or (_guess(rest) if is_bytewise else None)
    if b"\0" in data:
        return None
    if is_python and (cookie := _python_cookie(data)) and (decoded := _decoded(data, cookie)):
        return decoded
    return _decoded(data, "utf-8") or _guess(data)


def _decoded(data: bytes, encoding: str, *, is_guess: bool = False) -> Decoded | None:
    try:
        text = data.decode(encoding)
        text.encode()  # some codecs let lone surrogates through
    except (LookupError, ValueError):  # ValueError: also what binary "encodings" such as hex raise
        return None
    return Decoded(text.replace("\r\n", "\n").replace("\r", "\n"), encoding, is_guess)


def _python_cookie(data: bytes) -> str | None:
    try:
        return tokenize.detect_encoding(io.BytesIO(data).readline)[0]
    except SyntaxError:  # an unknown name, or no UTF-8 in the first two lines
        return None


def _guess(data: bytes) -> Decoded | None:
    if len(data) - len(data.translate(None, _CONTROL_BYTES)) > _MAX_CONTROL_SHARE * len(data):
        return None
    best = None
    if len(data.translate(None, bytes(range(128)))) >= _MIN_EVIDENCE_BYTES:
        best = from_bytes(data, threshold=_MAX_MESS, cp_isolation=_GUESSES).best()
    return _decoded(data, best.encoding if best else _LAST_RESORT, is_guess=True)
