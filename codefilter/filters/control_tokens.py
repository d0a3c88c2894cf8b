"""The tokens with which a tuned model says what it makes of its context: ``<EC>``, ``<MC>``, ``<pos>``, ...

In: a tokenizer and the number of rows of the model's embedding. Out: `ControlTokens`: ids that no text has.
Notable: a vocabulary never grows for them. Models have rows that their tokenizer does not use, or uses for
what never stands in a prompt here (the pages of issues and notebooks that StarCoder's and SmolLM2's makers
read); a model without five such rows is an error.
"""

from __future__ import annotations

import re
from dataclasses import astuple, dataclass

from codefilter.errors import ModelError
from codefilter.tokenizer import Tokenizer
from codefilter.types import Polarity

_UNUSED = re.compile(r"\[PAD\d+\]|<\|?(extra|placeholder|reserved|unused)[\w ]*\|?>|\[unused\d+\]")
_OTHERWISE_USED = re.compile(r"<(commit|empty|gh|issue|jupyter)_\w+>")


@dataclass(frozen=True)
class ControlTokens:
    """Token ids (CODEFILTER, arXiv 2508.05970, section 4)."""

    enough: int  # <EC>: enough context
    more: int  # <MC>: more context, a chunk follows
    positive: int  # <pos>, of the chunk before
    neutral: int  # <neu>
    negative: int  # <neg>

    @property
    def ids(self) -> tuple[int, ...]:
        """All five, in the order above."""
        return astuple(self)

    def of(self, polarity: Polarity) -> int:
        """The token of a polarity."""
        return int(getattr(self, polarity.value))


WORDS = ("enough", "more", "positive", "neutral", "negative")  # what they mean: where their rows begin
NAMES = {Polarity.POSITIVE: "<pos>", Polarity.NEUTRAL: "<neu>", Polarity.NEGATIVE: "<neg>"}


def choose_control_tokens(tokenizer: Tokenizer, num_rows: int) -> ControlTokens:
    """The first five spare rows: without a token, then unused ones, then those of issues and notebooks.

    Raises:
        ModelError: there are not that many.
    """
    names = tokenizer.names
    nameless = [index for index in range(num_rows) if index not in names]
    named = sorted((index, name) for index, name in names.items() if index < num_rows)
    unused = [index for index, name in named if _UNUSED.fullmatch(name)]
    control = tokenizer.control_ids
    otherwise = [index for index, name in named if index in control and _OTHERWISE_USED.fullmatch(name)]
    spare = [*nameless, *unused, *otherwise]
    if len(spare) < len(WORDS):
        raise ModelError(
            f"the model's vocabulary has {len(spare)} spare rows, and five control tokens need one each",
            hint="Train another model, of Qwen2.5-Coder's, SmolLM2's or StarCoder2's family for example.",
        )
    return ControlTokens(*spare[: len(WORDS)])
