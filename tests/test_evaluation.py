"""Arms on tasks: what helps scores higher, what is the same scores the same, and nothing is lost."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codefilter.benchmarks.predictions import References, read_predictions
from codefilter.completion import Completer
from codefilter.config import Settings
from codefilter.errors import ConfigError, UsageError
from codefilter.evaluation import (
    Arm,
    LocalExecutor,
    TaskError,
    TaskGroup,
    TaskResult,
    evaluate,
    limit_tasks,
    only_repositories,
    parse_arm,
    parse_arms,
    parse_shard,
    shard_tasks,
    summarise,
)
from codefilter.evaluation.exporting import export_predictions, released_record
from codefilter.evaluation.records import begin_run, read_plan
from codefilter.evaluation.storage import (
    CHUNKS_FILE,
    RESULTS_FILE,
    read_chunks,
    read_contexts,
    read_errors,
    read_results,
)
from codefilter.index import RepositoryIndex
from codefilter.lm.base import Cancellation, Continuation
from codefilter.lm.fake import FakeLanguageModel
from codefilter.machine import commit
from codefilter.metrics import METRIC_FAMILY, score
from codefilter.tasks import LineSpan, make_task
from codefilter.types import (
    CompletionRequest,
    CompletionTask,
    FilterDecision,
    LogLikelihood,
    SourceFile,
    TaskLevel,
    content_hash,
)
from tests.killed_evaluations import TRIALS
from tests.made_results import PLAN
from tests.test_checkout import git, needs_git

SETTINGS = Settings(model="fake")
MODEL = FakeLanguageModel()
APP = """from lib import x

def report(values):
    total = compute_weighted_mean(values, scale=3)
    return total
"""
HELPFUL = "def total_of(values):\n    total = compute_weighted_mean(values, scale=3)\n"
POISON = "def other():\n    total = compute_weigzagzig()\n"
TYPED = "    total = compute_weig"


def app_task() -> CompletionTask:
    """The rest of the line with the call."""
    source = SourceFile("app.py", APP, "python", content_hash(APP))
    task = make_task("demo", "1", source, LineSpan(3, 4), TaskLevel.LINE)
    request = replace(task.request, prefix=task.request.prefix + TYPED)
    return replace(task, request=request, target=task.target.removeprefix(TYPED))


def group_with(folder: Path, **libraries: str) -> TaskGroup:
    """A repository with other files, and the task to write the line with the call."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {"app": APP, **libraries}.items():
        (folder / f"{name}.py").write_text(text)
    return TaskGroup("demo", folder, (app_task(),))


def arms(*names: str) -> list[Arm]:
    return [parse_arm(name, SETTINGS) for name in names]


def run(
    group: TaskGroup,
    names: Sequence[str],
    out: Path,
    model: FakeLanguageModel = MODEL,
    family: str = METRIC_FAMILY,
) -> list[TaskResult]:
    outcome = evaluate([group], LocalExecutor(model, arms(*names), family=family), out)
    assert outcome.errors == ()
    return list(outcome.results)


def without_times(result: TaskResult) -> dict[str, object]:
    """What a result is, without what it cost: that depends on what was computed before."""
    return {name: value for name, value in asdict(result).items() if name not in ("seconds", "reused_tokens")}


def test_a_planted_chunk_moves_the_figures_in_its_direction(tmp_path: Path) -> None:
    without, helped = run(group_with(tmp_path / "h", lib=HELPFUL), ["none", "all"], tmp_path / "h-out")
    _, harmed = run(group_with(tmp_path / "p", lib=POISON), ["none", "all"], tmp_path / "p-out")
    assert helped.target_nats > without.target_nats + 5
    assert harmed.target_nats < without.target_nats - 1
    assert (helped.exact_match, harmed.exact_match) == (1.0, 0.0)
    assert helped.edit_similarity == 100.0 > (harmed.edit_similarity or 0)
    assert (without.kept, without.cross_file_tokens) == (0, 0)
    summaries = summarise([without, helped], ["none", "all"])
    assert [summary.kept_nothing for summary in summaries] == [100.0, 0.0]
    assert helped.kept == 1


def test_the_oracle_keeps_what_helps_and_drops_what_harms(tmp_path: Path) -> None:
    group = group_with(tmp_path, lib=HELPFUL, zoo=POISON)
    (oracle,) = run(group, ["oracle:0.1"], tmp_path / "out")
    uses = {chunk.path: chunk for chunk in oracle.chunks}
    assert uses["lib.py"].keep
    assert uses["lib.py"].polarity == "positive"
    assert not uses["zoo.py"].keep
    assert uses["zoo.py"].polarity == "negative"
    assert "nats per token" in uses["zoo.py"].reason
    helps, harms = uses["lib.py"].impact, uses["zoo.py"].impact
    assert helps is not None
    assert harms is not None
    assert helps > 0.1 > -0.1 > harms


def test_two_arms_that_are_the_same_do_not_differ(tmp_path: Path) -> None:
    names = ["all", "all/num_candidates=10", "top-k:10"]
    first, *others = run(group_with(tmp_path, lib=HELPFUL), names, tmp_path / "out")
    for other in others:
        assert first.target_nats - other.target_nats == 0.0
        assert first.prediction == other.prediction
    rows = summarise([first, *others], names)
    assert {row.nats_per_token for row in rows} == {rows[0].nats_per_token}
    assert rows[1].worse_than_first == 0.0
    elsewhere = replace(others[0], task_id="another")
    assert summarise([first, elsewhere], names)[1].worse_than_first is None


class Counting(FakeLanguageModel):
    """The copying model, counting what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.scored = 0
        self.generated = 0

    def log_likelihoods(
        self,
        context: Sequence[int],
        continuations: Sequence[Continuation],
        cancellation: Cancellation | None = None,
    ) -> list[LogLikelihood]:
        self.scored += 1
        return super().log_likelihoods(context, continuations, cancellation)

    def generate(self, *args: object, **kwargs: object) -> list[object]:  # type: ignore[override]
        self.generated += 1
        return super().generate(*args, **kwargs)  # type: ignore[arg-type]


def test_a_filter_that_keeps_nothing_shares_everything_with_none(tmp_path: Path) -> None:
    model = Counting()
    names = ["none", "threshold:1", "all/cross_file_tokens=0", "none/strategy=selective:-100"]
    results = run(group_with(tmp_path, lib=HELPFUL), names, tmp_path / "out", model)
    assert (model.generated, model.scored) == (1, 1)
    assert len({(r.prompt_id, r.target_nats, r.prediction) for r in results}) == 1
    assert [r.candidates for r in results] == [0, 1, 1, 0]  # what differs is kept apart


def test_nothing_is_shown_before_a_draft_that_stands_is_written(tmp_path: Path) -> None:
    group, names = group_with(tmp_path, lib=HELPFUL), ["none/strategy=selective:-100", "none"]
    selective, none = run(group, names, tmp_path / "out")
    assert selective.first_token_seconds == sum(selective.seconds.values())
    assert "write" not in selective.seconds
    assert none.seconds["write"] == selective.seconds["draft"] > 0
    (resumed,) = run(group, ["threshold:1"], tmp_path / "out")
    assert resumed.seconds["write"] == none.seconds["write"]


@pytest.mark.parametrize(
    ("family", "name", "sees_it"),
    [
        ("qwen2.5-coder", "all", True),
        ("qwen2.5-coder", "all/layout=left-to-right", False),
        ("plain", "all", False),  # cannot fill in the middle
    ],
)
def test_left_to_right_nothing_behind_the_hole_is_looked_for(
    family: str, name: str, sees_it: bool, tmp_path: Path
) -> None:
    model = FakeLanguageModel()
    model.identity = replace(model.identity, family=family)
    group = group_with(tmp_path, lib=HELPFUL, far="marker_behind_the_hole = 1\n")
    request = replace(app_task().request, suffix="\nprint(marker_behind_the_hole)\n")
    task = replace(app_task(), request=request)
    (result,) = run(replace(group, tasks=(task,)), [name], tmp_path / "out", model)
    assert ("far.py" in {chunk.path for chunk in result.chunks}) == sees_it


def test_left_to_right_the_truth_and_the_metrics_stay(tmp_path: Path) -> None:
    group = group_with(tmp_path, lib=HELPFUL)
    task = replace(
        app_task(), target="hted_mean(values, scale=3", request=replace(app_task().request, suffix=")\n")
    )
    names = ["oracle:0.1", "oracle:0.1/layout=left-to-right"]
    for result in run(replace(group, tasks=(task,)), names, tmp_path / "out"):
        assert result.kept == 1
        assert result.prediction == "hted_mean(values, scale=3)"
        assert result.valid_in_place is False  # with the bracket behind the hole there is one too many


def test_a_killed_run_goes_on_and_gives_the_same_figures(tmp_path: Path) -> None:
    names = ("none", "all", "top-k:1")
    group = group_with(tmp_path, lib=HELPFUL)
    whole = run(group, names, tmp_path / "whole")
    killed = tmp_path / "killed"
    killed.mkdir()
    lines = (tmp_path / "whole" / RESULTS_FILE).read_text().splitlines(keepends=True)
    (killed / RESULTS_FILE).write_text(lines[0] + lines[1][: len(lines[1]) // 2])  # killed while writing
    (killed / CHUNKS_FILE).write_text((tmp_path / "whole" / CHUNKS_FILE).read_text()[:40])
    done: list[TaskResult | TaskError] = []
    again = evaluate([group], LocalExecutor(MODEL, arms(*names)), killed, done.append)
    assert [result.arm for result in done] == ["all", "top-k:1"]
    assert [without_times(r) for r in again.results] == [without_times(r) for r in whole]
    assert len(list(read_results(killed))) == 3
    assert list(read_chunks(killed)) == list(read_chunks(tmp_path / "whole"))


def test_runs_that_were_killed_in_the_middle_of_a_line_end_like_one_that_was_not(tmp_path: Path) -> None:
    script = [sys.executable, "-m", "tests.killed_evaluations", str(tmp_path), "5"]
    done = subprocess.run(script, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == TRIALS
    whole = sorted((without_times(r) for r in read_results(tmp_path / "whole")), key=str)
    assert len(whole) == 16
    for number in range(TRIALS):
        trial = tmp_path / f"trial-{number}"
        assert sorted((without_times(r) for r in read_results(trial)), key=str) == whole
        assert set(read_chunks(trial)) == set(read_chunks(tmp_path / "whole"))
        assert set(read_contexts(trial)) == set(read_contexts(tmp_path / "whole"))


def impacts(decisions: Sequence[FilterDecision]) -> dict[str, float]:
    """What the oracle says it measured, by path."""
    return {d.candidate.chunk.path: float(d.reason.split()[1]) for d in decisions}


def test_the_oracle_with_shuffled_truths_is_at_chance(tmp_path: Path) -> None:
    count = 12
    names = [content_hash(str(i)) for i in range(2 * count)]
    calls, others = [
        [f"calc_{name[:6]}({name[6:12]})" for name in part] for part in (names[:count], names[count:])
    ]
    for i, call in enumerate(calls):
        (tmp_path / f"good{i}.py").write_text(f"x = 1\nresult_{i} = {call}\n")
        (tmp_path / f"bad{i}.py").write_text(f"x = 1\nresult_{i} = {others[i]}\n")
    requests = [CompletionRequest("app.py", f"x = 1\nresult_{i} = ", "\n", "python") for i in range(count)]
    index = RepositoryIndex.open(tmp_path)

    def wins(truths: Sequence[str]) -> float:
        """How often the chunk with the request's own truth has a higher impact than its counterpart."""
        settings = replace(SETTINGS, filter="oracle:0.1", retriever="bm25", num_candidates=2 * count)
        known = dict(zip(requests, truths, strict=True))
        completer = Completer(index, MODEL, settings, truth_of=known.__getitem__)
        scores = []
        for i, request in enumerate(requests):
            found = impacts(completer.prepare(request).decisions)
            good, bad = found[f"good{i}.py"], found[f"bad{i}.py"]
            scores.append(1.0 if good > bad else 0.5 if good == bad else 0.0)
        return sum(scores) / count

    assert wins(calls) == 1.0
    shuffled = [wins(calls[shift:] + calls[:shift]) for shift in (1, 4, 7)]
    assert 0.25 < sum(shuffled) / 3 < 0.75


def test_what_an_earlier_attempt_computed_is_not_computed_again(tmp_path: Path) -> None:
    group = group_with(tmp_path, lib=HELPFUL)
    run(group, ["all"], tmp_path / "out")
    model = Counting()
    run(group, ["all", "top-k:5"], tmp_path / "out", model)
    assert (model.generated, model.scored) == (0, 0)


def test_without_writing_only_the_likelihood_is_measured(tmp_path: Path) -> None:
    group = group_with(tmp_path, lib=HELPFUL)
    (written,) = run(group, ["all"], tmp_path / "a")
    measuring = LocalExecutor(MODEL, arms("all"), write=False)
    measured = evaluate([group], measuring, tmp_path / "b").results[0]
    assert measured.prediction is None
    assert measured.exact_match is None
    assert measured.target_nats == pytest.approx(written.target_nats)
    assert summarise([measured], ["all"])[0].edit_similarity is None


def test_what_holds_answers_is_not_indexed(tmp_path: Path) -> None:
    group = group_with(tmp_path, lib=POISON, test001=HELPFUL)
    excluding = replace(group, excluded_paths=("test001.py",))
    for result in run(excluding, ["all", "all/chunker=window"], tmp_path / "out"):
        assert [chunk.path for chunk in result.chunks] == ["lib.py"]
    (leaking,) = run(group, ["all"], tmp_path / "leaking")  # and a saved index has it again
    assert {chunk.path for chunk in leaking.chunks} == {"lib.py", "test001.py"}


def test_a_run_keeps_what_people_need_to_understand_it(tmp_path: Path) -> None:
    run(group_with(tmp_path, lib=HELPFUL), ["none", "all"], tmp_path / "out")
    (context,) = read_contexts(tmp_path / "out")
    assert context.prefix + context.target + context.suffix == APP
    (chunk,) = read_chunks(tmp_path / "out")
    assert (chunk.path, chunk.text) == ("lib.py", HELPFUL.rstrip())


class Failing(FakeLanguageModel):
    """Runs out of memory wherever a prompt holds a word."""

    def log_likelihoods(
        self,
        context: Sequence[int],
        continuations: Sequence[Continuation],
        cancellation: Cancellation | None = None,
    ) -> list[LogLikelihood]:
        if "weigzagzig" in self.tokenizer.decode(list(context)):
            raise RuntimeError("CUDA out of memory")
        return super().log_likelihoods(context, continuations, cancellation)


def test_a_task_that_fails_is_named_and_the_run_goes_on(tmp_path: Path) -> None:
    groups = [group_with(tmp_path / "bad", lib=POISON), group_with(tmp_path / "good", lib=HELPFUL)]
    groups[1] = replace(groups[1], tasks=(replace(groups[1].tasks[0], task_id="good"),))
    outcome = evaluate(groups, LocalExecutor(Failing(), arms("none", "all")), tmp_path / "out")
    (error,) = outcome.errors
    assert (error.arm, error.error, error.message) == ("all", "RuntimeError", "CUDA out of memory")
    assert list(read_errors(tmp_path / "out")) == [error]
    assert [(r.task_id, r.arm) for r in outcome.results] == [
        (error.task_id, "none"),
        ("good", "none"),
        ("good", "all"),
    ]
    evaluate(groups, LocalExecutor(MODEL, arms("top-k:1")), tmp_path / "out")  # is not about that
    assert list(read_errors(tmp_path / "out")) == [error]
    again = evaluate(groups, LocalExecutor(MODEL, arms("none", "all")), tmp_path / "out")  # more memory now
    assert again.errors == ()
    assert len(again.results) == 4
    assert list(read_errors(tmp_path / "out")) == []


def test_a_repository_that_cannot_be_indexed_fails_its_tasks_only(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    empty = TaskGroup("empty", tmp_path / "empty", (replace(app_task(), task_id="lost"),))
    groups = [empty, group_with(tmp_path / "good", lib=HELPFUL)]
    outcome = evaluate(groups, LocalExecutor(MODEL, arms("all")), tmp_path / "o")
    assert [error.task_id for error in outcome.errors] == ["lost"]
    assert "no source files" in outcome.errors[0].message
    assert len(outcome.results) == 1


def test_after_the_deadline_no_task_is_begun(tmp_path: Path) -> None:
    group = group_with(tmp_path, lib=HELPFUL)
    executor = LocalExecutor(MODEL, arms("none", "all"))
    outcome = evaluate([group], executor, tmp_path / "out", deadline=time.monotonic() - 1)
    assert (outcome.results, outcome.num_left) == ((), 2)


def test_a_task_without_a_repository_has_nothing_to_retrieve(tmp_path: Path) -> None:
    (result,) = run(TaskGroup("demo", None, (app_task(),)), ["all"], tmp_path / "out")
    assert (result.candidates, result.kept) == (0, 0)


def test_cleaning_is_an_arm_and_only_changes_what_is_shown(tmp_path: Path) -> None:
    group = group_with(tmp_path, lib=HELPFUL.replace("scale=3)", "scale=3)  "))
    names = ["all", "all/postprocess=on"]
    raw, cleaned = run(group, names, tmp_path / "out")
    assert raw.prediction == "hted_mean(values, scale=3)  "
    assert cleaned.prediction == raw.prediction.rstrip()
    assert raw.target_nats == cleaned.target_nats
    (again,) = run(group, ["top-k:5"], tmp_path / "out")  # shares with the one that was not cleaned
    assert again.prediction == raw.prediction


def test_predictions_are_exported_as_released_and_score_the_same(tmp_path: Path) -> None:
    group = group_with(tmp_path, lib=HELPFUL)
    results = run(group, ["all", "top-k:3/layout=after-suffix"], tmp_path / "out")
    paths = export_predictions(results, group.tasks, tmp_path / "out", "repocoder")
    assert [path.name for path in paths] == ["all.jsonl", "top-k-3,layout=after-suffix.jsonl"]
    for references in (References(), References(group.tasks)):
        read = read_predictions(paths[0], references)
        assert read.malformed == ()
        (prediction,) = read.predictions
        notice = json.loads(paths[0].read_text())["metadata"]["notice"]
        assert "what crosscodeeval makes of it is not the released metric" in notice
        scores = score("repocoder", prediction.text, prediction.task)
        assert scores.edit_similarity == results[0].edit_similarity
        assert prediction.task.level is TaskLevel.LINE
        assert prediction.task.request.prefix == app_task().request.prefix  # which ends within a line


def test_a_family_that_cuts_by_its_own_rule_gets_what_the_model_wrote_on(tmp_path: Path) -> None:
    """And one text serves all families: what RepoCoder cuts of it is what a run by its own rule writes."""
    group = group_with(tmp_path, lib=HELPFUL)
    (task,) = group.tasks
    (short,) = run(group, ["all"], tmp_path / "short")
    (long,) = run(group, ["all"], tmp_path / "long", family="crosscodeeval")
    assert long.prediction is not None
    assert short.prediction is not None
    assert len(long.prediction) > len(short.prediction) == len(long.prediction.split("\n")[0])
    assert long.edit_similarity == score("crosscodeeval", long.prediction, task).edit_similarity
    assert score("repocoder", long.prediction, task).edit_similarity == short.edit_similarity
    assert (short.valid_in_place, long.valid_in_place) == (True, None)  # what is cut off says nothing
    (path,) = export_predictions([long], group.tasks, tmp_path / "long", "crosscodeeval")
    assert "notice" not in json.loads(path.read_text())["metadata"]


@pytest.mark.parametrize("prefix", ["x = ", "x = 1\n", "x = 1\n\n", "\n"])
def test_an_exported_prompt_ends_where_the_target_begins(prefix: str, tmp_path: Path) -> None:
    task = replace(app_task(), request=replace(app_task().request, prefix=prefix))
    path = tmp_path / "predictions.jsonl"
    path.write_text(json.dumps(released_record(task, "f(\n    1)\ny = 2\n", "repocoder")) + "\n")
    (prediction,) = read_predictions(path, References()).predictions
    assert prediction.task.request.prefix == prefix
    compared = score("crosscodeeval", prediction.text, prediction.task).compared
    assert compared == "f(\n    1)"


def test_who_only_reads_leaves_a_torn_line_where_it_is_and_who_writes_cuts_it_off(tmp_path: Path) -> None:
    group = group_with(tmp_path, lib=HELPFUL)
    run(group, ["none", "all"], tmp_path / "out")
    file = tmp_path / "out" / RESULTS_FILE
    torn = file.read_bytes()[:-10]
    file.write_bytes(torn)
    inode = file.stat().st_ino
    assert [result.arm for result in read_results(tmp_path / "out")] == ["none"]
    assert list(read_errors(tmp_path / "out")) == []
    assert file.read_bytes() == torn
    run(group, ["none"], tmp_path / "out")  # nothing is missing of it
    assert file.read_bytes() == torn
    run(group, ["none", "all"], tmp_path / "out")
    assert [result.arm for result in read_results(tmp_path / "out")] == ["none", "all"]
    assert file.stat().st_ino == inode  # never written anew


def test_files_that_hold_something_else_are_named(tmp_path: Path) -> None:
    (tmp_path / RESULTS_FILE).write_text("{}\n")
    with pytest.raises(UsageError, match=r"line 1 of .* is not from a run"):
        list(read_results(tmp_path))


def test_an_arm_is_a_filter_settings_and_a_strategy() -> None:
    arm = parse_arm("top-k:3/layout=after-suffix/num_candidates=5/strategy=iterative", SETTINGS)
    assert (arm.settings.filter, arm.settings.layout, arm.settings.num_candidates, arm.strategy) == (
        "top-k:3",
        "after-suffix",
        5,
        "iterative:2",
    )
    assert parse_arm("all/filter_weights=/a/b/layout=in-prefix", SETTINGS).settings.filter_weights == "/a/b"
    for wrong, message in (
        ("all/layout", "is not a setting"),
        ("all/colour=red", "unknown setting"),
        ("best", "unknown filter"),
        ("all/strategy=never", "no strategy"),
        ("all/postprocess=maybe", "on or off"),
        ("all/model=fake", "cannot change model"),
        ("all/engine=torch", "cannot change engine"),
        ("all/device=cpu", "cannot change device"),
        ("all/dtype=float16", "cannot change dtype"),
        ("all/max_lines=3", "cannot change max_lines"),
        ("all/max_new_tokens=3", "cannot change max_new_tokens"),
        ("all/filter=none", "cannot change filter"),
    ):
        with pytest.raises((UsageError, ConfigError), match=message):
            parse_arm(wrong, SETTINGS)
    with pytest.raises(UsageError, match="all comes twice"):
        parse_arms("all,none,all", SETTINGS)


def groups_of(sizes: Sequence[int]) -> list[TaskGroup]:
    task = app_task()
    return [
        TaskGroup(
            f"r{i}",
            None,
            tuple(
                replace(
                    task,
                    task_id=f"r{i}/{n}",
                    level=TaskLevel.LINE if n % 2 else TaskLevel.API,
                )
                for n in range(size)
            ),
        )
        for i, size in enumerate(sizes)
    ]


def ids(groups: Sequence[TaskGroup]) -> list[str]:
    return [task.task_id for group in groups for task in group.tasks]


@given(st.lists(st.integers(0, 9), max_size=5), st.integers(1, 30), st.integers(0, 3))
def test_a_limit_draws_evenly_and_a_larger_one_adds(sizes: list[int], limit: int, seed: int) -> None:
    groups = groups_of(sizes)
    drawn = ids(limit_tasks(groups, limit, seed))
    assert len(drawn) == min(limit, sum(sizes))
    assert set(drawn) <= set(ids(limit_tasks(groups, limit + 3, seed)))
    assert drawn == [task_id for task_id in ids(groups) if task_id in set(drawn)]  # in their own order
    counts = [sum(task_id.startswith(f"r{i}/") for task_id in drawn) for i in range(len(sizes))]
    open_counts = [count for count, size in zip(counts, sizes, strict=True) if count < size]
    assert not open_counts or max(open_counts) - min(open_counts) <= 2  # two levels each


@given(st.lists(st.integers(0, 9), max_size=5), st.integers(1, 6))
def test_shards_are_a_partition(sizes: list[int], num_shards: int) -> None:
    groups = groups_of(sizes)
    parts = [ids(shard_tasks(groups, shard, num_shards)) for shard in range(1, num_shards + 1)]
    assert sorted(task_id for part in parts for task_id in part) == sorted(ids(groups))


def test_tasks_of_some_repositories() -> None:
    groups = groups_of([1, 2, 3])
    assert only_repositories(groups, ["r2", "r0"]) == [groups[0], groups[2]]
    with pytest.raises(UsageError, match="of a repository 'r7'") as caught:
        only_repositories(groups, ["r1", "r7"])
    assert caught.value.hint == "There are: r0, r1, r2."


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no shard"):
        parse_shard(text)


def test_records_name_model_data_and_settings() -> None:
    path = Path(__file__).parents[1] / "data" / "results" / "fresh-untrained.json"
    record = json.loads(path.read_text())
    assert len(record["model"]["sha256"]) == 64
    assert record["settings"]["layout"]
    assert record["tasks"] * len(record["arms"]) == len(record["results"])
    assert all("prediction" not in result for result in record["results"])  # other people's code stays out


def test_another_engine_is_another_run_and_what_ran_an_attempt_is_kept(tmp_path: Path) -> None:
    first = replace(PLAN, engine="torch, cuda, bfloat16", commit="aaaaaaa", machine="x86_64, 8 cores, Linux")
    begin_run(first, tmp_path)
    with pytest.raises(UsageError, match="holds another run: engine differ") as caught:
        begin_run(replace(first, engine="openvino 2026.4.1, cpu, int8 weights"), tmp_path)
    assert "torch, cuda, bfloat16" in caught.value.hint
    assert "openvino 2026.4.1" in caught.value.hint
    named = replace(first.settings, engine="torch")  # what `auto` was
    on_ray = replace(first, engine=f"{first.engine}, 4 Ray workers", settings=named, commit="bbbbbbb")
    begin_run(replace(on_ray, machine="aarch64, 4 cores, Linux"), tmp_path)
    begin_run(first, tmp_path)
    begin_run(replace(first, commit=""), tmp_path)  # outside a checkout
    known = read_plan(tmp_path)
    assert known.commit == "aaaaaaa; bbbbbbb"
    assert known.machine == "x86_64, 8 cores, Linux; aarch64, 4 cores, Linux"
    assert known.codefilter == PLAN.codefilter


def test_other_weights_of_the_model_are_another_run_and_another_commit_is_not(tmp_path: Path) -> None:
    begin_run(replace(PLAN, commit="aaaaaaa"), tmp_path)
    with pytest.raises(UsageError, match="model differ"):
        begin_run(replace(PLAN, model=replace(PLAN.model, sha256="b" * 64)), tmp_path)
    assert begin_run(replace(PLAN, commit="aaaaaaa-dirty"), tmp_path).commit == "aaaaaaa; aaaaaaa-dirty"


def test_a_run_of_before_a_setting_is_read_as_it_was_and_not_joined_with_todays(tmp_path: Path) -> None:
    begin_run(PLAN, tmp_path)
    file = tmp_path / "run.json"
    values = json.loads(file.read_text())
    del values["settings"]["hole_lines"]
    file.write_text(json.dumps(values))
    assert read_plan(tmp_path).settings.hole_lines == 0
    with pytest.raises(UsageError, match="hole_lines differ"):
        begin_run(PLAN, tmp_path)


@needs_git
def test_the_commit_is_the_checkouts_own_and_says_when_files_are_changed(tmp_path: Path) -> None:
    assert commit(tmp_path) == ""
    git(tmp_path, "init")
    (tmp_path / "code.py").write_text("x = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--message", "first")
    git(tmp_path, "tag", "v1")
    clean = commit(tmp_path)
    assert re.fullmatch("[0-9a-f]{7,}", clean)
    (tmp_path / "run.json").write_text("")
    assert commit(tmp_path) == clean
    (tmp_path / "code.py").write_text("x = 2\n")
    assert commit(tmp_path) == f"{clean}-dirty"
    inner = tmp_path / ".venv" / "site-packages"
    inner.mkdir(parents=True)
    assert commit(inner) == ""


def test_a_folder_keeps_to_the_weights_that_its_arms_began_with(tmp_path: Path) -> None:
    begin_run(PLAN, tmp_path)
    first = replace(PLAN, arms=("classifier",), weights_sha256={"classifier": "a" * 64})
    begin_run(first, tmp_path)  # an arm may be added
    begin_run(PLAN, tmp_path)
    assert read_plan(tmp_path).weights_sha256 == {"classifier": "a" * 64}
    with pytest.raises(UsageError, match="weights of classifier"):
        begin_run(replace(first, weights_sha256={"classifier": "b" * 64}), tmp_path)


def test_a_folder_keeps_to_the_number_of_candidates_that_its_arms_began_with(tmp_path: Path) -> None:
    begin_run(replace(PLAN, arms=("all",)), tmp_path)  # of before they were written down
    numbers = {arm.name: arm.num_candidates for arm in parse_arms("all,classifier,none", Settings())}
    assert numbers == {"all": 10, "classifier": 30, "none": 0}
    plan = begin_run(replace(PLAN, arms=tuple(numbers), num_candidates=numbers), tmp_path)
    assert plan.num_candidates == {"classifier": 30, "none": 0}  # of `all` it is not known
    with pytest.raises(UsageError, match="candidates of classifier differ"):
        begin_run(replace(PLAN, num_candidates={"classifier": 40}), tmp_path)
