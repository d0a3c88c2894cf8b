"""The README's figures, made from data/results/: ``python -m tests.readme_results`` prints the section.

In: the records that `codefilter evaluate` and `codefilter speed` wrote. Out: Markdown. `test_readme` checks
that the README holds exactly this.
"""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "data" / "results"


def read(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def arms(name: str) -> list[str]:
    rows = []
    for arm in read(name)["arms"]:
        match = (
            "" if arm["exact_match"] is None else f"{arm['exact_match']:.1f} / {arm['edit_similarity']:.1f}"
        )
        rows.append(
            f"| `{arm['arm']}` | {match} | {arm['nats_per_token']:.3f} | {100 * arm['worse_than_first']:.0f} % "
            f"| {arm['prompt_tokens']:.0f} | {arm['cross_file_tokens']:.0f} |"
        )
    return rows


def evaluation() -> str:
    record = read("fresh-untrained.json")
    head = "| arm | EM / ES | nats per token | worse than `none` | prompt tokens | of other files |"
    return "\n".join(
        [
            f"**Completing** {record['tasks']} places of the benchmark packages ({record['levels']}; packages of 2026; "
            f"{record['model']['name']}; RepoCoder metrics; `fresh-untrained.json`):",
            "",
            head,
            "|---|---|---|---|---|---|",
            *arms("fresh-untrained.json"),
        ]
    )


def choice() -> str:
    record = read("choose-layout.json")
    head = "| arm | | nats per token | worse than `none` | prompt tokens | of other files |"
    return "\n".join(
        [
            f"**Choosing** layout, order and retriever on {record['tasks']} places of the train packages, by the "
            "likelihood of the truth (`choose-layout.json`):",
            "",
            head,
            "|---|---|---|---|---|---|",
            *arms("choose-layout.json"),
        ]
    )


def speed() -> str:
    index = read("speed-index.json")["rows"][0]
    cancellation = read("speed-cancellation.json")["rows"][0]
    likelihood = "; ".join(
        f"{row['context_tokens']} tokens of context: {row['shared_seconds']:.1f} s, plain {row['naive_seconds']:.1f} s, "
        f"{row['ratio']:.1f} times as fast"
        for row in read("speed-likelihood.json")["rows"]
    )
    queries = ", ".join(
        f"{name} {1000 * spread['median_seconds']:.0f} ms ({1000 * spread['p95_seconds']:.0f} ms)"
        for name, spread in index["queries"].items()
    )
    return "\n".join(
        [
            "**Speed** on two cores (AMD EPYC, AVX-512):",
            "",
            f"- The train packages, {index['num_lines']:,} lines in {index['num_chunks']:,} chunks "
            f"(`speed-index.json`): indexed in {index['build_seconds']:.1f} s, opened again in "
            f"{index['open_seconds']:.1f} s, a changed file in {1000 * index['change']['median_seconds']:.0f} ms; "
            f"peak memory {index['build_peak_megabytes']:.0f} MB while building, "
            f"{index['use_peak_megabytes']:.0f} MB in use.",
            f"- A query there, median (95th percentile): {queries}; BM25 is {index['bm25_speedup']:.0f} times as "
            "fast as rank-bm25, with the same scores.",
            f"- Ten chunks scored behind one context, against one plain pass for each "
            f"(`speed-likelihood.json`): {likelihood}.",
            f"- A cancelled request stops after {1000 * cancellation['median_seconds']:.0f} ms, at worst "
            f"{1000 * cancellation['worst_seconds']:.0f} ms, in the middle of a prompt that takes "
            f"{cancellation['whole_prompt_seconds']:.1f} s (`speed-cancellation.json`).",
        ]
    )


def render() -> str:
    return f"{evaluation()}\n\n{choice()}\n\n{speed()}\n"


if __name__ == "__main__":
    print(render(), end="")
