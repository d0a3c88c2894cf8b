"""Training the generative filter: what is learned, what a kill does, and the command as a whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codefilter.cli import main
from codefilter.errors import ModelError, UsageError
from codefilter.filters.generative_reading import ReadingText, reading_text
from codefilter.filters.table import get_filter
from codefilter.filters.trained import WEIGHTS_FILE
from codefilter.filters.tuned import load_tuned, save_tuned
from codefilter.lm import adapter as adapters
from codefilter.lm.adapter import add_adapter, merge_adapter
from codefilter.lm.fake import byte_tokenizer
from codefilter.lm.torch_loading import load_module
from codefilter.training.checkpoints import read_checkpoint
from codefilter.training.examples import TrainingTask
from codefilter.training.generative import CHECKPOINT_FILE, begin_rows
from codefilter.training.sequences import (
    Part,
    ReadingTask,
    TrainingSequence,
    shuffled_polarities,
    training_sequence,
)
from codefilter.training.tuning import TuneOptions, Tuner
from codefilter.types import CompletionRequest, Polarity, RetrievedChunk
from tests.labelled_repositories import label_with_fake
from tests.tiny_models import save_tiny_model
from tests.tuned_filters import ADAPTER, CONTEXT, CONTROL, SHAPE, candidates, manifest_of, settings_of

POSITIVE, NEUTRAL, NEGATIVE = Polarity.POSITIVE, Polarity.NEUTRAL, Polarity.NEGATIVE


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("base"), spare_rows=6)


def reading_task(polarities: Sequence[Polarity]) -> ReadingTask:
    count = len(polarities)
    zeros = np.zeros(count, np.float32)
    labels = TrainingTask("task", "shop", "line", np.zeros((count, 0), np.float32), zeros, zeros)
    chunks = tuple((50 + i, 60 + i) for i in range(count))
    return ReadingTask(labels, ReadingText((1, 2), chunks, (7,)), tuple(polarities), zeros, (8, 9))


def test_control_tokens_and_the_completion_are_learned_and_contexts_are_not() -> None:
    enough, more, positive, neutral, negative = CONTROL.ids
    task = reading_task([NEUTRAL, POSITIVE, NEGATIVE])
    until = training_sequence(task, CONTROL, read_all=False)
    assert until.token_ids == (1, 2, more, 50, 60, neutral, more, 51, 61, positive, enough, 7, 8, 9)
    c, x, y = Part.CONTEXT, Part.CONTROL, Part.TARGET
    assert until.parts == (c, c, x, c, c, x, x, c, c, x, x, c, y, y)
    every = training_sequence(task, CONTROL, read_all=True)
    assert every.token_ids == (*until.token_ids[:10], more, 52, 62, negative, enough, 7, 8, 9)
    assert every.parts == (*until.parts[:10], x, c, c, x, x, c, y, y)
    assert until.answers == until.token_ids
    had_enough = (enough, 52, 62, negative)  # and reads on
    assert every.answers == (*until.token_ids[:10], *had_enough, enough, 7, 8, 9)
    nothing = training_sequence(reading_task([NEUTRAL, NEGATIVE]), CONTROL, read_all=False)
    assert nothing.token_ids == (1, 2, enough, 7, 8, 9)
    assert training_sequence(reading_task([]), CONTROL, read_all=True).token_ids == nothing.token_ids


def test_shuffled_labels_are_the_same_ones_elsewhere() -> None:
    tasks = [reading_task([POSITIVE] * 3), reading_task([NEUTRAL] * 5), reading_task([])]
    dealt = shuffled_polarities(tasks, seed=1)
    assert [len(task.polarities) for task in dealt] == [3, 5, 0]
    assert sorted(p for task in dealt for p in task.polarities) == [NEUTRAL] * 5 + [POSITIVE] * 3
    assert dealt[0].polarities != tasks[0].polarities


def sequences() -> list[TrainingSequence]:
    """Three places, whose chunks help by what they say; each place once more, as an answer to learn."""
    tasks = []
    for number, polarities in enumerate([(NEUTRAL, POSITIVE), (POSITIVE, NEGATIVE), (NEUTRAL, NEUTRAL)]):
        tasks.append(place(number, polarities))
    return [training_sequence(task, CONTROL, read_all=number == 1) for number, task in enumerate(tasks)]


def place_request(number: int) -> tuple[CompletionRequest, list[RetrievedChunk]]:
    names = ("orders", "prices", "stock")
    request = CompletionRequest("app.py", f"import {names[number]}\nvalue = ", "\n", "python")
    return request, candidates(f"{names[number]} = 1\n", f"{names[number - 1]} = 2\n")


def place(number: int, polarities: Sequence[Polarity]) -> ReadingTask:
    request, found = place_request(number)
    chunks = [candidate.chunk for candidate in found]
    text = reading_text(request, chunks, byte_tokenizer(), "qwen2.5-coder", SHAPE)
    return replace(reading_task(polarities), text=text, target=tuple(b"3 + 4"))


def tuner(base: Path, **options: Any) -> tuple[Tuner, Any]:
    """A training of its own, and its model."""
    module = load_module(base, torch.float32, "sdpa")
    begin_rows(module, CONTROL, byte_tokenizer())
    torch.manual_seed(0)
    model = add_adapter(module, ADAPTER, dropout=options.get("dropout", 0.1))
    quick = {"rank": 4, "alpha": 8, "accumulate": 2, "epochs": 3, "patience": 9, "learning_rate": 1e-2}
    return Tuner(model, sequences(), sequences(), TuneOptions(**quick | options), device="cpu"), model


def test_it_learns_a_handful_by_heart_and_then_decides_them_right(base: Path, tmp_path: Path) -> None:
    work, _ = tuner(base, epochs=40, accumulate=3, dropout=0.0, learning_rate=2e-2)
    result = work.run(tmp_path / "checkpoint", "", checkpoint_seconds=1e9)
    assert result.curve[0].validation_control > 2
    assert min(point.validation_control for point in result.curve) < 0.02
    saved = save_tuned(tmp_path / "filter", manifest_of(base), result.tensors)
    chosen = get_filter("generative", settings_of(saved))
    expected = [
        [NEUTRAL, POSITIVE],
        [POSITIVE, Polarity.UNKNOWN],
        [Polarity.UNKNOWN, Polarity.UNKNOWN],
    ]
    for number, polarities in enumerate(expected):
        decisions = chosen.decide(*place_request(number), CONTEXT)
        assert [decision.polarity for decision in decisions] == polarities
        assert [decision.keep for decision in decisions] == [one is POSITIVE for one in polarities]
        assert all(decision.confidence > 0.9 for decision in decisions)


@pytest.mark.parametrize("tied", [False, True])
def test_only_the_control_rows_and_the_low_rank_matrices_change(tied: bool, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "base", "llama", spare_rows=6, tied=tied)
    before = load_module(folder, torch.float32, "sdpa").state_dict()
    work, model = tuner(folder, epochs=1)
    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    result = work.run(tmp_path / "checkpoint", "")
    after = dict(model.named_parameters())
    assert all(torch.equal(value, after[name]) for name, value in frozen.items())
    assert all("lora_" in name or "trainable_tokens" in name for name in result.tensors)
    saved = save_tuned(tmp_path / "filter", manifest_of(folder), result.tensors)
    weights = adapters.Adapter(ADAPTER, saved.folder / WEIGHTS_FILE)
    merged = merge_adapter(load_module(folder, torch.float32, "sdpa"), weights).state_dict()
    assert merged.keys() == before.keys()
    others = [row for row in range(268) if row not in CONTROL.ids]
    for name, value in before.items():
        if "embed" in name or "lm_head" in name:
            assert torch.equal(merged[name][others], value[others])
            assert not torch.equal(merged[name][list(CONTROL.ids)], value[list(CONTROL.ids)])
        elif "proj" in name:
            assert not torch.equal(merged[name], value)
        else:
            assert torch.equal(merged[name], value)


def test_a_killed_training_ends_with_the_same_weights(base: Path, tmp_path: Path) -> None:
    whole = tuner(base)[0].run(tmp_path / "whole", "", checkpoint_seconds=1e9)
    path = tmp_path / "checkpoint"

    def kill(step: int, loss: float) -> None:
        if step == 4:  # in the middle of the second epoch; step 3 is on the disk
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuner(base)[0].run(path, "", progress=kill, checkpoint_seconds=0)
    (tmp_path / ".checkpoint.0000.tmp").write_bytes(b"half")
    stopped = tuner(base)[0].run(path, "", deadline=0.0)  # over before the next step
    assert (stopped.steps, stopped.stopped, len(stopped.curve)) == (3, "time", 2)
    steps: list[int] = []
    resumed = tuner(base)[0].run(path, "", progress=lambda step, loss: steps.append(step))
    assert (steps, resumed.stopped) == ([4, 5, 6], "epochs")
    assert resumed.curve == whole.curve
    assert resumed.tensors.keys() == whole.tensors.keys()
    assert all(torch.equal(resumed.tensors[name], value) for name, value in whole.tensors.items())
    assert [file.name for file in tmp_path.glob(".*.tmp")] == []
    with pytest.raises(UsageError, match="other labels, parts or options"):
        read_checkpoint(path, "another")
    path.write_bytes(b"no safetensors")
    with pytest.raises(ModelError, match="cannot be read"):
        read_checkpoint(path, "")


def test_less_memory_gives_the_same_weights(base: Path, tmp_path: Path) -> None:
    plain = tuner(base, epochs=1)[0].run(tmp_path / "plain", "")
    spared = tuner(base, epochs=1, gradient_checkpointing=True)[0].run(tmp_path / "spared", "")
    assert all(torch.allclose(spared.tensors[n], value, atol=1e-6) for n, value in plain.tensors.items())


def test_it_stops_when_it_gets_no_better(base: Path, tmp_path: Path) -> None:
    result = tuner(base, epochs=9, patience=1, learning_rate=0.0)[0].run(tmp_path / "checkpoint", "")
    assert (result.stopped, result.steps, len(result.curve)) == ("patience", 4, 2)


def test_the_loss_is_that_of_control_tokens_and_completions(base: Path, tmp_path: Path) -> None:
    work, model = tuner(base, epochs=1, learning_rate=0.0)
    point = work.run(tmp_path / "checkpoint", "").curve[0]
    nats: dict[Part, list[float]] = {Part.CONTROL: [], Part.TARGET: [], Part.CONTEXT: []}
    model.eval()
    with torch.inference_mode():
        for sequence in sequences():
            scores = model(input_ids=torch.tensor([sequence.token_ids])).logits[0].log_softmax(-1)
            for i, part in list(enumerate(sequence.parts))[1:]:
                nats[part].append(-scores[i - 1, sequence.answers[i]].item())
    assert point.validation_control == pytest.approx(np.mean(nats[Part.CONTROL]), abs=1e-4)
    assert point.validation_target == pytest.approx(np.mean(nats[Part.TARGET]), abs=1e-4)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """Labels of the fake model, and a filter trained on them, the repositories beside."""
    home = tmp_path_factory.mktemp("home")
    label_with_fake(home, 2)
    parts = {"train": ["shop"], "validation": ["weather"], "test": []}
    (home / "labels" / "splits.json").write_text(json.dumps(parts))
    assert main([*train(home, base), "--html", str(home / "page.html")]) == 0
    return home


def train(home: Path, model: Path) -> list[str]:
    sources = [option for name in ("shop", "weather") for option in ("--source", str(home / name))]
    command = ["train", "generative", "--data", str(home / "labels"), "--out", str(home / "filter"), *sources]
    small = ["--chunk-tokens", "40", "--max-chunks", "2", "--rank", "2", "--epochs", "1", "--accumulate", "2"]
    return [*command, *small, "--model", str(model), "--device", "cpu", "--limit", "3"]


def complete(home: Path, *options: str) -> list[str]:
    file = home / "shop" / "shop" / "orders.py"
    weights = ["--filter-weights", str(home / "filter"), "--device", "cpu"]
    return ["complete", str(file), "--line", "22", "--model", "fake", "--json", *weights, *options]


def test_the_command_writes_a_filter_a_record_and_a_page(
    home: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((home / "filter" / "training.json").read_text())
    tuned = load_tuned(home / "filter")
    assert record["manifest"]["weights_sha256"] == tuned.manifest.weights_sha256
    assert (tuned.manifest.reader, tuned.manifest.shape.prefix_tokens) == (str(base), 120)
    assert record["plan"]["read_all"] is True
    assert (record["plan"]["limit"], record["options"]["rank"], record["stopped"]) == (3, 2, "epochs")
    assert (record["steps"], record["reading_all"]["tasks"], record["reading_all"]["chunks"]) == (2, 3, 6)
    assert record["adaptive"]["kept_tokens"] <= record["reading_all"]["kept_tokens"]
    assert 0 <= record["chunks_read"] <= 1
    assert (home / "page.html").read_text().count("<svg") == 5
    assert sorted(path.name for path in (home / "filter").iterdir()) == [
        "filter.json",
        "filter.safetensors",
        "training.json",
    ]
    assert main(complete(home, "--filter", "generative:0,0")) == 0
    chunks = json.loads(capsys.readouterr().out)["chunks"]
    assert [(chunk["keep"], chunk["reason"][:11]) for chunk in chunks] == [(True, "said <pos> ")] * 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--filter", "generative:2,0"], "two probabilities"),
        (["--filter", "generative:0.3"], "two probabilities"),
        (["--filter", "generative", "--layout", "after-suffix"], "trained with layout"),
        (["--filter", "classifier"], "of the filter generative, not of classifier"),
        (["--filter", "generative", "--filter-weights", "shipped"], "holds no trained filter"),
    ],
)
def test_what_does_not_fit_is_an_error(
    home: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(complete(home, *options)) in (1, 2)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    [
        ("--learning-rate", "-1"),
        ("--learning-rate", "nan"),
        ("--target-weight", "inf"),
        ("--time-limit", "nan"),
        ("--seed", "-1"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused_before_the_work(
    home: Path, base: Path, option: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*train(home, base), *option]) == 2
    assert f"Invalid value for '{option[0]}'" in capsys.readouterr().err


def test_a_checkpoint_goes_on_with_what_it_reads_and_with_nothing_else(
    home: Path, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*train(home, base), "--out", str(tmp_path / "filter")]
    less = [*command, "--read-to-last-positive"]
    assert main([*less, "--time-limit", "0"]) == 0
    assert main([*command, "--read-all"]) == 2  # as without it
    assert "other labels, parts or options" in capsys.readouterr().err
    assert main(less) == 0
    assert json.loads((tmp_path / "filter" / "training.json").read_text())["plan"]["read_all"] is False


def test_a_checkpoint_of_another_split_is_refused(
    home: Path, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, out = tmp_path / "labels", tmp_path / "filter"
    shutil.copytree(home / "labels", labels)
    command = [*train(home, base), "--data", str(labels), "--out", str(out), "--time-limit", "0"]
    assert main(command) == 0
    assert (out / CHECKPOINT_FILE).exists()
    parts = {"train": ["weather"], "validation": ["shop"], "test": []}
    (labels / "splits.json").write_text(json.dumps(parts))
    assert main(command) == 2
    assert "other labels, parts or options" in capsys.readouterr().err


def test_without_peft_the_error_names_the_extra(
    home: Path, base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(adapters, "find_spec", lambda name: None)
    assert main(train(home, base)) == 2
    assert "codefilter[train]" in capsys.readouterr().err


def test_a_model_without_spare_rows_cannot_be_tuned(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(train(home, save_tiny_model(tmp_path / "full"))) == 1
    assert "0 spare rows" in capsys.readouterr().err


def test_a_control_is_never_used(
    home: Path, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not load_tuned(home / "filter").manifest.shuffled
    out = tmp_path / "control"
    out.mkdir()
    (out / "README.md").write_text("# A filter of CodeFilter: of weights that were here before\n")
    assert main([*train(home, base), "--shuffle", "--out", str(out)]) == 0
    assert "do not use it" in capsys.readouterr().out
    assert not (out / "README.md").exists()
    assert main(complete(home, "--filter", "generative", "--filter-weights", str(out))) == 1
    assert "learned from shuffled labels" in capsys.readouterr().err
    values = json.loads((home / "filter" / "filter.json").read_text())
    del values["shuffled"]  # as older ones are
    shutil.copytree(home / "filter", tmp_path / "old")
    (tmp_path / "old" / "filter.json").write_text(json.dumps(values))
    assert not load_tuned(tmp_path / "old").manifest.shuffled
