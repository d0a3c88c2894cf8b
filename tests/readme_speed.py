"""The README's figures of speed; see `readme_results`."""

from typing import Any

from tests.recorded_results import read


def _rows(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read(name)["rows"]
    return rows


def _request_row(row: dict[str, Any]) -> str:
    name = row["kind"] if row["filter"] == "-" else f"{row['kind']}, `{row['filter']}`"
    points = row["points"]
    total = sum(point[2] for point in points) / sum(point[1] for point in points)
    seconds, other = row["seconds"], row["baseline"]
    filtered = "" if row["first_filter_ratio"] is None else f"{row['first_filter_ratio']:.2f}"
    return (
        f"| {name} | {row['requests']} | {row['prompt_tokens']:.0f} / {row['prompt_tokens'] - row['reused_tokens']:.0f} / {row['new_tokens']:.0f} "
        f"| {seconds['median_seconds']:.2f} ({seconds['p95_seconds']:.2f}) "
        f"| {other['median_seconds']:.2f} ({other['p95_seconds']:.2f}) "
        f"| {row['baseline_ratio']:.2f} | {total:.2f} | {filtered} |"
    )


def _answered(rows: list[dict[str, Any]]) -> str:
    return ", ".join(
        f"{row['hits']} of {row['hits'] + row['requests']} with `{row['filter']}`" for row in rows
    )


def filter_seconds(name: str, state: str) -> float:
    """Median time in which a filter judges the chunks of a place."""
    (row,) = (row for row in _rows("speed-filter.json") if (row["filter"], row["state"]) == (name, state))
    return float(row["decision"]["median_seconds"])


def requests() -> str:
    """Whole requests, from nothing and while somebody types, against llama-server."""
    cold, typing = _rows("speed-requests.json"), _rows("speed-typing.json")
    return "\n".join(
        [
            "**Requests** from place to text on two cores with VNNI, against llama-server with the same token ids and as many "
            "tokens written, seconds as median (95th percentile); `speed-requests.json`, `speed-typing.json`, each with a picture beside "
            "it. *Cold*: nothing of the prompt was computed before. *Typing*: recorded, with a request at every pause:",
            "",
            "| request, filter | number | tokens of the prompt / read anew / written | seconds | llama-server | faster, median "
            "| faster, total time | faster than with all ten chunks |",
            "|---|---|---|---|---|---|---|---|",
            *(_request_row(row) for row in [*cold, *typing]),
            "",
            f"Of typing, the first request at each place is left out, and pauses that an earlier suggestion answers: {_answered(typing)}. "
            "Chunks that cannot be read in 1.5 s are not read there. The aims were twice llama-server's speed for both, and while typing at most 0.5 s in the median and 0.9 s for 95 %. "
            "Missed: twice its speed while typing. There a request reads a few tokens and writes seven, each pass is as long as the processor takes to fetch the weights once, and "
            "ours have 8 bits where llama-server's have 4 to 6.",
        ]
    )


def agreement() -> str:
    """Whether engines write the same."""
    first, *others = _rows("speed-agreement.json")
    shown = (
        f"{row['engine']} ({row['edit_similarity']:.1f}; {row['same_text']} texts the same to the letter, "
        f"{row['mean_difference_nats']:.3f} nats per token of the ground truth apart)"
        for row in others
    )
    return (
        f"- The same {first['tasks']} line tasks written by {first['engine']} (edit similarity "
        f"{first['edit_similarity']:.1f}), and by {'; by '.join(shown)} (`speed-agreement.json`). The aims were at most 0.5 points and 0.05 nats from bfloat16."
    )


def likelihoods() -> str:
    """Ten chunks behind one context, by engine."""
    parts = []
    for row in _rows("speed-likelihood.json"):
        engine = row["engine"].split(",")[0].split(" ")[0]
        parts.append(
            f"{engine}, {row['context_tokens']} tokens of context: {row['shared_seconds']:.1f} s, plain "
            f"{row['naive_seconds']:.1f} s, {row['ratio']:.1f} times as fast, {row['mean_difference_nats']:.3f} nats per token apart"
        )
    return (
        "- Ten chunks scored behind one context, against one plain pass of torch for each, on random tokens "
        f"(`speed-likelihood.json`): {'; '.join(parts)}."
    )


def indexes() -> str:
    """Indexing and searching, by size."""
    lines = []
    for row in _rows("speed-index.json"):
        queries = ", ".join(
            f"{name} {1000 * spread['median_seconds']:.0f} ms ({1000 * spread['p95_seconds']:.0f}, {1000 * spread['max_seconds']:.0f} ms)"
            for name, spread in row["queries"].items()
        )
        saved = row["save_to_searchable"]
        lines.append(
            f"- {row['num_lines']:,} lines in {row['num_chunks']:,} chunks (`speed-index.json`): indexed in "
            f"{row['build_seconds']:.1f} s, opened again in {row['open_seconds']:.1f} s, a saved file found "
            f"after {1000 * saved['median_seconds']:.0f} ms ({1000 * saved['p95_seconds']:.0f} ms); peak "
            f"memory {row['build_peak_megabytes']:.0f} MB while building, {row['use_peak_megabytes']:.0f} MB "
            f"in use. A query for thirty chunks, median (95th percentile, longest): {queries}; BM25 is {row['bm25_speedup']:.0f} times "
            "as fast as rank-bm25, with the same scores."
        )
    return "\n".join(lines)
