"""An attribution with everything to look at, as an HTML page.

In: an `Attribution` and where it is from. Out: HTML of one file, nothing from the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from codefilter.attribution.measuring import Attribution, ChunkEffect
from codefilter.coloring import html_tokens
from codefilter.html_page import page
from codefilter.types import Prompt

_CONTEXT_LINES = 12


@dataclass(frozen=True)
class Explanation:
    """What is told about a text at a place."""

    place: str  # PATH:LINE:COLUMN, or an example of a dataset
    before: str  # all text before the place
    text: str
    is_given: bool  # by a person or a dataset; otherwise the model wrote it
    truth: str | None  # what stood there, where it was taken out
    model: str
    filter: str
    prompt: Prompt
    attribution: Attribution  # of the chunks that are worth showing
    others: int = 0  # chunks that were found besides, and dropped
    notices: tuple[str, ...] = ()

    @property
    def typed(self) -> str:
        """What stands before the text in its line."""
        return self.before[self.before.rfind("\n") + 1 :]

    @property
    def typed_before_tokens(self) -> str:
        """Like `typed`, without what the first token takes of it."""
        tokens = "".join(self.attribution.tokens)
        shared = len(tokens) - len(self.text) if tokens.endswith(self.text) else 0
        return self.typed[: len(self.typed) - shared]

    @property
    def summary(self) -> str:
        """How likely the text is without chunks and with those of the prompt."""
        alone, gain = self.attribution.alone, self.attribution.together_nats
        return (
            f"{alone.mean_nats:.3f} nats per token without chunks, {alone.mean_nats + gain:.3f} with the "
            f"{len(self.prompt.chunk_ids)} of the prompt ({gain:+.3f})"
        )


def by_impact(effects: Sequence[ChunkEffect]) -> list[ChunkEffect]:
    """The most helpful first."""
    return sorted(effects, key=lambda effect: -effect.impact_nats)


def title_of(effect: ChunkEffect) -> str:
    """Where a chunk is and what it gives, in one line."""
    chunk = effect.decision.candidate.chunk
    impact = "not measured" if effect.gains is None else f"{effect.impact_nats:+.3f}"
    symbol = f" · {chunk.symbol}" if chunk.symbol else ""
    return f"{impact} · {chunk.place}{symbol} · {effect.reason}"


def explanation_page(explanation: Explanation) -> str:
    """One self-contained page."""
    attribution = explanation.attribution
    tokens = attribution.tokens
    ordered = by_impact(attribution.effects)
    before = "\n".join(explanation.before.split("\n")[-_CONTEXT_LINES:])
    author = "given" if explanation.is_given else f"written by {explanation.model}"
    parts = [
        f"<p>Filter {escape(explanation.filter)}, layout {escape(explanation.prompt.layout)}, read by "
        f"{escape(explanation.model)}. Green tokens are likelier with the chunk alone than without any, red "
        "ones less likely; the strongest colour is 2 nats. It is measured in the layout of labels, where "
        "unrelated text changes least: a few hundredths of a nat per token mean nothing.</p>",
        *(f"<p>{escape(notice)}</p>" for notice in explanation.notices),
        f"<h2>Before it</h2><pre>{escape(before)}</pre>",
        f"<h2>The text, {escape(author)}</h2><p>{escape(explanation.summary)}</p>",
        f"<pre>{html_tokens(tokens, attribution.together_gains)}</pre>",
        "<h2>In the prompt</h2>",
        *(_chunk(effect, tokens) for effect in ordered if effect.is_in_prompt),
        "<h2>Dropped</h2>",
        *(_chunk(effect, tokens) for effect in ordered if not effect.is_in_prompt),
    ]
    if explanation.others:
        parts.append(f"<p>And {explanation.others} others.</p>")
    if explanation.truth is not None:
        parts.append(f"<h2>What stood there</h2><pre>{escape(explanation.truth)}</pre>")
    return page(explanation.place, "".join(parts))


def _chunk(effect: ChunkEffect, tokens: Sequence[str]) -> str:
    gains = "" if effect.gains is None else f"<pre>{html_tokens(tokens, effect.gains)}</pre>"
    text = escape(effect.decision.candidate.chunk.text)
    return f"<details><summary>{escape(title_of(effect))}</summary>{gains}<pre>{text}</pre></details>"
