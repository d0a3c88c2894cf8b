"""The README's figures of the server at work; see `readme_results`."""

from typing import Any

from tests.recorded_results import read
from tests.soak.running import WARM_UP, memory_growth

_KINDS = {"cold": "the first in a file", "warm": "later ones", "without the model": "without the model"}
_PREPARING = ("in-file", "retrieve", "filter", "prompt")


def _answers(row: dict[str, Any]) -> str:
    share = row["stage_share"]
    parts = [sum(share.get(stage, 0) for stage in _PREPARING), share.get("read"), share.get("write")]
    parts.append(share.get("debounce, queue, protocol"))
    shown = " | ".join(f"{100 * part:.0f} %" if share and part is not None else "" for part in parts)
    seconds = f"{row['median_seconds']:.3f} ({row['p95_seconds']:.3f})"
    return f"| {_KINDS[row['kind']]} | {row['requests']} | {seconds} | {shown} |"


def _soak(run: dict[str, Any]) -> str:
    soon, seconds = run["superseded_ms"], run["seconds"]
    lasted = f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
    changes = run["actions"].get("change settings")
    settings = f" and {changes} changes of settings" if changes else ""
    text = (
        f"- {run['requests']:,} requests in {lasted} with `{run['model'].partition(':')[0]}`{settings}: "
        f"{run['texts_compared']:,} texts of documents were held against the editor's, {run['prompts']:,} prompts searched for "
        f"what is secret or ignored. A superseded request is answered after {soon['median']:.0f} ms "
        f"(95 % within {soon['p95']:.0f} ms)"
    )
    if stopped := run.get("stopped_ms"):
        text += f", its work stops after {stopped['median']:.0f} ms (95 % within {stopped['p95']:.0f} ms)"
    memory = run["memory_mb"]
    warm = memory[int(10 * WARM_UP) :]
    text += f". Memory: {memory[0]:.0f} MB at first, {min(warm):.0f} to {max(warm):.0f} MB after a warm-up of two tenths"
    growth = memory_growth(memory, run["requests"])
    if growth is not None:
        text += f"; in the second half it grows by {growth:.1f} MB per 10,000 requests"
    problems = [problem.partition(":")[0] for problem in run["problems"]]
    return text + (f". Not as it must be: {'; '.join(problems)}." if problems else ". No error was found.")


def in_the_editor() -> str:
    """Answers while somebody types, and the soak."""
    latency, soak = read("latency.json"), read("soak.json")
    counts = latency["counts"]
    return "\n".join(
        [
            f"**In the editor**: {counts['requests']} keys typed at {counts['places']} tasks of Fresh through the server, a "
            f"request after each, two cores, {latency['model']} (`latency.json`); the next key replaced "
            f"{counts['replaced by the next key']} of them. At each task the cursor rested for {latency['rest_seconds']:.0f} s before the "
            "first key, in which VS Code, Neovim and Emacs let the place be read:",
            "",
            "| answers | number | seconds, median (95th percentile) | finding, filtering | reading | writing | pause and queue |",
            "|---|---|---|---|---|---|---|",
            *map(_answers, latency["rows"]),
            "",
            "Hours of editing pressed into minutes, with files that vanish and broken messages in between (`soak.json`):",
            "",
            *map(_soak, sorted(soak["runs"], key=lambda run: run["requests"])),
        ]
    )
