"""Text ↔ token ids, for any model: text is always only text.

In: a `tokenizer.json` (the `tokenizers` library). Out: token ids, bytes of tokens, control-token ids.
Notable: two views of one tokenizer. `encode` runs on a copy from which every control token has been removed,
so that ``<|fim_middle|>`` in somebody's source is tokenized like any other characters; `control_id` looks the
control token up by name. Runs of white space that are added tokens (CodeGen, StarCoder2) stay text.
"""

from __future__ import annotations

import codecs
import json
import re
from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer as BackendTokenizer

from codefilter.errors import ModelError
from codefilter.words import LETTERS, start_of_last

_REMEMBERED = 1024  # texts whose token ids are kept
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class HealedText(NamedTuple):
    """A text's tokens without its unstable end, and that end."""

    token_ids: list[int]
    removed: str


class Tokenizer:
    """A model's tokenizer with control tokens and text kept apart."""

    def __init__(self, tokenizer_json: str) -> None:
        spec: dict[str, Any] = json.loads(tokenizer_json)
        added: list[dict[str, Any]] = spec.get("added_tokens") or []
        self._control_ids: dict[str, int] = {t["content"]: t["id"] for t in added if t["content"].strip()}
        spec["added_tokens"] = [t for t in added if not t["content"].strip()]
        spec["post_processor"] = None  # it would add begin-of-text tokens
        spec["truncation"] = spec["padding"] = None
        _without_dummy_prefix(spec)
        self._text = BackendTokenizer.from_str(json.dumps(spec))
        self._whole = BackendTokenizer.from_str(tokenizer_json)
        # most of a prompt is that of the last key: the same chunks, the same suffix
        self._ids_of = lru_cache(maxsize=_REMEMBERED)(self._encode)

    @classmethod
    def from_folder(cls, folder: Path) -> Tokenizer:
        """Read ``tokenizer.json`` of a model folder; `ModelError` where there is none or it is broken."""
        path = folder / "tokenizer.json"
        try:
            return cls(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ModelError(
                f"{folder} has no tokenizer.json",
                hint="Save the model's fast tokenizer there (AutoTokenizer.save_pretrained).",
            ) from None
        except Exception as error:  # the backend raises a bare Exception
            raise ModelError(f"{path} is not a tokenizer: {error}", hint="Pull the model again.") from error

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, control tokens included."""
        return int(self._whole.get_vocab_size(with_added_tokens=True))

    @property
    def control_ids(self) -> frozenset[int]:
        """Ids of all control tokens; generation ends at any of them."""
        return frozenset(self._control_ids.values())

    def control_id(self, name: str) -> int | None:
        """Id of the control token of that name, or None where the model has none."""
        return self._control_ids.get(name)

    @property
    def names(self) -> dict[int, str]:
        """What every id is called, control tokens included; ids without a token are not there."""
        return {index: name for name, index in self._whole.get_vocab(with_added_tokens=True).items()}

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; nothing in it is taken for a control token, nothing is added."""
        return list(self._ids_of(text))

    def _encode(self, text: str) -> tuple[int, ...]:
        whole = text.encode("utf-8", "replace").decode()
        return tuple(self._text.encode(whole, add_special_tokens=False).ids)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of token ids; bytes that are no UTF-8 yet become U+FFFD."""
        return b"".join(self.token_bytes[i] for i in token_ids).decode("utf-8", "replace")

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """The part of `decode` that each token gives; a character of several tokens is the last one's."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        last = len(token_ids) - 1
        return [decoder.decode(self.token_bytes[i], final=place == last) for place, i in enumerate(token_ids)]

    def spell(self, token_ids: Sequence[int]) -> str | None:
        """Text that stands for token ids where control tokens are obeyed, or None where it would not.

        It would not where other text happens to name a control token.
        """
        names = {index: name.encode() for name, index in self._control_ids.items()}
        pieces = (names.get(index, self.token_bytes[index]) for index in token_ids)
        text = b"".join(pieces).decode("utf-8", "replace")
        obeyed = [i for i in self._whole.encode(text, add_special_tokens=False).ids if i in names]
        return text if obeyed == [i for i in token_ids if i in names] else None

    @cached_property
    def token_bytes(self) -> list[bytes]:
        """Bytes that each id stands for, by id; control tokens and holes in the vocabulary are empty."""
        table = [b""] * max(self.vocabulary_size, *(i + 1 for i in self._whole.get_vocab().values()))
        byte_level = _is_byte_level(json.loads(self._text.to_str()))
        control = self.control_ids
        for token, index in self._whole.get_vocab(with_added_tokens=True).items():
            if index in control:
                continue
            if byte_level:
                table[index] = _byte_level_bytes(token)
            elif match := _BYTE_TOKEN.fullmatch(token):
                table[index] = bytes([int(match[1], 16)])
            else:
                table[index] = token.replace("▁", " ").encode()
        return table

    @cached_property
    def _sorted_tokens(self) -> list[tuple[bytes, int]]:
        return sorted((piece, index) for index, piece in enumerate(self.token_bytes) if piece)

    def ids_starting_with(self, required: bytes) -> list[int]:
        """Ids whose bytes begin with `required`, and those that are a non-empty part of its beginning.

        These are the tokens that may come next when the text must go on with `required` (token healing).
        """
        table = self._sorted_tokens
        ids = []
        position = bisect_left(table, (required, -1))
        while position < len(table) and table[position][0].startswith(required):
            ids.append(table[position][1])
            position += 1
        for length in range(1, len(required)):
            position = bisect_left(table, (required[:length], -1))
            while position < len(table) and table[position][0] == required[:length]:
                ids.append(table[position][1])
                position += 1
        return ids

    def heal(self, text: str) -> HealedText:
        """Tokens of a text that generation continues, without the end whose tokens are not sure.

        A text that ends inside a word (``return self.fo``) has other last tokens than the finished word would
        have there. The tokens of the last run of letters are taken back, at least the last token, and what
        they stood for (normalized, where the tokenizer does that) must be the beginning of what is generated.
        A text that ends in a line break is left whole: code continues on a new token there.
        """
        ids = self.encode(text)
        if not ids or text.endswith("\n"):
            return HealedText(ids, "")
        text = self.decode(ids)  # as the model sees it: a normalizer may have changed it
        stable = text[: start_of_last(LETTERS, text)].removesuffix(" ")
        stable_bytes = len(stable.encode("utf-8", "replace"))
        ends = np.cumsum([len(self.token_bytes[i]) for i in ids])
        kept = min(len(ids) - 1, int(np.searchsorted(ends, stable_bytes, side="right")))
        while True:
            head = b"".join(self.token_bytes[i] for i in ids[:kept])
            try:
                return HealedText(ids[:kept], text[len(head.decode("utf-8")) :])
            except UnicodeDecodeError:  # never cut inside a character
                kept -= 1


def _without_dummy_prefix(spec: dict[str, Any]) -> None:
    """Switch off the space that SentencePiece puts before every text: segments are not sentences."""
    normalizer = spec.get("normalizer") or {}
    steps = normalizer.get("normalizers", [normalizer])
    kept = [step for step in steps if step.get("type") != "Prepend"]
    if len(kept) != len(steps):
        spec["normalizer"] = {"type": "Sequence", "normalizers": kept}
    pre = spec.get("pre_tokenizer") or {}
    for step in pre.get("pretokenizers", [pre]):
        if step.get("type") == "Metaspace":
            step["prepend_scheme"] = "never"
        if step.get("type") == "ByteLevel":
            step["add_prefix_space"] = False


def _is_byte_level(spec: dict[str, Any]) -> bool:
    decoder = spec.get("decoder") or {}
    return any(step.get("type") == "ByteLevel" for step in decoder.get("decoders", [decoder]))


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-ins for the 256 bytes, inverted."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = {chr(byte): byte for byte in printable}
    for offset, byte in enumerate(b for b in range(256) if b not in set(printable)):
        alphabet[chr(256 + offset)] = byte
    return alphabet


BYTE_OF_CHARACTER = _byte_alphabet()


def _byte_level_bytes(token: str) -> bytes:
    try:
        return bytes(BYTE_OF_CHARACTER[character] for character in token)
    except KeyError:  # an added token that is plain text
        return token.encode()
