"""The README's figures of benchmarks: arms, and their differences with intervals.

In: records that `codefilter evaluate` wrote, in data/results/. Out: Markdown.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from codefilter.comparison import ALL_LEVELS, Comparison, Method, compare
from codefilter.evaluation.records import recorded_results
from codefilter.evaluation.results import TaskResult
from codefilter.evaluation.summary import summarise
from codefilter.filters.oracle import DEFAULT_IMPACT_NATS
from tests.recorded_results import read

_DRAWN = {
    Method.BY_REPOSITORY: "bootstrap over packages",
    Method.WITHIN_REPOSITORIES: "bootstrap over the tasks of each package, so they speak for these only",
}
_ROWS = ("arms", "results")  # of a record
_OF_TEN = "classifier/num_candidates=10"
_SHOWN = {
    "none": "nothing",
    "top-k:1": "the first chunk that is found",
    "top-k:5": "the first five",
    "classifier": "**what the filter keeps**",
    "all": "all ten chunks",
}


def state() -> str:
    """The main figures, for the top of the README."""
    record = _fresh()
    results = _results(record)
    looked_at = _looked_at()
    parts = {
        is_among: [result for result in results if (result.task_id in looked_at) == is_among]
        for is_among in (True, False)
    }
    gains = {is_among: _gain(part, record["benchmark"], "none") for is_among, part in parts.items()}
    rows = [
        "| shown to the model | tokens of other files | exact match | edit similarity | nats per token | truth less likely than with nothing |",
        "|---|---|---|---|---|---|",
    ]
    for arm in summarise(results, list(_SHOWN)):
        worse = "" if arm.arm == "none" else f"in {100 * (arm.worse_than_first or 0):.0f} %"
        if arm.kept_nothing and worse:
            worse += f" (shows nothing in {arm.kept_nothing:.0f} %)"
        rows.append(
            f"| {_SHOWN[arm.arm]} | {arm.cross_file_tokens:.0f} | {arm.exact_match:.1f} | {arm.edit_similarity:.1f} "
            f"| {arm.nats_per_token:.3f} | {worse} |"
        )
    about = (
        f"On {_tasks(results)} that are newer than the model, and that the filter never saw ([more](#completions); {len(looked_at)} of the tasks were looked "
        f"at before the filter's threshold was moved for the last time: there the filter gains {gains[True]} nats over nothing, on the others {gains[False]}). "
        "Nats are natural logarithms of the truth's likelihood:"
    )
    return "\n".join([about, "", *rows, ""])


def _looked_at() -> set[str]:
    """The tasks of Fresh that somebody looked at before everything was chosen."""
    return {result.task_id for result in _results(read("fresh-layout.json"))}


def evaluation() -> str:
    record = _fresh()
    results = _results(record)
    looked_at = _looked_at()
    others = [result for result in results if result.task_id not in looked_at]
    pairs = [
        ("top-k:1", "none"),
        ("all", "none"),
        ("classifier", "none"),
        ("classifier", "top-k:1"),
        ("classifier", "top-k:5"),
        ("classifier", "all"),
        ("classifier", _OF_TEN),
    ]
    return "\n".join(
        [
            "### Completions",
            "",
            f"**Fresh** is our benchmark: 400 lines, 400 calls of other files (api) and 100 functions of packages whose first files on the package index are later "
            f"than the model, and that no training label is of. Here {_tasks(results)}, levels {record['levels'].replace(',', ' and ')}, {record['model']['name']}, RepoCoder's metrics, the default "
            "prompt and engine (`fresh-hole.json`, and `fresh-thirty.json` for the filter as it is now; `codefilter report` of both, with `--tests 2`, makes the "
            "picture, and of a run's folder also a page with its tasks, their chunks and what each arm wrote; seconds are of two cores, on which tests ran beside the first tasks):",
            "",
            *arms(record),
            "",
            *differences(record, pairs),
            "",
            *_by_level(record),
            "",
            "![Table of arms; edit similarity against prompt tokens and seconds](data/results/report.png)",
            "",
            f"All tasks of Fresh had been run with earlier prompts, and {len(looked_at)} of them were looked at before the filter's threshold was "
            f"moved for the last time. On the {_tasks(others)} besides, the filter gains "
            f"{_gains(others, record['benchmark'], ['none', 'top-k:1', 'top-k:5', 'all'])}.",
            "",
            _chosen(),
            "",
            *_hole(),
            "",
            *_other_arms(),
            "",
            _perplexity(),
            "",
            _oracle(),
            "",
            _layout_before(),
        ]
    )


def _by_level(record: Any) -> list[str]:
    """The filter against what matters most, on lines and on calls."""
    rows = [
        "By level:",
        "",
        "| `classifier` against | level | nats per token | ES | win / tie / loss in nats |",
    ]
    rows.append("|---|---|---|---|---|")
    results = _results(record)
    for baseline in ("none", "top-k:5", "all"):
        for level in dict.fromkeys(result.level for result in results):
            own = [result for result in results if result.level == level]
            found = _compared(own, record["benchmark"], baseline)
            nats, similarity = (found["classifier", metric] for metric in ("nats", "es"))
            rows.append(
                f"| `{baseline}` | {level}, {nats.tasks} tasks | {nats.difference.show_signed(3)} "
                f"| {similarity.difference.show_signed(1)} | {nats.wins} / {nats.ties} / {nats.losses} |"
            )
    return rows


def _chosen() -> str:
    """What was chosen beforehand, and on what."""
    first, more = read("choose-validation.json"), read("choose-candidates.json")
    more = _renamed(more, {"classifier": _OF_TEN})
    return (
        "**Chosen on the validation packages**, five that the filter did not learn from: how many of the first chunks to hold the filter against, how "
        "likely to help a chunk must be to be kept (0.1, or what stands behind the colon), and how many candidates to choose from. Nats per token, and "
        f"tokens of other files, on {first['tasks']} tasks with ten candidates (`choose-validation.json`): {_tokens_and_nats(first)}. Five are the best of the "
        f"first 1, 2, 3 and 5, and as good as all ten. On {more['tasks']} others (`choose-candidates.json`): {_tokens_and_nats(more)}. So the filter chooses from thirty. The "
        "threshold was 0.1 before already (`choose-threshold.json`, in an older layout)."
    )


def _tokens_and_nats(record: Any) -> str:
    return ", ".join(
        f"`{arm['arm']}` {arm['nats_per_token']:.3f} with {arm['cross_file_tokens']:.0f}"
        for arm in record["arms"]
    )


def _hole() -> list[str]:
    """What it gives that the hole begins above the cursor's line."""
    choice = read("choose-hole.json")
    chosen = {arm["arm"]: arm["nats_per_token"] for arm in choice["arms"]}
    figures = "; ".join(
        f"`{arm}` "
        + ", ".join(
            f"{value:.3f} with {name.partition('=')[2] or '0'}"
            for name, value in chosen.items()
            if name.partition("/")[0] == arm
        )
        for arm in ("none", "classifier", "all")
    )
    now, before = read("fresh-hole.json"), _join(read("fresh-auto.json"), read("fresh-all.json"))
    had = {arm["arm"] for arm in before["arms"]}
    names = [arm["arm"] for arm in now["arms"] if arm["arm"] in had]
    joined = _join(now, _renamed(_only(before, names), {name: _before(name) for name in names}))
    return [
        "**Where the hole begins.** The model fills a hole in the file. It used to begin in the cursor's line; now it begins 4 to 19 lines above, and "
        "these lines are given as its beginning, so that the code just above the cursor is the last that the model reads, and not what stands "
        f"below. Chosen on {choice['tasks']} tasks of the train packages (`choose-hole.json`), nats per token with so many lines: {figures}. Against a hole "
        f"in the cursor's line, on the {_tasks(_results(joined))} of Fresh (`fresh-auto.json`, `fresh-all.json`; all but `all` on a processor without "
        f"VNNI, where {_machines_agree()}):",
        "",
        *differences(joined, [(name, _before(name)) for name in names]),
    ]


def _fresh() -> Any:
    """Today's filter on Fresh, beside the earlier one and what both are held against."""
    return _with_thirty("fresh-hole.json", "fresh-thirty.json")


def _with_thirty(earlier: str, later: str) -> Any:
    """A record in which the filter chose from ten candidates, with the arm that chooses from thirty."""
    return _join(_renamed(read(earlier), {"classifier": _OF_TEN}), read(later))


def _renamed(record: Any, names: Mapping[str, str]) -> Any:
    """A record whose arms have other names."""
    return record | {
        key: [row | {"arm": names.get(row["arm"], row["arm"])} for row in record[key]] for key in _ROWS
    }


def _join(*records: Any) -> Any:
    """The first record, with the arms that others have of the same tasks."""
    return records[0] | {key: [row for record in records for row in record[key]] for key in _ROWS}


def _before(arm: str) -> str:
    """The name of an arm in a record of before the setting."""
    return f"{arm}/hole_lines=0"


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
    return f"the same prompts of {len(without)} tasks are {apart:.3f} nats per token apart, `fresh-all-none.json`"


def _other_arms() -> list[str]:
    """The filter against as many tokens that somebody else chose, and other ways to choose, to retrieve and to write."""
    more = read("fresh-arms.json")
    like = "top-k-like:classifier"
    equal = _join(_fresh(), _only(more, [like]))
    record = _join(_fresh(), more)
    results = _results(record)
    levels = Counter(result.level for result in results if result.arm == "none")
    names = [arm["arm"] for arm in more["arms"]]
    to_right = [name for name in names if name.endswith("/layout=left-to-right")]
    apart = {like, "classifier/postprocess=on", *to_right}
    pairs = [("classifier", name) for name in names if name not in apart]
    trimmed = _compared(results, record["benchmark"], "classifier")["classifier/postprocess=on", "es"]
    return [
        f"**As many tokens in the retriever's order**, `top-k-like`, on the {_tasks(_results(equal))} (`fresh-arms.json`):",
        "",
        *differences(equal, [("classifier", like), (like, "none")]),
        "",
        f"**Other arms** on {_tasks(results)}, {' and '.join(f'{count} of level {level}' for level, count in levels.items())} (`fresh-arms.json`), all of them among those looked at before. `random-like` shows as many tokens, of chunks drawn at random; `threshold` is by Jaccard similarity; `iterative` looks "
        "again with what was written first; `selective` retrieves only where the model is less sure of its own text, in half of the places; `postprocess` trims it as the editor does. "
        "Thresholds were fixed beforehand on the validation packages (`LOG.md`). Where an arm of this run and the filter of the run above read the same prompt they "
        f"differ by rounding: {_rounding(results)}:",
        "",
        "| arm | EM / ES | nats per token | prompt tokens | of other files |",
        "|---|---|---|---|---|",
        *(
            f"| `{arm.arm}` | {arm.exact_match:.1f} / {arm.edit_similarity:.1f} | {arm.nats_per_token:.3f} | {arm.prompt_tokens:.0f} | {arm.cross_file_tokens:.0f} |"
            for arm in summarise(results, ["none", "all", "top-k:5", "classifier", *names])
        ),
        "",
        *differences(record, [*pairs, *((name, to_right[0]) for name in to_right[1:])]),
        "",
        f"Trimming a text as in the editor changes its ES by {trimmed.difference.show_signed(1)}: no more than that rounding.",
    ]


def _rounding(results: Sequence[TaskResult]) -> str:
    """How far two runs are apart on prompts that are the same: what is trimmed tells of nats, what is not of texts."""
    read_again = _same_prompts(results, "classifier/postprocess=on")
    nats = max(abs(one.target_nats - other.target_nats) / one.target_tokens for one, other in read_again)
    written_again = _same_prompts(results, "classifier/strategy=iterative:2")
    texts = sum(one.edit_similarity != other.edit_similarity for one, other in written_again)
    return f"by up to {nats:.3f} nats per token, and in {texts} of {len(written_again)} texts"


def _same_prompts(results: Sequence[TaskResult], arm: str) -> list[tuple[TaskResult, TaskResult]]:
    """The filter's result and an arm's, of the tasks where both read the same prompt."""
    first, second = ({r.task_id: r for r in results if r.arm == name} for name in ("classifier", arm))
    return [(first[i], second[i]) for i in first if first[i].prompt_id == second[i].prompt_id]


def _perplexity() -> str:
    """The filter that asks the model instead of the text."""
    record = _join(_fresh(), read("fresh-perplexity.json"))
    results, name = _results(record), record["arms"][-1]["arm"]
    filtered, asked = summarise(results, ["classifier", name])
    return (
        f"`{name}` keeps chunks that make the model surer of its own text, and takes {record['arms'][-1]['seconds']['filter']:.0f} s for it. On {_tasks(results)} "
        f"(`fresh-perplexity.json`, among those looked at) it shows {asked.cross_file_tokens:.0f} tokens (the filter {filtered.cross_file_tokens:.0f}); the filter gains "
        f"{_gains(results, record['benchmark'], [name])}."
    )


def _oracle() -> str:
    """What a judge of single chunks that knows the truth would gain, and what could be had beyond that."""
    record = _join(_fresh(), read("fresh-oracle.json"))
    results, name = _results(record), record["arms"][-1]["arm"]
    filtered, perfect = summarise(results, ["classifier", name])
    sets = ["none", "all", "classifier", name]
    return (
        f"**What the labels' own rule would gain.** `oracle` knows the truth, and keeps a chunk of the first ten if by itself, in the prompt that labels are measured in, it makes it "
        f"likelier by {DEFAULT_IMPACT_NATS:g} nats per token (nothing is taken off for unrelated chunks). On {_tasks(results)}, lines and calls that had been looked at "
        f"(`fresh-oracle.json`), with {perfect.cross_file_tokens:.0f} tokens of other files (the filter {filtered.cross_file_tokens:.0f}), it gains "
        f"{_gains(results, record['benchmark'], ['none', 'all', 'classifier'], name)}. So all ten chunks are near what "
        f"such a judge of single chunks has; on these tasks the filter gains {_gains(results, record['benchmark'], ['all'])}. More can be had by judging sets: whoever chose "
        f"the best of only these four at each task ({', '.join(f'`{one}`' for one in sets)}) would be {_best_of(results, sets) - _nats(results, 'all'):+.3f} nats per token above `all`."
    )


def _nats(results: Sequence[TaskResult], arm: str) -> float:
    """Nats per token of an arm."""
    own = [result for result in results if result.arm == arm]
    return sum(result.target_nats for result in own) / sum(result.target_tokens for result in own)


def _best_of(results: Sequence[TaskResult], arms: Sequence[str]) -> float:
    """Nats per token of whoever has the likeliest truth of some arms at each task."""
    best: dict[str, TaskResult] = {}
    for result in results:
        if result.arm in arms:
            best[result.task_id] = max(best.get(result.task_id, result), result, key=lambda r: r.target_nats)
    return sum(r.target_nats for r in best.values()) / sum(r.target_tokens for r in best.values())


def _layout_before() -> str:
    """The layout of the labels, for completions."""
    layouts, core = read("fresh-layout.json"), read("fresh-core.json")
    cost = ", ".join(
        f"`{arm}` {_gains(_results(layouts), layouts['benchmark'], [f'{arm}/layout=repository'], arm)}"
        for arm in ("none", "classifier")
    )
    return (
        "**The layout.** Labels are measured in the layout `repository`, which shows chunks and the current file as files of a repository, "
        "under headers that `none` has too. Completions have `auto`: chunks as code at the beginning of the prefix, and without chunks the "
        f"plain prompt of one file. On {_tasks(_results(layouts))} (`fresh-layout.json`; half of them looked at before the rest was run) it gains: {cost}. "
        "Of two layouts that did not differ on 26 tasks of the train packages it is the one that leaves more computed while somebody "
        "types; two others had been looked at on Fresh (`LOG.md`). In `repository` the filter gains on "
        f"{_tasks(_results(core))} (`fresh-core.json`) {_gains(_results(core), core['benchmark'], ['none', 'all', 'top-k:1'])}."
    )


def _only(record: Any, arms: Sequence[str]) -> Any:
    """A record without its other arms."""
    return record | {key: [row for row in record[key] if row["arm"] in arms] for key in _ROWS}


def _gain(results: Sequence[TaskResult], benchmark: str, baseline: str) -> str:
    """What the filter gains in nats per token, without the interval."""
    return f"{_compared(results, benchmark, baseline)['classifier', 'nats'].difference.value:+.3f}"


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


def functions() -> str:
    """Whole functions of Fresh."""
    record = read("fresh-function.json")
    return _held_against_each_other(
        record, f"**Fresh's functions** ({_tasks(_results(record))}; `fresh-function.json`):"
    )


def repoeval() -> str:
    oracle = read("repoeval-oracle.json")
    record = _join(_with_thirty("repoeval-function.json", "repoeval-thirty.json"), oracle)
    results, repeated = _results(record), set(oracle["repeated_tasks"])
    once = [result for result in results if result.task_id not in repeated]
    again = [result for result in results if result.task_id in repeated]
    return "\n".join(
        [
            _held_against_each_other(
                record,
                f"**RepoEval**, function tasks ({_tasks(results)}), with the default prompt (`repoeval-function.json`, `repoeval-thirty.json` for the filter as it is now, and "
                "`repoeval-oracle.json`; every model has probably seen them, so differences say more than levels):",
            ),
            "",
            f"**{len(repeated)} of the answers stand a second time in the repository**, with the lines around them, in a file that RepoEval leaves there (of Fresh's functions, {len(read('fresh-function.json')['repeated_tasks'])}): on these "
            f"tasks the filter gains {_gains(again, record['benchmark'], ['none'])}. On the other {len({r.task_id for r in once})} it gains {_gains(once, record['benchmark'], ['none', 'all'])}, "
            f"and all ten chunks {_gains(once, record['benchmark'], ['none'], 'all')}. `oracle` gains {_gains(results, record['benchmark'], ['all', 'classifier'], 'oracle')} on all tasks.",
        ]
    )


def another_generator() -> str:
    small, large = read("fresh-smollm2.json"), read("fresh-1.5b.json")
    return "\n".join(
        [
            _held_against_each_other(
                large,
                f"**Other generators** with the same filter, on tasks of Fresh. {large['model']['name']}, {large['tasks']} tasks (`fresh-1.5b.json`):",
            ),
            "",
            _held_against_each_other(
                small,
                f"{small['model']['name']}, which writes from left to right, {small['tasks']} tasks, the filter choosing from ten (`fresh-smollm2.json`):",
            ),
            "",
            "Not run, for want of processor hours: the other half of Fresh's lines and calls; `oracle` and `perplexity` on more than 30 tasks of each of these levels; the other arms, and "
            "`oracle`, on Fresh's functions. The arm `generative` was not run, as its filter is no better than chance (below), nor an always-retrieving fine-tuned model, as there is none. "
            "`classifier` from left to right is refused, as its weights are of other layouts. Not to be had here: RepoEval's lines and calls, whose repositories "
            "no package carries, CrossCodeEval and CrossCodeLongEval.",
        ]
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
        f"Differences ({_DRAWN[method]}):",
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
