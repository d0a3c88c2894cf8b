"""The README's figures of benchmarks: arms, and their differences with intervals.

In: records that `codefilter evaluate` wrote, in data/results/. Out: Markdown.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from codefilter.comparison import ALL_LEVELS, Comparison, Method, compare
from codefilter.evaluation.records import recorded_results
from codefilter.evaluation.results import TaskResult
from codefilter.evaluation.summary import summarise
from tests.recorded_results import read

_DRAWN = {
    Method.BY_REPOSITORY: "repositories are drawn, so they speak for other repositories too",
    Method.WITHIN_REPOSITORIES: "tasks are drawn within the repositories, so they speak for these only",
}


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
            "**Completions**, all of Python. An arm is one way to complete. EM is exact match, ES edit similarity (both 0 to 100), nats per "
            "token the mean natural-log likelihood of the ground truth; *Fresh* is our benchmark of ten packages whose first files "
            "on the package index are later than the model, and that no training label is of.",
            "",
            f"**Fresh**, {record['tasks']} tasks of {repositories} packages ({record['levels']}; {record['model']['name']}; RepoCoder's "
            "metrics; `fresh-core.json`):",
            "",
            *arms(record),
            "",
            f"k and the threshold were chosen on tasks of the train packages; the threshold on {chosen['tasks']}, by nats per "
            f"token and tokens of other files (`choose-threshold.json`): {figures}. It had been moved once before, after a look at "
            "the first 120 tasks of Fresh; on the other 280 alone the differences from `none` and `top-k:1` are above zero (`LOG.md`). Of "
            "the 44 places 36 are of repositories that the filter's weights learned from.",
            "",
            *differences(record, [("all", "none"), ("top-k:1", "none"), *_of_the_filter(record)]),
            "",
            _layout(),
            "",
            "The same in `codefilter report data/results/fresh-layout.json --tests 2`; of a run's folder the page also shows tasks, their "
            "chunks and what each arm wrote (the seconds are of several days, some of a busy machine, and say less than the tokens):",
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
        ("all", "none"),
        ("top-k:1", "none"),
        ("classifier", "none"),
        ("random-like:classifier", "none"),
        ("classifier", "random-like:classifier"),
        ("top-k-like:classifier", "none"),
        ("classifier", "top-k-like:classifier"),
        ("classifier", "top-k:1"),
        ("classifier", "all"),
    ]
    known = {arm["arm"] for arm in record["arms"]}
    results = _results(record)
    return "\n".join(
        [
            "**Layout.** Above, and in all other figures here, chunks and the current file stand in the prompt as files of a "
            "repository (layout `repository`), under headers that `none` has too. These make the ground truth less likely. Now "
            "chunks stand as code at the beginning of the prefix, and a prompt without chunks is that of one file (layout `auto`, "
            "the default). Of two that did not differ on 26 tasks of the train packages it is the one that leaves more computed "
            "while somebody types; two others had been looked at on Fresh (`LOG.md`); "
            f"the filter, whose labels were made in the old one, is as it was. {len({r.task_id for r in results})} of the tasks, of "
            f"{len({r.repository for r in results})} packages, computed by OpenVINO with float32 activations, not by what is the default today (`fresh-layout.json`; half of the "
            "tasks had been looked at before the rest was run; "
            "`random-like:classifier` keeps as many tokens as the filter, of chunks drawn at random, `top-k-like:classifier` of those "
            "that the retriever ranks first):",
            "",
            *arms(record),
            "",
            *differences(record, [pair for pair in pairs if known.issuperset(pair)]),
        ]
    )


def repoeval() -> str:
    record = read("repoeval-function.json")
    return _held_against_each_other(
        record,
        f"**RepoEval**, {record['tasks']} function tasks of three repositories (`repoeval-function.json`; every model has "
        "probably seen them, so differences say more than levels):",
    )


def another_generator() -> str:
    record = read("fresh-smollm2.json")
    text = _held_against_each_other(
        record,
        f"**Another generator**, {record['model']['name']}, which writes from left to right, with the same filter on "
        f"{record['tasks']} tasks of Fresh (`fresh-smollm2.json`; here retrieval and filter still saw the lines behind the "
        "hole, which they no longer do):",
    )
    return (
        f"{text}\n\nNot run yet, for want of processor hours: `oracle`, `threshold` at equal tokens, `perplexity`, "
        "iterative and selective retrieval, the default model from left to right, post-processing; Fresh's functions; the tables of the old layout in the "
        "new one. Not to be had here: RepoEval's lines and calls, whose repositories no package carries, and CrossCodeEval."
    )


def _held_against_each_other(record: Any, head: str) -> str:
    table = differences(record, [("all", "none"), *_of_the_filter(record)])
    return "\n".join([head, "", *arms(record), "", *table])


def arms(record: Any) -> list[str]:
    """A table of all arms, over the tasks that all of them have."""
    rows = [
        "| arm | EM / ES | nats per token | worse than `none` | prompt tokens | of other files | nothing kept | nothing written |",
        "|---|---|---|---|---|---|---|---|",
    ]
    abstained = {arm["arm"]: arm.get("abstained") for arm in record["arms"]}
    for arm in summarise(_results(record), list(abstained)):
        match = "" if arm.exact_match is None else f"{arm.exact_match:.1f} / {arm.edit_similarity:.1f}"
        empty = "" if arm.exact_match is None else f"{abstained[arm.arm]:.0f} %"
        worse = "" if arm.worse_than_first is None else f"{100 * arm.worse_than_first:.0f} %"
        rows.append(
            f"| `{arm.arm}` | {match} | {arm.nats_per_token:.3f} | {worse} "
            f"| {arm.prompt_tokens:.0f} | {arm.cross_file_tokens:.0f} | {arm.kept_nothing:.0f} % | {empty} |"
        )
    return rows


def differences(record: Any, pairs: Sequence[tuple[str, str]]) -> list[str]:
    """A table of arms, each against a baseline: the two primary figures, judged together, and exact match."""
    found = {baseline: _compared(record, baseline) for _, baseline in pairs}
    (method,) = {found[baseline][arm, "nats"].difference.method for arm, baseline in pairs}
    rows = [
        f"Differences with 97.5 % intervals (95 %, corrected for two figures, not for the number of rows; {_DRAWN[method]}):",
        "",
        "| | nats per token | ES | EM | win / tie / loss in nats | repositories + / - |",
        "|---|---|---|---|---|---|",
    ]
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


def _results(record: Any) -> list[TaskResult]:
    """Those of the tasks that every arm has."""
    rows = recorded_results(record)
    done = [{row.task_id for row in rows if row.arm == arm["arm"]} for arm in record["arms"]]
    common = set.intersection(*done)
    return [row for row in rows if row.task_id in common]


def _compared(record: Any, baseline: str, tests: int = 2) -> Mapping[tuple[str, str], Comparison]:
    rows = compare(_results(record), baseline, record["benchmark"], ("nats", "es", "em"), tests=tests)
    levels = {row.level for row in rows}
    wanted = ALL_LEVELS if ALL_LEVELS in levels else next(iter(levels))
    return {(row.arm, row.metric): row for row in rows if row.level == wanted}
