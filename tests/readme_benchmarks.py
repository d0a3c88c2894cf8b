"""The README's figures of benchmarks: arms, and their differences with intervals.

In: records that `codefilter evaluate` wrote, in data/results/. Out: Markdown.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from codefilter.comparison import ALL_LEVELS, Comparison, Method, compare
from codefilter.evaluation.records import recorded_results
from codefilter.evaluation.results import TaskResult
from codefilter.evaluation.summary import summarise
from codefilter.filters.oracle import DEFAULT_IMPACT_NATS
from tests.recorded_results import read

_DRAWN = {
    Method.BY_REPOSITORY: "repositories are drawn, so they speak for other repositories too",
    Method.WITHIN_REPOSITORIES: "tasks are drawn within the repositories, so they speak for these only",
}


def evaluation() -> str:
    record = _joined("fresh-auto.json", "fresh-all.json")
    results = _results(record)
    looked_at = {result.task_id for result in _results(read("fresh-layout.json"))}
    others = [result for result in results if result.task_id not in looked_at]
    chosen = read("choose-threshold.json")
    figures = ", ".join(
        f"`{arm['arm']}` {arm['nats_per_token']:.3f} with {arm['cross_file_tokens']:.0f}"
        for arm in chosen["arms"]
    )
    pairs = [
        ("top-k:1", "none"),
        ("top-k-like:classifier", "none"),
        ("all", "none"),
        ("classifier", "none"),
        ("classifier", "top-k:1"),
        ("classifier", "top-k-like:classifier"),
        ("classifier", "all"),
    ]
    gains = _gains(others, record["benchmark"], ["none", "top-k:1", "top-k-like:classifier", "all"])
    return "\n".join(
        [
            "**Completions**, all of Python. An arm is one way to complete. EM is exact match, ES edit similarity (both 0 to 100), nats per "
            "token the mean natural-log likelihood of the ground truth; *Fresh* is our benchmark of ten packages whose first files "
            "on the package index are later than the model, and that no training label is of.",
            "",
            f"**Fresh**, {_tasks(results)} ({record['levels']}; {record['model']['name']}; RepoCoder's metrics; "
            "the default layout and engine, ONNX Runtime with 8-bit weights and activations; `fresh-auto.json`, and `all` on another "
            f"machine, `fresh-all.json`: {_machines_agree()}). `top-k:1` shows the retriever's first chunk; `top-k-like:classifier`, at the same tasks, as many "
            "tokens as the filter keeps, of the chunks that the retriever ranks first:",
            "",
            *arms(record),
            "",
            f"k and the threshold were chosen on tasks of the train packages; the threshold on {chosen['tasks']}, by nats per "
            f"token and tokens of other files (`choose-threshold.json`): {figures}. It had been moved once before, after a look at "
            "the first 120 tasks of Fresh. Of the 44 places 36 are of repositories that the filter's weights learned from.",
            "",
            *differences(record, pairs),
            "",
            "Those 120 tasks had been looked at in this layout too (`fresh-layout.json`), the others in the one before. On the other "
            f"{_tasks(others)} alone the filter gains {gains}.",
            "",
            "The same in `codefilter report data/results/fresh-auto.json --tests 2`; of a run's folder the page also shows tasks, their "
            "chunks and what each arm wrote (the seconds are of two cores without VNNI, at times busy):",
            "",
            "![Table of arms; edit similarity against prompt tokens and seconds](data/results/report.png)",
            "",
            _oracle(),
            "",
            _all_ten(),
            "",
            _layout_before(),
        ]
    )


def _machines_agree() -> str:
    """What the same engine makes of the same prompts on a processor with VNNI and on one without."""
    with_vnni = {row.task_id: row for row in recorded_results(read("fresh-all-none.json"))}
    without = [
        row
        for row in recorded_results(read("fresh-auto.json"))
        if row.arm == "none" and row.task_id in with_vnni
    ]
    tokens = sum(row.target_tokens for row in without)
    apart = sum(abs(row.target_nats - with_vnni[row.task_id].target_nats) for row in without) / tokens
    same = sum(row.edit_similarity == with_vnni[row.task_id].edit_similarity for row in without)
    return (
        f"`none` on {len(without)} tasks is {apart:.3f} nats per token apart there, and {same} texts are as similar to the truth, "
        "`fresh-all-none.json`"
    )


def _joined(*names: str) -> Any:
    """A record, with the arms that others have of the same tasks."""
    records = [read(name) for name in names]
    return records[0] | {key: [row for one in records for row in one[key]] for key in ("arms", "results")}


def _oracle() -> str:
    """How much a perfect judge of single chunks would gain."""
    record = _joined("fresh-auto.json", "fresh-all.json", "fresh-oracle.json")
    results, name = _results(record), record["arms"][-1]["arm"]
    filtered, perfect = summarise(results, ["classifier", name])
    return (
        f"**The oracle** keeps a chunk if by itself it makes the truth likelier by {DEFAULT_IMPACT_NATS:g} nats per token, measured as for the labels. On "
        f"{_tasks(results)}, as far as the time went (`fresh-oracle.json`), with {perfect.cross_file_tokens:.0f} tokens of other files (the filter "
        f"{filtered.cross_file_tokens:.0f}), it gains "
        f"{_gains(results, record['benchmark'], ['none', 'all', 'classifier'], name)}: what is left for a better filter."
    )


def _all_ten() -> str:
    """The arms that 120 tasks have in the default layout."""
    record = read("fresh-layout.json")
    pairs = [
        ("all", "none"),
        ("classifier", "none"),
        ("classifier", "all"),
        ("classifier", "random-like:classifier"),
        ("none", "none/layout=repository"),
        ("classifier", "classifier/layout=repository"),
    ]
    return "\n".join(
        [
            f"**Chunks drawn at random, and the layout before**, {_tasks(_results(record))}, computed by OpenVINO with float32 "
            "activations (`fresh-layout.json`; half of the tasks had been looked at before the rest was run; "
            "`random-like:classifier` keeps as many tokens as the filter, of chunks drawn at random). In the layout `repository`, in which "
            "the labels were made, chunks and the current file stand in the prompt as files of a repository, under headers "
            "that `none` has too; these make the ground truth less likely. In today's (`auto`) chunks stand as code at the beginning of the "
            "prefix, and a prompt without chunks is that of one file. Of two that did not differ on 26 tasks of the train packages it "
            "is the one that leaves more computed while somebody types; two others had been looked at on Fresh (`LOG.md`):",
            "",
            *arms(record),
            "",
            *differences(record, pairs),
        ]
    )


def _layout_before() -> str:
    """What the filter gains in the layout of the labels."""
    record = read("fresh-core.json")
    results = _results(record)
    return (
        f"**In the layout before**, in which the next two tables are too, the filter gains on {_tasks(results)} "
        f"(`fresh-core.json`) {_gains(results, record['benchmark'], ['none', 'all', 'top-k:1'])}; but what a header costs `none` is in "
        "the first of these."
    )


def _gains(
    results: Sequence[TaskResult], benchmark: str, baselines: Sequence[str], arm: str = "classifier"
) -> str:
    """What an arm gains over each, with the intervals of `differences`."""
    found = {baseline: _compared(results, benchmark, baseline) for baseline in baselines}
    return ", ".join(
        f"{rows[arm, 'nats'].difference.show_signed(3)} nats per token and "
        f"{rows[arm, 'es'].difference.show_signed(1)} ES against `{baseline}`"
        for baseline, rows in found.items()
    )


def _tasks(results: Sequence[TaskResult]) -> str:
    tasks, repositories = ({getattr(r, name) for r in results} for name in ("task_id", "repository"))
    return f"{len(tasks)} tasks of {len(repositories)} packages"


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
        f"{record['tasks']} tasks of Fresh (`fresh-smollm2.json`):",
    )
    return (
        f"{text}\n\nNot run yet, for want of processor hours: `oracle` and chunks drawn at random on more tasks, `threshold` at equal tokens, `perplexity`, "
        "iterative and selective retrieval, the default model from left to right, post-processing; Fresh's functions; RepoEval "
        "and the other generator in the default layout. Not to be had here: RepoEval's lines and calls, whose repositories no package carries, and CrossCodeEval."
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
    results = _results(record)
    found = {baseline: _compared(results, record["benchmark"], baseline) for _, baseline in pairs}
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


def _compared(
    results: Sequence[TaskResult], benchmark: str, baseline: str
) -> Mapping[tuple[str, str], Comparison]:
    rows = compare(results, baseline, benchmark, ("nats", "es", "em"), tests=2)
    levels = {row.level for row in rows}
    wanted = ALL_LEVELS if ALL_LEVELS in levels else next(iter(levels))
    return {(row.arm, row.metric): row for row in rows if row.level == wanted}
