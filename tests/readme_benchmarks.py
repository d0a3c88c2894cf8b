"""The README's figures of benchmarks: arms, and their differences with intervals.

In: records that `codefilter evaluate` wrote, in data/results/. Out: Markdown.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from codefilter.comparison import ALL_LEVELS, Comparison, compare
from codefilter.evaluation.results import TaskResult
from tests.recorded_results import read

_INTERVALS = "97.5 % intervals (95 %, corrected for two figures)"


def evaluation() -> str:
    record = read("fresh-core.json")
    repositories = len({result["repository"] for result in record["results"]})
    chosen = read("choose-threshold.json")
    figures = ", ".join(
        f"`{arm['arm']}` {arm['nats_per_token']:.3f} with {arm['cross_file_tokens']:.0f}"
        for arm in chosen["arms"]
    )
    return "\n".join(
        [
            f"**Completing** {record['tasks']} places of {repositories} benchmark packages ({record['levels']}; first "
            f"released after the model, no training label is of them; {record['model']['name']}; RepoCoder metrics; "
            "`fresh-core.json`):",
            "",
            *arms(record),
            "",
            f"k and the threshold were chosen on places of the train packages; the threshold on {chosen['tasks']}, by nats per "
            f"token and tokens of other files (`choose-threshold.json`): {figures}. It had been moved once before, after a look at "
            "the first 120 places of Fresh; on the last 270 alone the differences from `none` and `top-k:1` stay above zero (`LOG.md`). "
            f"Differences on Fresh with {_INTERVALS}:",
            "",
            *differences(record, [("all", "none"), ("top-k:1", "none"), *_of_the_filter(record)]),
            "",
            _layout(),
            "",
            "The same in `codefilter report`, whose page shows every task, its chunks and what each arm wrote (intervals of 95 % there; "
            "the seconds are of several days, some of a busy machine, and say less than the tokens):",
            "",
            "![Table of arms; edit similarity against prompt tokens and seconds](data/results/report.png)",
        ]
    )


def _layout() -> str:
    """What the default layout changed, and what the filter gains in it."""
    record = read("fresh-layout.json")
    headed = "/layout=repository"
    pairs = [
        ("none", f"none{headed}"),
        ("classifier", f"classifier{headed}"),
        (f"classifier{headed}", "none"),
        ("classifier", "none"),
        ("random-like:classifier", "none"),
        ("classifier", "random-like:classifier"),
    ]
    return "\n".join(
        [
            "**Layout.** Above, and in all other figures here, chunks and the current file stand in the prompt as files of a "
            "repository (layout `repository`), under headers that `none` has too. These make the truth less likely. Now "
            "chunks stand as code at the beginning of the prefix, and a prompt without chunks is that of one file (layout `auto`, "
            "the default). It was chosen on 27 places of the train packages, after two others had been looked at on Fresh (`LOG.md`); the filter, whose labels were made in the "
            f"old one, is as it was. {record['tasks']} of the places, on a processor without VNNI (`fresh-layout.json`; "
            "`random-like:classifier` keeps as many tokens as the filter, of chunks drawn at random):",
            "",
            *arms(record),
            "",
            f"Differences with {_INTERVALS}:",
            "",
            *differences(record, pairs),
        ]
    )


def repoeval() -> str:
    record = read("repoeval-function.json")
    return _held_against_each_other(
        record,
        f"**RepoEval**, {record['tasks']} function tasks of three repositories (`repoeval-function.json`; every model has "
        "probably seen them, so only the differences say something; tasks are drawn within repositories):",
    )


def another_generator() -> str:
    record = read("fresh-smollm2.json")
    text = _held_against_each_other(
        record,
        f"**Another generator**, {record['model']['name']}, which writes from left to right, with the same filter on "
        f"{record['tasks']} places of Fresh (`fresh-smollm2.json`; here retrieval and filter still saw the lines behind the "
        "hole, which they no longer do):",
    )
    return (
        f"{text}\n\nNot run yet, for want of processor hours: `oracle`, the controls at equal tokens, iterative and selective "
        "retrieval, left to right, post-processing; RepoEval's lines and calls, whose repositories no package carries."
    )


def _held_against_each_other(record: Any, head: str) -> str:
    table = differences(record, [("all", "none"), *_of_the_filter(record)])
    return "\n".join([head, "", *arms(record), "", f"Differences with {_INTERVALS}:", "", *table])


def choice() -> str:
    record = read("choose-layout.json")
    return "\n".join(
        [
            f"**Choosing** layout, order and retriever on {record['tasks']} places of the train packages, by the "
            "likelihood of the truth (`choose-layout.json`):",
            "",
            *arms(record),
        ]
    )


def arms(record: Any) -> list[str]:
    """A table of all arms."""
    rows = [
        "| arm | EM / ES | nats per token | worse than `none` | prompt tokens | of other files | nothing kept |",
        "|---|---|---|---|---|---|---|",
    ]
    kept = defaultdict(list)
    for result in record["results"]:
        kept[result["arm"]].append(result["kept"])
    for arm in record["arms"]:
        nothing = kept[arm["arm"]].count(0) / len(kept[arm["arm"]])
        match = (
            "" if arm["exact_match"] is None else f"{arm['exact_match']:.1f} / {arm['edit_similarity']:.1f}"
        )
        rows.append(
            f"| `{arm['arm']}` | {match} | {arm['nats_per_token']:.3f} | {100 * arm['worse_than_first']:.0f} % "
            f"| {arm['prompt_tokens']:.0f} | {arm['cross_file_tokens']:.0f} | {100 * nothing:.0f} % |"
        )
    return rows


def differences(record: Any, pairs: Sequence[tuple[str, str]]) -> list[str]:
    """A table of arms, each against a baseline: the two primary figures, judged together, and exact match."""
    rows = [
        "| | nats per token | ES | EM | win / tie / loss in nats | repositories + / - |",
        "|---|---|---|---|---|---|",
    ]
    found = {baseline: _compared(record, baseline) for _, baseline in pairs}
    for arm, baseline in pairs:
        nats, similarity, match = (found[baseline][arm, metric] for metric in ("nats", "es", "em"))
        rows.append(
            f"| `{arm}` against `{baseline}` | {nats.difference.show_signed(3)} "
            f"| {similarity.difference.show_signed(1)} | {match.difference.show_signed(1)} "
            f"| {nats.wins} / {nats.ties} / {nats.losses} "
            f"| {nats.repositories_better} / {nats.repositories_worse} |"
        )
    return rows


def _of_the_filter(record: Any) -> list[tuple[str, str]]:
    others = [arm["arm"] for arm in record["arms"] if arm["arm"] != "classifier"]
    return [("classifier", arm) for arm in others if not arm.startswith("oracle")]


def _compared(record: Any, baseline: str, tests: int = 2) -> Mapping[tuple[str, str], Comparison]:
    results = [TaskResult(prediction="", target="", chunks=(), **row) for row in record["results"]]
    rows = compare(results, baseline, record["benchmark"], ("nats", "es", "em"), tests=tests)
    levels = {row.level for row in rows}
    wanted = ALL_LEVELS if ALL_LEVELS in levels else next(iter(levels))
    return {(row.arm, row.metric): row for row in rows if row.level == wanted}
