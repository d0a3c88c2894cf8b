"""Datasets: nothing lost, nothing twice, references that find their text again, splits by repository."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pandas
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codefilter.controls import FewControlsError
from codefilter.dataset.build import BuildPlan, Progress, build_dataset, recipe_of
from codefilter.dataset.card import CARD_FILE, card_text
from codefilter.dataset.choose import compare_arms, parse_label_arm, run_arms
from codefilter.dataset.description import (
    FEW_CONTROLS,
    FOR_NOW,
    Description,
    SourceRecord,
    read_description,
    with_source,
    write_description,
)
from codefilter.dataset.execution import LocalExecutor
from codefilter.dataset.figures import agreement, array, control_noise, label_figures, mean
from codefilter.dataset.materialize import Materializer, open_materializer, write_text
from codefilter.dataset.records import ExampleRecord, from_json, to_json
from codefilter.dataset.sources import RepositorySource, find_roots, find_sources, sources_of
from codefilter.dataset.split import read_splits, split_repositories, write_splits
from codefilter.dataset.states import STATES_FOLDER, read_states, states_path, write_states
from codefilter.dataset.stats import dataset_stats
from codefilter.dataset.storage import JOURNAL_FILE, DatasetFolder, read_examples, refuse_existing, shards
from codefilter.dataset.validate import validate
from codefilter.errors import (
    CodeFilterError,
    DatasetError,
    IndexStorageError,
    ModelError,
    PromptError,
    SourceError,
    UsageError,
)
from codefilter.index import RepositoryIndex
from codefilter.labeling import LabeledExample, Labeler, LabelOptions
from codefilter.lm.fake import FakeLanguageModel
from codefilter.packages import PackagePin, load_corpora
from codefilter.types import CompletionTask, Polarity, TaskLevel
from tests.killed_builds import PLAN, SMALL, TRIALS
from tests.labelled_repositories import SHOP_FILES, WEATHER_FILES, write_repository

OPTIONS = LabelOptions(draft_tokens=3)


@pytest.fixture
def repositories(tmp_path: Path) -> list[RepositorySource]:
    write_repository(tmp_path / "shop", SHOP_FILES)
    write_repository(tmp_path / "weather", WEATHER_FILES)
    return find_sources([str(tmp_path / "shop"), str(tmp_path / "weather")])


def executor(options: LabelOptions = OPTIONS) -> LocalExecutor:
    return LocalExecutor(FakeLanguageModel(), SMALL, options)


def build(
    sources: list[RepositorySource], out: Path, plan: BuildPlan = PLAN, options: LabelOptions = OPTIONS
) -> Description:
    return build_dataset(sources, DatasetFolder(out), executor(options), plan)


def numbers(folder: Path) -> dict[str, ExampleRecord]:
    """Examples by id, without the seconds that they took."""
    records = list(read_examples(folder))
    assert len({record.example_id for record in records}) == len(records)
    return {record.example_id: replace(record, seconds=records[0].seconds) for record in records}


def same_states(first: Path, second: Path) -> bool:
    names = numbers(first).keys()
    return all(
        np.array_equal(tensor, read_states(second, name).tensors[which])
        for name in names
        for which, tensor in read_states(first, name).tensors.items()
    )


def same_numbers(first: Path, second: Path) -> bool:
    left, right = numbers(first), numbers(second)
    seconds = next(iter(left.values())).seconds
    return left == {name: replace(record, seconds=seconds) for name, record in right.items()}


def test_builds_killed_at_twenty_random_points_lose_nothing(tmp_path: Path) -> None:
    write_repository(tmp_path / "shop", SHOP_FILES)
    write_repository(tmp_path / "weather", WEATHER_FILES)
    script = [sys.executable, "-m", "tests.killed_builds", str(tmp_path), "7"]
    root = Path(__file__).parents[1]
    done = subprocess.run(script, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == TRIALS
    assert len(numbers(tmp_path / "whole")) == 12
    for number in range(TRIALS):
        trial = tmp_path / f"trial-{number}"
        assert same_numbers(trial, tmp_path / "whole")
        assert (trial / STATES_FOLDER).exists() == (number % 2 == 1)
        if number % 2 == 1:
            assert same_states(tmp_path / "whole-states", trial)
            assert len(list((trial / STATES_FOLDER).iterdir())) == 12
        assert (trial / JOURNAL_FILE).read_bytes() == b""
        assert not list(trial.glob(".*.tmp"))


def test_states_are_what_the_model_reads_and_can_be_added_later(
    repositories: list[RepositorySource], tmp_path: Path
) -> None:
    out = tmp_path / "labels"
    build(repositories, out, replace(PLAN, per_repository=3))
    before = list(read_examples(out))
    with pytest.raises(DatasetError, match="no hidden states"):
        read_states(out, before[0].example_id)
    model = FakeLanguageModel()
    keeping = LocalExecutor(model, SMALL, OPTIONS, keep_states=True)
    for _ in range(2):  # the second time there is nothing left to do
        build_dataset(repositories, DatasetFolder(out, keep_states=True), keeping, PLAN)
    after = list(read_examples(out))
    assert after[: len(before)] == before  # labelled once, states or not
    assert len(after) == 12
    assert [run.examples for run in read_description(out).runs] == [6, 12]  # type: ignore[union-attr]
    materializer = Materializer(roots(repositories))
    for record in after:
        states = read_states(out, record.example_id)
        hidden = states.baseline.shape[1]
        assert {tensor.dtype for tensor in states.tensors.values()} == {np.dtype(np.float16)}
        assert states.everything.shape == (2, hidden)
        assert states.chunks.shape == (len(record.chunks), 2, hidden)
        assert states.controls.shape == (len(record.controls), 2, hidden)
        # the fake's states are its last tokens: the prompt ends before the hole, then comes the draft
        end = materializer.materialize(record).task.request.prefix.encode()[-1]
        for prompt, along in (states.baseline, states.everything, *states.chunks, *states.controls):
            assert prompt[-1] in (np.float16(end / 256), np.float16(258 / 256))  # or the middle token
            draft = np.array(record.draft_token_ids, np.float32) / 256
            assert along[-1] == pytest.approx(draft.mean() if len(draft) else 0, abs=1e-3)
    assert list(validate(out)) == []
    write_states(out, after[0].example_id, read_states(out, after[-1].example_id))
    torn = states_path(out, after[1].example_id)
    torn.write_bytes(torn.read_bytes()[:-5])
    assert any("cannot be read" in problem for problem in validate(out))


def test_a_torn_line_of_the_journal_is_made_again(
    repositories: list[RepositorySource], tmp_path: Path
) -> None:
    out, whole = tmp_path / "torn", tmp_path / "whole"
    build(repositories, whole)
    folder = DatasetFolder(out)
    folder.open(read_description(whole).recipe)  # type: ignore[union-attr]
    first, second, *_ = read_examples(whole)
    folder.append(first)
    complete = (out / JOURNAL_FILE).read_bytes()
    folder.append(second)
    (out / JOURNAL_FILE).write_bytes((out / JOURNAL_FILE).read_bytes()[:-100])
    inode = (out / JOURNAL_FILE).stat().st_ino
    assert [record.example_id for record in read_examples(out)] == [first.example_id]
    reopened = DatasetFolder(out)
    reopened.open(read_description(whole).recipe)  # type: ignore[union-attr]
    assert (out / JOURNAL_FILE).read_bytes() == complete
    assert (out / JOURNAL_FILE).stat().st_ino == inode  # cut off, not written anew
    assert first.example_id in reopened
    assert second.example_id not in reopened
    build(repositories, out)
    assert same_numbers(out, whole)


def test_a_larger_number_per_repository_only_adds(
    repositories: list[RepositorySource], tmp_path: Path
) -> None:
    out = tmp_path / "labels"
    build(repositories, out, replace(PLAN, per_repository=3))
    before = list(read_examples(out))
    build(repositories, out)
    after = list(read_examples(out))
    assert after[: len(before)] == before
    assert len(after) == 2 * len(before) == 12
    runs = read_description(out).runs  # type: ignore[union-attr]
    assert [run.examples for run in runs] == [6, 6]


def test_a_slice_ends_at_its_limit_and_the_next_goes_on(
    repositories: list[RepositorySource], tmp_path: Path
) -> None:
    out = tmp_path / "labels"
    build(repositories, out, replace(PLAN, max_examples=5))
    assert len(numbers(out)) == 5
    build(repositories, out, replace(PLAN, time_limit_seconds=0.0))
    assert len(numbers(out)) == 5
    build(repositories, out)
    assert len(numbers(out)) == 12


@pytest.mark.parametrize("most", [None, 5])
def test_progress_counts_down_to_nothing(
    repositories: list[RepositorySource], tmp_path: Path, most: int | None
) -> None:
    seen: list[Progress] = []
    dataset = DatasetFolder(tmp_path / "labels")
    build_dataset(repositories, dataset, executor(), replace(PLAN, max_examples=most), seen.append)
    assert (seen[0].labelled, seen[0].remaining) == (0, most or 12)
    assert (seen[-1].labelled, seen[-1].remaining) == (most or 12, 0)


def test_bad_repositories_are_skipped_with_their_reason(
    repositories: list[RepositorySource], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    gone = RepositorySource("gone", "", folder=tmp_path / "gone")
    (empty,) = find_sources([str(tmp_path / "empty")])
    description = build([empty, *repositories, gone], tmp_path / "labels")
    problems = {source.name: source.problem for source in description.sources}
    assert problems["empty"] == "only 0 source files"
    assert "gone" in problems["gone"]
    assert problems["shop"] == problems["weather"] == ""
    assert len(numbers(tmp_path / "labels")) == 12


def test_a_repository_alone_has_no_controls_and_is_labelled_when_there_is_another(
    repositories: list[RepositorySource], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="labels need controls") as caught:
        build(repositories[:1], tmp_path / "labels")
    assert "two repositories" in caught.value.hint
    assert build(repositories, tmp_path / "labels").skipped == ()
    assert len(numbers(tmp_path / "labels")) == 12
    script = "".join(f"export function area{n}(box) {{\n  return box.width * {n};\n}}\n" for n in range(9))
    only_script = find_sources(
        [str(write_repository(tmp_path / "page", {f"page/{n}.js": script for n in range(6)}))]
    )
    for _ in range(2):  # nothing is left the second time but what has no controls
        build([*repositories, *only_script], tmp_path / "labels")


def test_only_what_the_model_cannot_read_is_left_out_for_good(
    repositories: list[RepositorySource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codefilter.labeling import Labeler

    label = Labeler.label

    def failing(error: CodeFilterError) -> Callable[[Labeler, CompletionTask], LabeledExample]:
        def fail_once(labeler: Labeler, task: CompletionTask) -> LabeledExample:
            monkeypatch.setattr(Labeler, "label", label)
            raise error

        return fail_once

    monkeypatch.setattr(Labeler, "label", failing(IndexStorageError("the disk is full")))
    with pytest.raises(IndexStorageError):
        build(repositories, tmp_path / "labels")
    monkeypatch.setattr(Labeler, "label", failing(PromptError("too long")))
    description = build(repositories, tmp_path / "labels")
    assert [reason for _, reason in description.skipped] == ["too long"]
    assert len(numbers(tmp_path / "labels")) == 11
    assert build(repositories, tmp_path / "labels").skipped == description.skipped


def test_a_model_that_fails_for_now_is_asked_again_by_the_next_run(
    repositories: list[RepositorySource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codefilter.labeling import Labeler

    asked: list[CompletionTask] = []

    def fail(labeler: Labeler, task: CompletionTask) -> LabeledExample:
        asked.append(task)
        raise ModelError("cuda has no memory left")

    with monkeypatch.context() as patched:
        patched.setattr(Labeler, "label", fail)
        limited = replace(PLAN, max_examples=1)
        build_dataset(repositories, DatasetFolder(tmp_path / "labels"), executor(), limited)
        assert len(asked) == 1
        reasons = {reason for _, reason in build(repositories, tmp_path / "labels").skipped}
    assert reasons == {FOR_NOW + "cuda has no memory left"}
    assert build(repositories, tmp_path / "labels").skipped == ()
    assert len(numbers(tmp_path / "labels")) == 12


def test_a_repository_whose_index_cannot_be_opened_stops_no_other_and_comes_again(
    repositories: list[RepositorySource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = RepositoryIndex.open
    asked: list[str] = []

    def of_weather(root: Path, *, chunker: str) -> RepositoryIndex:
        asked.append(root.name)
        if root.name == "shop":
            raise SourceError("no source files in shop")
        return opened(root, chunker=chunker)

    monkeypatch.setattr(RepositoryIndex, "open", of_weather)
    seen: list[Progress] = []
    dataset, plan = DatasetFolder(tmp_path / "labels"), replace(PLAN, max_examples=6)
    description = build_dataset(repositories, dataset, executor(), plan, seen.append)
    assert {s.name: s.problem for s in description.sources} == {
        "shop": "no source files in shop",
        "weather": "",
    }
    assert asked.count("shop") == 1
    assert description.skipped == ()
    assert seen[-1].remaining == 0
    assert len(numbers(tmp_path / "labels")) == 6
    monkeypatch.undo()
    assert {source.problem for source in build(repositories, tmp_path / "labels").sources} == {""}
    assert len(numbers(tmp_path / "labels")) == 12


def test_a_run_is_written_down_while_it_goes_on(repositories: list[RepositorySource], tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def look(progress: Progress) -> None:
        description = read_description(tmp_path / "labels")
        assert description is not None
        told.append((progress.labelled, sum(run.examples for run in description.runs)))

    build_dataset(repositories, DatasetFolder(tmp_path / "labels"), executor(), PLAN, look)
    assert told[-1] == (12, 12)
    assert all(labelled == noted for labelled, noted in told)


@pytest.mark.parametrize("change", ["file", "package"])
def test_a_repository_that_has_changed_is_not_mixed_with_its_old_labels(
    repositories: list[RepositorySource], tmp_path: Path, change: str
) -> None:
    write_repository(tmp_path / "third", {f"third/{Path(p).name}": t for p, t in WEATHER_FILES.items()})
    third = find_sources([str(tmp_path / "third")])
    before = build([*repositories, *third], tmp_path / "labels", replace(PLAN, per_repository=3))
    shop, weather = repositories
    if change == "package":
        shop = replace(shop, version="2", pin=PackagePin("shop", "2", "shop.whl", "another", "train", 1, 1))
    else:
        path = tmp_path / "shop" / next(iter(numbers(tmp_path / "labels").values())).path
        path.write_text(path.read_text() + "# later\n")
    with pytest.raises(UsageError) as caught:
        build([shop, weather], tmp_path / "labels")  # nothing is left to compare with
    assert "label it into another folder" in caught.value.hint
    after = build([shop, weather, *third], tmp_path / "labels")
    (old,) = (source for source in before.sources if source.name == "shop")
    (now,) = (source for source in after.sources if source.name == "shop")
    assert "label it into another folder" in now.problem
    assert replace(now, problem="") == old
    labelled = [record.repository for record in read_examples(tmp_path / "labels")]
    assert {name: labelled.count(name) for name in ("shop", "weather")} == {"shop": 3, "weather": 6}


def test_a_checkout_that_moved_on_elsewhere_gives_more_labels(
    repositories: list[RepositorySource], tmp_path: Path
) -> None:
    shop, weather = (replace(source, version="1") for source in repositories)
    build([shop, weather], tmp_path / "labels", replace(PLAN, per_repository=3))
    (tmp_path / "shop" / "shop" / "new.py").write_text(WEATHER_FILES["weather/sun.py"])
    description = build([replace(shop, version="2"), weather], tmp_path / "labels")
    assert {source.name: source.version for source in description.sources} == {"shop": "2", "weather": "1"}
    assert {source.problem for source in description.sources} == {""}
    records = list(read_examples(tmp_path / "labels"))
    assert [record.version for record in records if record.repository == "shop"] == ["1"] * 3 + ["2"] * 3
    assert list(validate(tmp_path / "labels", roots(repositories))) == []


def test_a_checkout_whose_files_are_not_its_commit_says_so(tmp_path: Path) -> None:
    folder = write_repository(tmp_path / "shop", SHOP_FILES)

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=x", "-c", "user.email=x@y"]
        return subprocess.run(
            ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()

    def version() -> str:
        (source,) = find_sources([str(folder)])
        return source.version

    git("init", "-q")
    assert version() == ""
    git("add", ".")
    git("commit", "-qm", "all")
    commit = git("rev-parse", "HEAD")
    with (folder / ".git" / "config").open("a") as config:
        config.write('[core]\n\tfsmonitor = "touch was-run"\n')
    (folder / "notes.bin").write_bytes(b"\0")  # nothing that is read as source
    assert version() == commit
    orders = folder / "shop" / "orders.py"
    for changed in ("text", "gone", "new"):
        text = orders.read_text()
        if changed == "text":
            orders.write_text(text + "# later\n")
        elif changed == "gone":
            orders.unlink()
        else:
            (folder / "shop" / "new.py").write_text(text)
        assert version() == f"{commit}+changes", changed
        orders.write_text(text)
    assert not (folder / "was-run").exists()


def test_states_of_other_controls_are_refused(repositories: list[RepositorySource], tmp_path: Path) -> None:
    build(repositories, tmp_path / "labels")
    write_repository(tmp_path / "third", {f"third/{Path(p).name}": t for p, t in WEATHER_FILES.items()})
    more = [*repositories, *find_sources([str(tmp_path / "third")])]
    keeping = LocalExecutor(FakeLanguageModel(), SMALL, OPTIONS, keep_states=True)
    with pytest.raises(UsageError, match="other chunks or controls"):
        build_dataset(more, DatasetFolder(tmp_path / "labels", keep_states=True), keeping, PLAN)


def test_labels_of_another_recipe_are_refused(repositories: list[RepositorySource], tmp_path: Path) -> None:
    build(repositories, tmp_path / "labels", replace(PLAN, max_examples=1))
    with pytest.raises(UsageError, match="was labelled with options"):
        build(repositories, tmp_path / "labels", options=replace(OPTIONS, num_controls=4))


def test_benchmark_packages_cannot_be_trained_on() -> None:
    with pytest.raises(UsageError, match="belongs to the benchmarks"):
        find_sources(["asyncvarlink"])
    with pytest.raises(UsageError, match="neither a folder nor a package"):
        find_sources(["amebo==0.0.0"])
    assert {source.pin.role for source in find_sources([]) if source.pin is not None} == {"train"}


def test_packages_of_an_own_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codefilter.dataset.sources.fetch_package", lambda pin: tmp_path / pin.wheel)
    manifest = tmp_path / "mine.toml"
    entry = 'name = "{0}"\nversion = "1"\nwheel = "{0}-1-py3-none-any.whl"\nsha256 = "{1}"\n'
    mine, reserved, held = (
        entry.format(name, letter * 64)
        for name, letter in (("mine", "a"), ("asyncvarlink", "b"), ("held", "c"))
    )
    manifest.write_text(f"[[train]]\n{mine}[[benchmark]]\n{held}")
    (source,) = find_sources([], manifest)
    assert (source.name, source.version, source.root) == ("mine", "1", tmp_path / "mine-1-py3-none-any.whl")
    assert find_sources(["mine==1"], manifest) == [source]
    with pytest.raises(UsageError, match="held belongs to the benchmarks"):
        find_sources(["held"], manifest)
    with pytest.raises(UsageError, match="neither a folder nor a package") as raised:
        find_sources(["amebo"], manifest)  # of ours
    assert "mine.toml" in raised.value.hint
    # the dataset says where its text comes from, without the manifest
    recipe = recipe_of(FakeLanguageModel().identity, SMALL, OPTIONS)
    description = Description(recipe, sources=(source.record(),))
    assert find_roots(description, []) == {"mine": source.root}
    assert sources_of(description, [], ["mine"]) == [source]
    ours = next(pin for pin in load_corpora() if pin.role == "train")
    manifest.write_text("[[train]]\n" + entry.format("others", ours.sha256))  # labels say what it was called
    (other,) = find_sources([], manifest)
    again = sources_of(Description(recipe, sources=(other.record(),)), [], ["others"])
    assert [one.name for one in again] == ["others"]
    of_fresh = next(pin for pin in load_corpora() if pin.role == "benchmark")
    renamed = entry.format("innocent", "d" * 64).replace("d" * 64, of_fresh.sha256)
    for text, problem in (
        (reserved, "asyncvarlink belongs to the benchmarks"),
        (reserved.replace("asyncvarlink", "AsyncVarlink"), "AsyncVarlink belongs to the benchmarks"),
        (renamed, "innocent belongs to the benchmarks"),
        ("", "names no packages"),
    ):
        manifest.write_text(text and f"[[train]]\n{text}")
        with pytest.raises(UsageError, match=problem):
            find_sources([], manifest)
    manifest.write_text(f"[[benchmark]]\n{held}")
    with pytest.raises(UsageError, match='has the role "train"'):
        find_sources([], manifest)


def test_a_description_cannot_name_files_elsewhere() -> None:
    recipe = recipe_of(FakeLanguageModel().identity, SMALL, OPTIONS)
    source = SourceRecord("../mine", "1", "a" * 64, wheel="mine-1-py3-none-any.whl")
    with pytest.raises(DatasetError, match=r"name is '\.\./mine'"):
        find_roots(Description(recipe, sources=(source,)), [])


def test_full_shards_are_never_written_again(
    repositories: list[RepositorySource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codefilter.dataset.storage.SHARD_EXAMPLES", 5)
    out = tmp_path / "labels"
    build(repositories, out, replace(PLAN, max_examples=7))
    assert [pq.read_metadata(path).num_rows for path in shards(out)] == [5, 2]
    first = shards(out)[0].stat()
    build(repositories, out)
    assert [pq.read_metadata(path).num_rows for path in shards(out)] == [5, 5, 2]
    assert shards(out)[0].stat().st_mtime_ns == first.st_mtime_ns


def test_a_shard_that_is_gone_does_not_let_another_be_overwritten(
    repositories: list[RepositorySource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codefilter.dataset.storage.SHARD_EXAMPLES", 2)
    out = tmp_path / "labels"
    build(repositories, out, replace(PLAN, max_examples=8))
    gone = shards(out)[1]
    kept = {path: pq.read_table(path)["example_id"].to_pylist() for path in shards(out) if path != gone}
    gone.unlink()
    build(repositories, out)
    assert len(numbers(out)) == 12
    assert {path: pq.read_table(path)["example_id"].to_pylist() for path in kept} == kept


def test_records_survive_json_and_parquet(repositories: list[RepositorySource], tmp_path: Path) -> None:
    build(repositories, tmp_path / "labels")
    for record in read_examples(tmp_path / "labels"):
        assert from_json(to_json(record)) == record
    table = pq.read_table(shards(tmp_path / "labels")[0])
    assert table.num_rows == 12
    chunk = table["chunks"].to_pylist()[0][0]
    assert {"impact", "impact_corrected", "polarity", "chunk_id"} <= chunk.keys()


def test_references_hold_no_source_text(repositories: list[RepositorySource], tmp_path: Path) -> None:
    build(repositories, tmp_path / "labels")
    held = pq.read_table(shards(tmp_path / "labels")[0]).to_pylist()
    assert "shipping" not in str(held).replace("pricing", "")
    assert "scaled_" not in str(held)


def roots(sources: list[RepositorySource]) -> dict[str, Path]:
    return {source.name: source.root for source in sources}


def test_materialize_finds_every_text_and_checks_it(
    repositories: list[RepositorySource], tmp_path: Path
) -> None:
    build(repositories, tmp_path / "labels")
    records = list(read_examples(tmp_path / "labels"))
    materializer = Materializer(roots(repositories))
    examples = [materializer.materialize(record) for record in records]
    for example in examples:
        text = (tmp_path / example.record.repository / example.record.path).read_text()
        request = example.task.request
        assert request.prefix + example.task.target + request.suffix == text
        assert [c.chunk_id for c in example.chunks] == [c.chunk_id for c in example.record.chunks]
        assert len(example.record.baseline.target_nats) == len(example.task.target)  # the fake's are bytes
    counts = write_text(examples, tmp_path / "text", {"weather": "validation"})
    assert counts == {"train": 6, "validation": 6}
    table = pq.read_table(tmp_path / "text" / "train-00000.parquet")
    assert [row["target"] for row in table.to_pylist()] == [
        example.task.target for example in examples if example.record.repository == "shop"
    ]


def test_both_forms_are_read_by_load_dataset_and_pandas(
    repositories: list[RepositorySource], tmp_path: Path
) -> None:
    labels, text = tmp_path / "labels", tmp_path / "text"
    build(repositories, labels)
    records = list(read_examples(labels))
    (labels / CARD_FILE).write_text(card_text(labels, dataset_stats(labels)[0]), encoding="utf-8")
    materializer = Materializer(roots(repositories))
    write_text(map(materializer.materialize, records), text, {"weather": "validation"})

    def loaded(folder: Path) -> datasets.DatasetDict:
        return datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))

    assert loaded(labels).num_rows == {"train": 12}
    assert loaded(text).num_rows == {"train": 6, "validation": 6}
    assert loaded(labels)["train"]["example_id"][:] == [record.example_id for record in records]
    table = pandas.concat(map(pandas.read_parquet, shards(labels)))
    assert list(table["example_id"]) == [record.example_id for record in records]
    nats = [chunk["reading"]["target_nats"] for chunk in table["chunks"][0]]
    assert nats == [pytest.approx(chunk.reading.target_nats, abs=1e-3) for chunk in records[0].chunks]


@pytest.mark.parametrize("other", ["train-00000-of-00001.parquet", "train-7.parquet", ".gitignore"])
def test_text_is_not_written_where_something_else_is(tmp_path: Path, other: str) -> None:
    (tmp_path / other).write_text("mine")
    with pytest.raises(UsageError, match=f"holds {other}"):
        write_text([], tmp_path, {})
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(other, "mine")]


def test_text_is_replaced_whole_or_not_at_all_and_is_never_committed(
    repositories: list[RepositorySource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codefilter.dataset.materialize.TEXT_SHARD_EXAMPLES", 2)
    build(repositories, tmp_path / "labels")
    records, out = list(read_examples(tmp_path / "labels")), tmp_path / "text"
    materializer = Materializer(roots(repositories))
    write_text(map(materializer.materialize, records), out, {})
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert before.keys() == {".gitignore", *(f"train-0000{number}.parquet" for number in range(6))}
    assert before[".gitignore"] == b"*\n"
    wrong = [*records[:4], replace(records[4], file_sha256="")]
    with pytest.raises(DatasetError, match="is not the text that was labelled"):
        write_text(map(materializer.materialize, wrong), out, {"shop": "test"})
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert not list(tmp_path.glob(".text*"))


@pytest.mark.parametrize("changed", ["shop/orders.py", "shop/quotes.py"])
def test_changed_sources_do_not_materialize(
    repositories: list[RepositorySource], tmp_path: Path, changed: str
) -> None:
    build(repositories, tmp_path / "labels")
    path = tmp_path / "shop" / changed
    path.write_text(path.read_text().replace("order", "commission"))
    materializer = Materializer(roots(repositories))
    with pytest.raises(DatasetError, match="is not the text that was labelled"):
        list(map(materializer.materialize, read_examples(tmp_path / "labels")))
    assert list(validate(tmp_path / "labels")) == []  # the numbers are as they were
    assert any("not the text" in problem for problem in validate(tmp_path / "labels", roots(repositories)))


def test_a_candidate_over_the_budget_leaves_a_gap_in_the_ranks_that_is_no_fault(
    repositories: list[RepositorySource], tmp_path: Path
) -> None:
    build(repositories, tmp_path / "labels")
    record = next(read_examples(tmp_path / "labels"))
    folder, description = DatasetFolder(tmp_path / "gap"), read_description(tmp_path / "labels")
    assert description is not None
    folder.open(description.recipe)
    folder.describe(description)
    folder.append(replace(record, chunks=(record.chunks[0], *record.chunks[2:])))
    assert list(validate(tmp_path / "gap")) == []


def test_validation_finds_what_is_wrong(repositories: list[RepositorySource], tmp_path: Path) -> None:
    build(repositories, tmp_path / "labels")
    assert list(validate(tmp_path / "labels", roots(repositories))) == []
    record = next(read_examples(tmp_path / "labels"))
    first, *others = record.chunks
    other_spread = replace(record, control_spread=record.control_spread + 0.1)
    wrong = {
        "the spread of the controls is": other_spread,
        "relative impact": replace(first, impact_relative=first.impact_relative + 0.1),
        "chunk 1: its impact is": replace(first, impact=first.impact + 1),
        "raw and corrected": replace(first, impact_corrected=first.impact_corrected + 0.1),
        "polarity": replace(first, polarity="negative" if first.impact_corrected > 0 else "positive"),
        "ranks": replace(first, rank=5),
    }
    for number, (problem, chunk) in enumerate(wrong.items()):
        out = tmp_path / f"wrong-{number}"
        folder = DatasetFolder(out)
        description = read_description(tmp_path / "labels")
        assert description is not None
        folder.open(description.recipe)
        folder.describe(description)
        folder.append(chunk if isinstance(chunk, ExampleRecord) else replace(record, chunks=(chunk, *others)))
        assert any(problem in sentence for sentence in validate(out)), problem


parts_of = st.dictionaries(st.text(min_size=1, max_size=8), st.integers(1, 50), min_size=1, max_size=30)


@given(examples=parts_of, seed=st.integers(0, 5), more=parts_of)
def test_splits_are_disjoint_near_their_shares_and_stay(
    examples: dict[str, int], seed: int, more: dict[str, int]
) -> None:
    shares = {"validation": 0.2, "test": 0.1}
    parts = split_repositories(examples, shares, seed)
    assert parts.keys() == examples.keys()
    total, largest = sum(examples.values()), max(examples.values())
    for part, share in shares.items():
        held = [examples[name] for name, chosen in parts.items() if chosen == part]
        assert len(held) == 1 or sum(held) <= share * total + largest / 2
        assert held or list(parts.values()).count("train") <= 1
    grown = split_repositories(more | examples, shares, seed, kept=parts)
    assert {name: grown[name] for name in parts} == parts


def test_few_repositories_still_give_every_part_one() -> None:
    assert split_repositories({"a": 20, "b": 21, "c": 22}, {"validation": 0.15}, 0) == {
        "a": "validation",
        "b": "train",
        "c": "train",
    }
    assert split_repositories({"a": 20}, {"validation": 0.15}, 0) == {"a": "train"}


def test_splits_are_read_as_written_and_never_name_a_repository_twice(tmp_path: Path) -> None:
    assert read_splits(tmp_path) == {}
    write_splits(tmp_path, {"a": "train", "b": "validation"})
    assert read_splits(tmp_path) == {"a": "train", "b": "validation"}
    (tmp_path / "splits.json").write_text('{"train": ["a"], "test": ["a"]}')
    with pytest.raises(DatasetError, match="two parts"):
        read_splits(tmp_path)


def test_figures_tell_planted_help_from_noise(repositories: list[RepositorySource], tmp_path: Path) -> None:
    build(repositories, tmp_path / "labels")
    records = list(read_examples(tmp_path / "labels"))
    figures = label_figures("all", records, OPTIONS)
    chunks = [chunk for record in records for chunk in record.chunks]
    assert figures.chunks == len(chunks)
    assert figures.positive == pytest.approx(
        sum(chunk.polarity == Polarity.POSITIVE for chunk in chunks) / len(chunks)
    )
    assert figures.positive > figures.control_positive
    assert figures.signal_to_noise > 1
    assert figures.nats_best_or_none >= max(figures.nats_none, figures.nats_best_chunk)
    itself = agreement("a", records, "b", records)
    assert (itself.same_polarity, itself.kappa, itself.opposite) == pytest.approx((1, 1, 0))
    assert itself.correlation_within_task == pytest.approx(1)
    assert itself.mean_signal_to_noise == pytest.approx(figures.signal_to_noise)
    assert (itself.everything_correlation, itself.everything_same_sign) == pytest.approx((1, 1))
    turned = [  # as another order of the chunks does: nothing else is different
        replace(r, everything=replace(r.everything, target_nats=worse(r))) for r in records
    ]
    other = agreement("a", records, "b", turned)
    assert replace(other, everything_correlation=None, everything_same_sign=None) == replace(
        itself, everything_correlation=None, everything_same_sign=None
    )
    assert other.everything_correlation == pytest.approx(-1)
    assert other.everything_same_sign == mean(array(r.everything_impact == 0 for r in records))
    nothing = label_figures("none", [], OPTIONS)
    assert (nothing.examples, nothing.positive) == (0, 0)


def worse(record: ExampleRecord) -> tuple[float, ...]:
    """What all together make of the target, with the sign of their impact turned."""
    pairs = zip(record.baseline.target_nats, record.everything.target_nats, strict=True)
    return tuple(2 * alone - together for alone, together in pairs)


def test_tasks_whose_chunks_did_not_all_fit_are_told_apart(
    repositories: list[RepositorySource], tmp_path: Path
) -> None:
    small = replace(SMALL, cross_file_tokens=1000)  # room for two chunks of a task, or three short ones
    build_dataset(
        repositories,
        DatasetFolder(tmp_path / "labels"),
        LocalExecutor(FakeLanguageModel(), small, OPTIONS),
        PLAN,
    )
    records = list(read_examples(tmp_path / "labels"))
    alone = [sum(chunk.reading.cross_file_tokens for chunk in r.chunks) for r in records]
    whole = [r for r, tokens in zip(records, alone, strict=True) if tokens == r.everything.cross_file_tokens]
    figures = label_figures("all", records, OPTIONS)
    assert 0 < figures.all_fitted == len(whole) < len(records)
    of_whole = label_figures("whole", whole, OPTIONS)
    assert figures.all_worse_where_fitted == of_whole.all_worse_than_none
    dropped = len(records) - len(whole)
    assert figures.all_worse_where_dropped * dropped + figures.all_worse_where_fitted * len(
        whole
    ) == pytest.approx(figures.all_worse_than_none * len(records))


def test_controls_are_noise_against_the_others_of_their_task(
    repositories: list[RepositorySource], tmp_path: Path
) -> None:
    build(repositories, tmp_path / "labels", replace(PLAN, max_examples=2))
    first, second = read_examples(tmp_path / "labels")
    impacts = [0.0, 0.3, 0.6]
    controls = [replace(c, impact=impact) for c, impact in zip(first.controls, impacts, strict=True)]
    three, one = replace(first, controls=tuple(controls)), replace(second, controls=second.controls[:1])
    assert control_noise([three, one]) == pytest.approx([-0.45, 0.0, 0.45])


def test_settings_are_compared_on_the_same_tasks(
    repositories: list[RepositorySource], tmp_path: Path
) -> None:
    arms = [parse_label_arm(text, SMALL) for text in ("default", "layout=after-suffix/prefix_tokens=80")]
    model = FakeLanguageModel()
    for _ in range(2):  # the second time there is nothing left to do
        run_arms(arms, repositories, tmp_path / "arms", model, OPTIONS, 4, lambda arm: lambda progress: None)
    figures, (pair,) = compare_arms(arms, tmp_path / "arms", OPTIONS)
    assert [row.name for row in figures] == [arm.name for arm in arms]
    assert [row.examples for row in figures] == [4, 4]
    assert pair.examples == 4
    assert arms[1].settings.prefix_tokens == 80
    with pytest.raises(CodeFilterError):
        parse_label_arm("layout", SMALL)


def test_levels_can_be_chosen(repositories: list[RepositorySource], tmp_path: Path) -> None:
    plan = BuildPlan(per_repository=2, tasks_per_round={TaskLevel.FUNCTION: 2})
    build(repositories, tmp_path / "labels", plan)
    assert {record.level for record in read_examples(tmp_path / "labels")} == {"function"}


@pytest.mark.parametrize("of", ["retrieved", "control"])
def test_a_text_that_labels_only_retrieved_or_drew_is_missed_too(
    repositories: list[RepositorySource], tmp_path: Path, of: str
) -> None:
    write_repository(tmp_path / "third", {f"third/{Path(p).name}": t for p, t in WEATHER_FILES.items()})
    more = [*repositories, *find_sources([str(tmp_path / "third")])]
    out = tmp_path / "labels"
    build(more[:2], out, replace(PLAN, max_examples=3))  # of shop; weather gives controls only
    before = list(read_examples(out))
    assert {record.repository for record in before} == {"shop"}
    named = {
        (chunk.repository, chunk.path)
        for record in before
        for chunk in (record.chunks if of == "retrieved" else record.controls)
    }
    name, path = min(named - {(record.repository, record.path) for record in before})
    text = (tmp_path / name / path).read_text()
    (tmp_path / name / path).write_text(text + "# later\n")
    assert "" in {source.problem for source in build(more, out, replace(PLAN, max_examples=3)).sources}
    (tmp_path / name / path).write_text("# before\n" + text)  # every line moved
    (found,) = (source for source in build(more, out).sources if source.name == name)
    assert found.problem == f"{path} has changed since it was labelled: label it into another folder"


def test_labels_whose_recipe_is_lost_are_not_taken_for_those_of_the_present_one(
    repositories: list[RepositorySource], tmp_path: Path
) -> None:
    out = tmp_path / "labels"
    description = build(repositories, out, replace(PLAN, max_examples=2))
    records = list(read_examples(out))
    for lost in (out / "dataset.json", *shards(out)):  # labels in shards, then in the journal
        lost.unlink()
        with pytest.raises(DatasetError, match=r"no dataset\.json") as caught:
            DatasetFolder(out).open(description.recipe)
        assert "copy" in caught.value.hint
        with pytest.raises(UsageError, match="already holds a dataset"):
            refuse_existing(out)
        (out / JOURNAL_FILE).write_text(json.dumps(to_json(records[0])) + "\n")
    (out / JOURNAL_FILE).write_bytes(b"")
    refuse_existing(out)
    assert DatasetFolder(out).open(description.recipe).sources == ()


def test_a_place_with_too_few_controls_waits_for_more_repositories(
    repositories: list[RepositorySource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thin = {f"thin/{n}.js": f"function f{n}(x) {{ return x + {n}; }}\n" for n in range(5)}
    write_repository(tmp_path / "thin", thin | {"thin/one.py": "x = 1\n"})
    shop, weather = repositories
    few = [shop, *find_sources([str(tmp_path / "thin")])]
    monkeypatch.setattr(FakeLanguageModel, "generate", None)  # the model does not run for nothing
    skipped = build(few, tmp_path / "labels").skipped
    monkeypatch.undo()
    assert {reason for _, reason in skipped} == {FEW_CONTROLS}
    assert len(skipped) == 6
    assert build(few, tmp_path / "labels").skipped == skipped  # tried again, told once
    description = build([shop, weather], tmp_path / "labels")
    assert description.skipped == ()
    assert len(numbers(tmp_path / "labels")) == 12
    assert list(validate(tmp_path / "labels")) == []


def test_places_with_too_few_controls_do_not_use_up_the_limit_of_a_run(
    repositories: list[RepositorySource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = Labeler.label

    def of_weather(labeler: Labeler, task: CompletionTask) -> LabeledExample:
        if task.provenance.package == "shop":
            raise FewControlsError("too few controls")
        return label(labeler, task)

    monkeypatch.setattr(Labeler, "label", of_weather)
    for labelled in (2, 4):
        description = build(repositories, tmp_path / "labels", replace(PLAN, max_examples=2))
        assert {reason for _, reason in description.skipped} == {FEW_CONTROLS}
        assert len(numbers(tmp_path / "labels")) == labelled


def test_a_package_that_labels_name_is_fetched_whatever_its_last_problem(
    repositories: list[RepositorySource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "labels"
    description = build(repositories, out)
    pins = tuple(
        PackagePin(name, "1", f"{name}.whl", f"of {name}", "train", 1, 1) for name in ("weather", "unneeded")
    )
    monkeypatch.setattr("codefilter.dataset.sources.load_corpora", lambda: pins)
    monkeypatch.setattr("codefilter.dataset.sources.fetch_package", lambda pin: tmp_path / pin.name)
    for pin in pins:
        source = SourceRecord(pin.name, "1", pin.sha256, "the package index cannot be reached")
        description = with_source(description, source)
    write_description(out, description)
    records = [record for record in read_examples(out) if record.repository == "shop"]
    materializer = open_materializer(out, [str(tmp_path / "shop")], records)  # weather gave the controls
    assert materializer.roots == {name: tmp_path / name for name in ("shop", "weather")}
    assert len(list(map(materializer.materialize, records))) == 6
    assert find_roots(description, []) == {}


def test_arms_may_cut_larger_chunks(repositories: list[RepositorySource], tmp_path: Path) -> None:
    arms = [parse_label_arm(text, SMALL) for text in ("default", "chunker=syntax:8")]
    model = FakeLanguageModel()
    run_arms(arms, repositories, tmp_path / "arms", model, OPTIONS, 2, lambda arm: lambda progress: None)
    figures, _ = compare_arms(arms, tmp_path / "arms", OPTIONS)
    assert [row.examples for row in figures] == [2, 2]
    folder = tmp_path / "arms" / "chunker=syntax:8"
    lines = {c.end_line - c.start_line for record in read_examples(folder) for c in record.chunks}
    assert max(lines) <= 8
    assert list(validate(folder, roots(repositories))) == []
