"""Comparisons: zero is zero, intervals are those of the textbook, and it is said what they speak for."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from codefilter.cli import main
from codefilter.comparison import ALL_LEVELS, Comparison, Method, compare, confidence, intervals
from codefilter.config import Settings
from codefilter.errors import UsageError
from codefilter.evaluation import summarise
from codefilter.evaluation.records import RECORD_FILE, begin_run, write_record
from codefilter.evaluation.results import TaskError, TaskResult
from codefilter.evaluation.runs import join_runs, read_run
from codefilter.evaluation.storage import RunWriter
from codefilter.lm.base import ModelIdentity
from tests.made_results import PLAN, made_result, write_run


def pairs(differences: Sequence[Sequence[float]]) -> list[TaskResult]:
    """Per repository, tasks whose edit similarity under `all` is that much above 50, which `none` has."""
    results = []
    for r, repository in enumerate(differences):
        for t, difference in enumerate(repository):
            task_id = f"r{r}/a.py:{t + 1}-{t + 1}/line"
            results.append(made_result(task_id, "none", es=50.0))
            results.append(made_result(task_id, "all", es=50.0 + difference))
    return results


def only(results: Sequence[TaskResult], metric: str = "es", level: str = "line") -> Comparison:
    (found,) = [c for c in compare(results, "none", "fresh", [metric]) if c.arm == "all" and c.level == level]
    return found


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(-50, 0), st.integers(1, 30)), min_size=1, max_size=30))
@settings(max_examples=25)
def test_two_arms_that_are_the_same_differ_by_exactly_nothing(rows: list[tuple[int, float, int]]) -> None:
    results = [
        made_result(f"r{repository}/{i}", arm, nats=nats, tokens=tokens)
        for i, (repository, nats, tokens) in enumerate(rows)
        for arm in ("none", "all")
    ]
    for comparison in compare(results, "none", "fresh", ["nats", "es"]):
        difference = comparison.difference
        assert difference.value == 0
        assert {difference.low, difference.high} <= {0, None}
        assert (comparison.wins, comparison.losses) == (0, 0)
        assert comparison.ties == len(rows)
        assert not difference.excludes_zero


def test_wins_ties_losses_and_signs_are_counted() -> None:
    found = only(pairs([[5, 0, -1], [2, 2], [-3], [0.0]]))
    assert (found.wins, found.ties, found.losses) == (3, 2, 2)
    assert (found.repositories_better, found.repositories_worse, found.repositories) == (2, 1, 4)
    assert found.difference.value == pytest.approx(5 / 7)
    assert found.baseline_value.value == 50.0


def test_fewer_tokens_are_a_win() -> None:
    results = [
        made_result("r0/x", "none", cross_file_tokens=900),
        made_result("r0/x", "all", cross_file_tokens=100),
    ]
    found = only(results, "cross_file_tokens")
    assert (found.wins, found.difference.value) == (1, -800)


def test_nats_are_per_token_of_all_targets_together() -> None:
    results = [
        made_result("r0/x", "none", nats=-10, tokens=10),
        made_result("r0/x", "all", nats=-5, tokens=10),
        made_result("r0/y", "none", nats=-30, tokens=30),
        made_result("r0/y", "all", nats=-30, tokens=30),
    ]
    assert only(results, "nats").difference.value == pytest.approx(5 / 40)


def test_eight_repositories_are_drawn_as_wholes_and_seven_are_not() -> None:
    alike = [[float(r)] * 20 for r in range(8)]  # all that varies is between repositories
    whole, within = only(pairs(alike)).difference, only(pairs(alike[:7])).difference
    assert whole.method is Method.BY_REPOSITORY
    assert (whole.high or 0) - (whole.low or 0) > 2
    assert within.method is Method.WITHIN_REPOSITORIES
    assert (within.high or 0) - (within.low or 0) < 1e-9


def test_few_tasks_per_repository_are_drawn_over_all_and_very_few_have_no_interval() -> None:
    one_each = only(pairs([[1.0], [2.0], [3.0], [4.0], [5.0]]))
    assert one_each.difference.method is Method.OVER_TASKS
    assert one_each.difference.low is not None
    assert one_each.difference.low < 2 < 4 < (one_each.difference.high or 0)
    four = only(pairs([[1.0, 2.0], [3.0, 4.0]]))
    assert (four.difference.low, four.difference.method) == (None, Method.NONE)
    assert not four.difference.excludes_zero
    assert four.difference.show_signed(1) == "+2.5"


@pytest.mark.parametrize("num_repositories", [1, 10])
def test_intervals_are_those_of_scipy(num_repositories: int) -> None:
    random = np.random.default_rng(1)
    names = [f"r{i % num_repositories}" for i in range(120)]
    effects = random.normal(0, 3, num_repositories)
    values = np.array([random.normal(effects[i % num_repositories], 2) for i in range(120)])
    ours = intervals(np.stack([values, np.ones(120)]), np.stack([np.zeros(120), np.ones(120)]), names)[2]
    if num_repositories == 1:
        units = (values, np.ones(120))
    else:
        units = (
            np.array([values[i::num_repositories].sum() for i in range(num_repositories)]),
            np.full(num_repositories, 12.0),
        )
    units_drawn = num_repositories if num_repositories > 1 else 120
    tail = scipy.stats.norm.cdf(scipy.stats.t.ppf(0.025, units_drawn - 1))  # Hesterberg
    theirs = scipy.stats.bootstrap(
        units,
        lambda v, w, axis: v.sum(axis) / w.sum(axis),
        paired=True,
        n_resamples=10_000,
        confidence_level=1 - 2 * tail,
        method="percentile",
        rng=random,
    ).confidence_interval
    wider = np.sqrt(units_drawn / (units_drawn - 1))  # Rao and Wu
    assert ours.value == pytest.approx(values.mean())
    for own, other in ((ours.low, theirs.low), (ours.high, theirs.high)):
        expected = values.mean() + wider * (other - values.mean())
        assert own == pytest.approx(expected, abs=0.03 * (theirs.high - theirs.low))


def test_intervals_of_ten_repositories_are_as_wide_as_those_of_students_t() -> None:
    means = np.random.default_rng(2).normal(0, 3, 10)
    found = only(pairs([[float(mean)] for mean in means])).difference
    assert found.method is Method.BY_REPOSITORY
    expected = scipy.stats.t.interval(0.95, 9, means.mean(), scipy.stats.sem(means))
    assert (found.low, found.high) == pytest.approx(expected, abs=0.1 * (expected[1] - expected[0]))


def test_levels_are_apart_and_together_and_only_common_tasks_count() -> None:
    results = [
        made_result("r0/x", "none", es=10, level="line"),
        made_result("r0/x", "all", es=20, level="line"),
        made_result("r0/y", "none", es=10, level="api"),
        made_result("r0/y", "all", es=40, level="api"),
        made_result("r0/z", "all", es=100, level="api"),  # `none` failed there
    ]
    assert only(results, level="api").difference.value == 30
    together = only(results, level=ALL_LEVELS)
    assert (together.tasks, together.difference.value) == (2, 20)


def test_metrics_that_were_not_measured_are_left_out() -> None:
    results = [made_result("r0/x", arm, es=None, prediction=None) for arm in ("none", "all")]
    assert {c.metric for c in compare(results, "none", "fresh")} == {
        "nats",
        "prompt_tokens",
        "cross_file_tokens",
    }


def test_shards_are_joined_and_models_kept_apart(tmp_path: Path) -> None:
    first = write_run(tmp_path / "1", [made_result("r0/x", "none"), made_result("r0/x", "all")])
    second = write_run(tmp_path / "2", [made_result("r0/y", "none"), made_result("r0/y", "all")])
    (joined,) = join_runs([read_run(first), read_run(second)])
    assert (joined.tasks, joined.arms) == (2, ("none", "all"))
    other_model = replace(PLAN, model=ModelIdentity("other", "b" * 64, "qwen2.5-coder"))
    third = write_run(tmp_path / "3", [made_result("r0/x", "none")], other_model)
    (joined,) = join_runs([read_run(first), read_run(third)])
    assert joined.arms == ("none · fake", "all · fake", "none · other")
    other_settings = replace(PLAN, settings=Settings(model="fake", prefix_tokens=99))
    fourth = write_run(tmp_path / "4", [made_result("r0/x", "none")], other_settings)
    (joined,) = join_runs([read_run(first), read_run(fourth)])
    assert joined.arms == ("none · prefix_tokens=1024", "all · prefix_tokens=1024", "none · prefix_tokens=99")
    many_settings = Settings(model="fake", prefix_tokens=99, suffix_tokens=9, hole_lines=0)
    many = write_run(tmp_path / "many", [made_result("r0/x", "none")], replace(PLAN, settings=many_settings))
    (joined,) = join_runs([read_run(first), read_run(many)])
    assert joined.arms == ("none · 1", "all · 1", "none · many")
    other_engine = replace(PLAN, engine="torch, cpu, float32")
    torch_run = write_run(tmp_path / "torch", [made_result("r0/x", "none")], other_engine)
    (joined,) = join_runs([read_run(first), read_run(torch_run)])
    assert joined.arms == ("none · 1", "all · 1", "none · torch")
    on_ray = replace(PLAN, engine=f"{PLAN.engine}, 2 Ray workers")
    ray_run = write_run(tmp_path / "ray", [made_result("r0/z", "none")], on_ray)
    (joined,) = join_runs([read_run(first), read_run(ray_run)])
    assert joined.arms == ("none", "all")
    namesake = write_run(tmp_path / "other" / "1", [made_result("r0/x", "none")], other_engine)
    (joined,) = join_runs([read_run(first), read_run(namesake)])
    assert joined.arms == (f"none · 1 ({first})", f"all · 1 ({first})", f"none · 1 ({namesake})")
    other_data = replace(PLAN, data_sha256="e" * 64)
    fifth = write_run(tmp_path / "5", [made_result("r0/x", "none")], other_data)
    with pytest.raises(UsageError, match="different data"):
        join_runs([read_run(first), read_run(fifth)])
    of_files = [replace(PLAN, repositories_sha256={"r0": sha256}) for sha256 in ("a" * 64, "b" * 64)]
    runs = [
        read_run(write_run(tmp_path / f"files-{number}", [made_result("r0/x", "none")], plan))
        for number, plan in enumerate(of_files)
    ]
    join_runs([read_run(first), runs[0]])  # of an earlier one the files are not known
    with pytest.raises(UsageError, match="different data"):
        join_runs(runs)
    with pytest.raises(UsageError, match="files of r0 differ"):
        begin_run(of_files[1], runs[0].path)
    other_rules = replace(PLAN, metric_family="crosscodeeval")
    sixth = write_run(tmp_path / "6", [made_result("r0/x", "none")], other_rules)
    with pytest.raises(UsageError, match="different rules: crosscodeeval, repocoder"):
        join_runs([read_run(first), read_run(sixth)])


RECORDS = [
    path
    for path in sorted((Path(__file__).parents[1] / "data" / "results").glob("*.json"))
    if '"results": [' in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_every_record_of_a_run_that_was_kept_can_be_compared(path: Path) -> None:
    run = read_run(path)
    # an arm that was run by itself is held against those of another record of the same tasks
    same = (other for other in map(read_run, RECORDS) if other.plan.data_sha256 == run.plan.data_sha256)
    (joined,) = join_runs([run] if len(run.arms) > 1 else [next(r for r in same if len(r.arms) > 1), run])
    assert len(joined.arms) > 1
    assert {c.metric for c in compare(joined.results, joined.arms[0], joined.benchmark)} >= {"nats"}


def test_a_record_keeps_what_failed_and_one_without_results_is_refused(tmp_path: Path) -> None:
    rows = [made_result("r0/x", "none"), made_result("r0/x", "all")]
    failed = [asdict(TaskError("r0/y", "all", "RuntimeError", "out of memory"))]
    write_record(PLAN, tmp_path, summarise(rows, PLAN.arms), rows, errors=failed)
    assert [error.task_id for error in read_run(tmp_path / RECORD_FILE).errors] == ["r0/y"]
    write_record(PLAN, tmp_path, [], [])
    with pytest.raises(UsageError, match="has no results"):
        read_run(tmp_path / RECORD_FILE)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task_id", [1]),
        ("target_nats", "x"),
        ("target_nats", None),
        ("target_nats", float("nan")),
        ("edit_similarity", float("inf")),
        ("seconds", None),
        ("seconds", {"read": "long"}),
    ],
)
def test_a_record_with_a_figure_that_is_none_is_refused(tmp_path: Path, name: str, value: object) -> None:
    rows = [made_result("r0/x", "none"), made_result("r0/x", "all")]
    record = write_record(PLAN, tmp_path, summarise(rows, PLAN.arms), rows)
    record["results"][1][name] = value
    (tmp_path / RECORD_FILE).write_text(json.dumps(record))
    with pytest.raises(UsageError, match=name.split("_")[0]):
        read_run(tmp_path / RECORD_FILE)


def test_a_record_that_is_nested_without_an_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / RECORD_FILE).write_text("[" * 100_000)
    with pytest.raises(UsageError, match="nor its record"):
        read_run(tmp_path / RECORD_FILE)


def test_what_failed_in_one_run_and_was_done_in_another_is_no_error(tmp_path: Path) -> None:
    first = write_run(tmp_path / "1", [made_result("r0/x", "none"), made_result("r0/y", "all")])
    second = write_run(tmp_path / "2", [made_result("r0/x", "all")])
    with RunWriter(first) as writer:
        for task_id in ("r0/x", "r0/z"):
            writer.add(TaskError(task_id, "all", "RuntimeError", "out of memory"))
    assert [error.task_id for error in join_runs([read_run(first)])[0].errors] == ["r0/x", "r0/z"]
    (joined,) = join_runs([read_run(first), read_run(second)])
    assert [error.task_id for error in joined.errors] == ["r0/z"]
    other_settings = replace(PLAN, settings=Settings(model="fake", prefix_tokens=99))
    third = write_run(tmp_path / "3", [made_result("r0/x", "all")], other_settings)
    (joined,) = join_runs([read_run(first), read_run(third)])
    assert [(error.task_id, error.arm) for error in joined.errors] == [
        ("r0/x", "all · prefix_tokens=1024"),
        ("r0/z", "all · prefix_tokens=1024"),
    ]


def test_the_metric_family_is_that_of_the_runs_that_wrote(tmp_path: Path) -> None:
    likelihoods = write_run(
        tmp_path / "1", [made_result("r0/x", "none", es=None, prediction=None)], replace(PLAN, writes=False)
    )
    written = write_run(
        tmp_path / "2", [made_result("r0/x", "all")], replace(PLAN, metric_family="crosscodeeval")
    )
    (joined,) = join_runs([read_run(likelihoods), read_run(written)])
    assert joined.metric_family == "crosscodeeval"


def test_shards_stay_joined_beside_other_settings_and_other_benchmarks(tmp_path: Path) -> None:
    shards = [
        write_run(tmp_path / name, [made_result(task, arm) for arm in ("none", "all")])
        for name, task in (("1", "r0/x"), ("2", "r0/y"))
    ]
    settings = replace(PLAN, settings=Settings(model="fake", prefix_tokens=99))
    third = write_run(tmp_path / "3", [made_result("r0/x", "none")], settings)
    (joined,) = join_runs([read_run(path) for path in (*shards, third)])
    assert joined.arms == ("none · prefix_tokens=1024", "all · prefix_tokens=1024", "none · prefix_tokens=99")
    assert sum(result.arm == "all · prefix_tokens=1024" for result in joined.results) == 2
    elsewhere = replace(PLAN, benchmark="other", metric_family="crosscodeeval")
    fourth = write_run(tmp_path / "4", [made_result("r0/x", "none")], elsewhere)
    first, second = join_runs([read_run(path) for path in (*shards, fourth)])
    assert (first.arms, first.tasks, second.arms) == (("none", "all"), 2, ("none",))


def test_arms_with_other_weights_are_kept_apart_and_shards_of_the_same_joined(tmp_path: Path) -> None:
    runs = []
    for number, (task, weights) in enumerate([("r0/x", "a"), ("r0/y", "a"), ("r0/x", "b")]):
        plan = replace(PLAN, weights_sha256={"classifier": weights * 64})
        results = [made_result(task, "none"), made_result(task, "classifier", es=float(number))]
        runs.append(read_run(write_run(tmp_path / str(number), results, plan)))
    (joined,) = join_runs(runs)
    assert joined.arms == ("none", "classifier · weights aaaaaaaa", "classifier · weights bbbbbbbb")
    assert [r.edit_similarity for r in joined.results if r.arm == joined.arms[2]] == [2.0]
    assert join_runs(runs[:2])[0].arms == ("none", "classifier")


def test_arms_with_other_numbers_of_candidates_are_kept_apart(tmp_path: Path) -> None:
    arms = ("none", "classifier", "classifier/num_candidates=5")
    first = write_run(
        tmp_path / "1", [made_result("r0/x", arm) for arm in arms],
        replace(PLAN, settings=Settings(model="fake", num_candidates=10)),
    )  # fmt: skip
    second = write_run(tmp_path / "2", [made_result("r0/y", arm) for arm in arms[1:]])
    (joined,) = join_runs([read_run(first), read_run(second)])
    chosen = ("classifier · 10 candidates", "classifier/num_candidates=5", "classifier · usual candidates")
    assert joined.arms == ("none", *chosen)


def test_several_figures_judged_together_have_wider_intervals() -> None:
    results = pairs([[float(value + repository) for value in range(5)] for repository in range(10)])
    alone, together = (
        next(c for c in compare(results, "none", "fresh", ["es"], tests=tests) if c.arm == "all").difference
        for tests in (1, 2)
    )
    assert together.value == alone.value
    assert (together.low or 0) < (alone.low or 0) < (alone.high or 0) < (together.high or 0)
    assert confidence(2) == pytest.approx(0.975)


def test_the_command_shows_differences_and_says_what_they_speak_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    folder = write_run(tmp_path / "run", pairs([[5, 0, -1], [2, 2]]))
    assert main(["compare", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "5 tasks of 2 repositories, against none; 95 % intervals drawn over all tasks" in shown
    assert re.search(r"all +edit similarity, % +5 +51.6 +\+1.6 \[-?\+?\d.*\] +3/1/1 +2/0", shown)
    assert main(["compare", str(folder), "--json", "--baseline", "all"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert {r["baseline"] for r in records} == {"all"}
    assert {r["metric"] for r in records} >= {"nats", "es", "em"}
    assert main(["compare", str(folder), "--tests", "2"]) == 0
    assert "97.5 % intervals" in capsys.readouterr().out


def test_an_arm_of_fewer_tasks_is_shown_with_the_baseline_on_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    results = [made_result(f"r0/{i}", "none", es=10.0 * i) for i in range(4)]
    results += [made_result(f"r0/{i}", "all", es=90.0) for i in (2, 3)]
    plan = replace(PLAN, notices=("Mind the gap.",))
    folder = write_run(tmp_path / "run", results, plan)
    assert main(["compare", str(folder), "--metric", "es"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"none +edit similarity, % +4 +15.0 *\n", shown)
    assert re.search(r"all +edit similarity, % +2 +90.0 +\+65.0 from 25.0 +2/0/0", shown)
    assert "Mind the gap." in shown


def test_the_head_speaks_of_the_most_tasks_and_an_arm_that_was_drawn_in_another_way_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    fewer, full = pairs([[5, 0, -1], [2, 2, 1]])[1::2], pairs([[0] * 6, [0] * 6])  # of `all`, and of both
    results = [*fewer, *(replace(r, arm="top-k:1") if r.arm == "all" else r for r in full)]
    folder = write_run(tmp_path / "run", results)
    assert main(["compare", str(folder), "--baseline", "none", "--metric", "es"]) == 0
    shown = capsys.readouterr().out
    assert "12 tasks of 2 repositories, against none; 95 % intervals drawn within repositories" in shown
    assert re.search(r"all .* \+1.5 \[.*\] from 50.0, drawn over all tasks +4/1/1", shown)
    assert re.search(r"top-k:1 .* \+0.0 \[\+0.0, \+0.0\] +0/12/0", shown)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--baseline", "best"], "no arm 'best'"),
        (["--metric", "beauty"], "no metric 'beauty'"),
        (["nowhere"], "is not the folder of a run"),
    ],
)
def test_wrong_use_is_named(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "run", pairs([[1]]))
    assert main(["compare", str(folder), *arguments]) == 2
    assert message in capsys.readouterr().err
