"""Why an answer is as it is: which chunks were kept, which of those found were dropped, and why.

In: an `Answer`. Out: the same in JSON, for editors with a view of their own, and in Markdown, for all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from codefilter.filters.base import worth_showing
from codefilter.types import Completion, FilterDecision
from codefilter_lsp.answers import Answer


def explain(answer: Answer, impacts: Mapping[str, float]) -> dict[str, Any]:
    """The JSON that the command ``codefilter.explain`` returns; lines are 1-based, ends inclusive.

    `impacts`: nats per token that each chunk adds to the likelihood of the text, by chunk id, if measured.
    """
    shown: dict[str, Any] = {
        "id": answer.answer_id,
        "place": answer.place,
        "uri": answer.uri,
        "texts": list(answer.texts),
        "source": answer.source.value,
        "summary": answer.summary,
        "reason": answer.reason,
        "seconds": answer.seconds,
        "chunks": [],
    }
    if answer.suggestions is None:
        return shown
    completion, cleaned = answer.suggestions.completion, answer.suggestions.cleaned
    likelihood = completion.log_likelihood  # of no token where a server tells none
    late = set(answer.suggestions.late_chunk_ids)
    listed = worth_showing(completion.decisions)
    if others := len(completion.decisions) - len(listed):
        shown["summary"] = f"{answer.summary}; {others} of the dropped are not listed"
    return shown | {
        "written": completion.text,
        "cleaned": list(cleaned.rules),
        "finish_reason": completion.finish_reason.value,
        "prompt_tokens": answer.suggestions.prompt_tokens,
        "cross_file_tokens": completion.prompt.num_cross_file_tokens,
        "mean_log_likelihood_nats": likelihood.mean_nats if likelihood.num_tokens else None,
        "stage_seconds": completion.stage_seconds,
        "notices": list(completion.notices),
        "chunks": [_chunk(completion, d, late, impacts) for d in listed],
    }


def _chunk(
    completion: Completion, decision: FilterDecision, late: set[str], impacts: Mapping[str, float]
) -> dict[str, Any]:
    chunk = decision.candidate.chunk
    return {
        "id": chunk.chunk_id,
        "path": chunk.path,
        "start_line": chunk.start_line + 1,
        "end_line": chunk.end_line,
        "symbol": chunk.symbol,
        "text": chunk.text,
        "score": decision.candidate.score,
        "rank": decision.candidate.rank + 1,
        "retriever": decision.candidate.retriever,
        "keep": decision.keep,
        "in_prompt": chunk.chunk_id in completion.prompt.chunk_ids,
        "polarity": decision.polarity.value,
        "confidence": decision.confidence,
        "reason": _reason(completion, decision, late),
        "impact_nats": impacts.get(chunk.chunk_id),
    }


def _reason(completion: Completion, decision: FilterDecision, late: set[str]) -> str:
    if decision.candidate.chunk.chunk_id in late:
        return "kept, but left out to answer in time"
    return completion.prompt.reason(decision)


def to_markdown(explanation: dict[str, Any]) -> str:
    """An explanation as a page."""
    lines = [f"# Completion at {explanation['place']}", "", f"{explanation['summary']}."]
    for text in explanation["texts"]:
        lines += ["", "```", text, "```"]
    if explanation["chunks"]:
        lines += ["", *_table(explanation["chunks"])]
        seconds = explanation["stage_seconds"].items()
        lines += ["", " · ".join(f"{stage} {value:.2f} s" for stage, value in seconds)]
    if explanation.get("written") and explanation["cleaned"]:
        lines += ["", "As the model wrote it:", "", "```", explanation["written"], "```"]
    return "\n".join(lines) + "\n"


def _table(chunks: Sequence[Mapping[str, Any]]) -> list[str]:
    """The chunks; those first that did most for the text, once that was measured."""
    measured = [chunk for chunk in chunks if chunk["impact_nats"] is not None]
    if not measured:
        lines = ["| | place | symbol | why |", "|---|---|---|---|"]
        return [*lines, *(f"| {_verdict(chunk)} | {chunk['reason']} |" for chunk in chunks)]
    lines = ["Nats per token of the text above that each chunk alone adds to no chunk at all:", ""]
    lines += ["| | place | symbol | nats | why |", "|---|---|---|---:|---|"]
    for chunk in sorted(measured, key=lambda chunk: -float(chunk["impact_nats"])):
        lines.append(f"| {_verdict(chunk)} | {chunk['impact_nats']:+.2f} | {chunk['reason']} |")
    return lines


def _verdict(chunk: Mapping[str, Any]) -> str:
    place = f"{chunk['path']}:{chunk['start_line']}-{chunk['end_line']}"
    return f"{'used' if chunk['in_prompt'] else 'dropped'} | {place} | {chunk['symbol'] or ''}"
