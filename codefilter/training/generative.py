"""`train generative`: labels → a tuned model's folder, with every figure that says how good it is.

In: a dataset of impact labels with its parts, a model. Out: the adapter with its manifest, and a
`TuningRecord`. The train part is learned; the validation part says when to stop, and then gives every
figure, which is so a little too kind. Figures are of the weights as saved, read by the code that serves.
Notable: all chunks of the validation tasks are read, whatever the model says of <EC>, so that all are judged;
what would be read and kept with <EC> follows from the same answers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from codefilter import __version__
from codefilter.config import Settings
from codefilter.dataset.description import require_description
from codefilter.errors import DatasetError, ModelError
from codefilter.filters.control_tokens import WORDS, ControlTokens, choose_control_tokens
from codefilter.filters.generative_reading import Judgement, ReadingShape, num_read, read_chunks
from codefilter.filters.tuned import FORM, TunedFilter, TunedManifest, save_tuned
from codefilter.lm.adapter import AdapterShape, add_adapter, require_peft
from codefilter.lm.torch_loading import choose_device, choose_dtype, load_module
from codefilter.model_folder import ModelFolder
from codefilter.prompts.formats import detect_family
from codefilter.tokenizer import Tokenizer
from codefilter.training.classifier import Judged, labels_sha256
from codefilter.training.examples import Values, labelled_parts
from codefilter.training.judging import FilterFigures, auc, auc_within, judge_filter
from codefilter.training.sequences import (
    ReadingTask,
    TrainingSequence,
    reading_tasks,
    shuffled_polarities,
    training_sequence,
)
from codefilter.training.tuning import LossPoint, Tuned, TuneOptions, Tuner
from codefilter.types import content_hash

CHECKPOINT_FILE = "checkpoint.safetensors"

Progress = Callable[[str, int, int], object]
"""What is being done, how many of how many are; 0 of 0 where that is not known."""


@dataclass(frozen=True)
class TuningPlan:
    """What is read and learned, and how the filter will be asked."""

    shape: ReadingShape
    target_tokens: int = 64  # of a completion; what is longer is cut
    read_all: bool = True  # learn from all chunks, not only from those up to the last positive one
    more_from: float = 0.3  # the paper's thresholds
    positive_from: float = 0.3
    limit: int | None = None  # examples of each part
    shuffle: bool = False  # polarities of the train part: a control, which must fall to chance
    device: str = "auto"
    dtype: str = "auto"


@dataclass(frozen=True)
class TuningRecord:
    """Everything that is told of a training run."""

    manifest: TunedManifest
    plan: TuningPlan
    options: TuneOptions
    steps: int
    stopped: str  # "epochs", "patience", "time"
    curve: tuple[LossPoint, ...]
    reading_all: FilterFigures  # as if it never said <EC>: the AUC of its <pos>
    adaptive: FilterFigures  # it stops at <EC>; what is not read is not kept
    chunks_read: float  # share of chunks, adaptive
    retriever_auc: float  # of the retriever's score
    retriever_auc_within: float
    tokens_per_second: float  # learned
    seconds: float = 0.0


def train_generative(
    labels: Path,
    roots: Mapping[str, Path],
    base: ModelFolder,
    reader: str,
    out: Path,
    plan: TuningPlan,
    options: TuneOptions,
    *,
    deadline: float | None = None,
    progress: Progress = lambda what, done, total: None,
) -> tuple[TuningRecord, Judged]:
    """Tune a model and write its folder; a killed run goes on where its checkpoint is.

    Args:
        labels: folder of the dataset.
        roots: folders of the labelled repositories.
        base: the model.
        reader: by which name or folder the filter will find it again.
        out: where to; the checkpoint too, which stays where the time was over.
        plan: see `TuningPlan`.
        options: of the training.
        deadline: `time.monotonic` after which no further step is begun.
        progress: told what is being done.

    Raises:
        DatasetError: no dataset, no parts, a repository in none of them, or nothing in one of them.
        ModelError: the model has no spare rows, or too short a context.
        UsageError: peft is not installed, or the folder has a checkpoint of another training.
    """
    started = time.monotonic()
    require_peft()
    recipe, sha256 = require_description(labels).recipe, labels_sha256(labels)
    tokenizer = Tokenizer.from_folder(base.folder)
    train, validation = _tasks(labels, roots, base, tokenizer, plan, options.seed, progress)
    module = load_module(base.folder, choose_dtype(plan.dtype, choose_device(plan.device)), "sdpa")
    control = choose_control_tokens(tokenizer, module.get_input_embeddings().weight.shape[0])
    learned, held = (
        [training_sequence(task, control, read_all=plan.read_all) for task in part]
        for part in (train, validation)
    )
    _check_length([*learned, *held], module)
    begin_rows(module, control, tokenizer)
    torch.manual_seed(options.seed)
    adapter = AdapterShape(options.rank, options.alpha, control.ids)
    module = add_adapter(module, adapter, options.dropout)
    tuner = Tuner(module, learned, held, options, device=plan.device)
    total = tuner.total_steps
    tuned = tuner.run(
        out / CHECKPOINT_FILE,
        _recipe_sha256(base.sha256, sha256, (train, validation), plan, options),
        deadline=deadline,
        progress=lambda step, loss: progress(f"train, loss {loss:.3f}", step, total),
    )
    del tuner, module  # before it is loaded anew
    manifest = TunedManifest(
        form=FORM,
        reader=reader,
        reader_sha256=base.sha256,
        adapter=adapter,
        shape=plan.shape,
        more_from=plan.more_from,
        positive_from=plan.positive_from,
        positive_level=recipe.options.positive_threshold,
        negative_level=recipe.options.negative_threshold,
        layout=recipe.layout,
        retriever=recipe.retriever,
        chunker=recipe.chunker,
        labelled_by=recipe.model.name,
        labelled_by_sha256=recipe.model.sha256,
        labels_sha256=sha256,
        label_tasks=len(train),
        repositories=len({task.labels.repository for task in train}),
        seed=options.seed,
        codefilter=__version__,
        weights_sha256="",  # known when they are written
        shuffled=plan.shuffle,
    )
    saved = save_tuned(out, manifest, tuned.tensors)
    said = list(_judge(saved, validation, plan, progress))
    record, judged = _record(saved.manifest, plan, options, tuned, validation, said)
    if tuned.stopped != "time":
        (out / CHECKPOINT_FILE).unlink(missing_ok=True)
    return replace(record, seconds=round(time.monotonic() - started, 1)), judged


def _tasks(
    labels: Path,
    roots: Mapping[str, Path],
    base: ModelFolder,
    tokenizer: Tokenizer,
    plan: TuningPlan,
    seed: int,
    progress: Progress,
) -> tuple[list[ReadingTask], list[ReadingTask]]:
    """What is learned, and what says when to stop."""
    parts, family = labelled_parts(labels), base.family or detect_family(tokenizer)

    def tell(name: str) -> None:
        progress(f"texts of {name}", 0, 0)

    tasks = list(reading_tasks(labels, roots, tokenizer, family, plan.shape, plan.target_tokens, tell))
    Random(seed).shuffle(tasks)
    train, validation = (
        [task for task in tasks if parts.get(task.labels.repository) == part][: plan.limit]
        for part in ("train", "validation")
    )
    if not train or not validation:
        raise DatasetError(
            f"{labels} has no labels to learn from, or none to judge by",
            hint="Label more (codefilter dataset build), and divide them (codefilter dataset split).",
        )
    return shuffled_polarities(train, seed) if plan.shuffle else train, validation


def _check_length(sequences: Sequence[TrainingSequence], module: Any) -> None:
    longest = max(len(sequence.token_ids) for sequence in sequences)
    limit = int(getattr(module.config.get_text_config(), "max_position_embeddings", longest))
    if longest > limit:
        raise ModelError(
            f"{longest} tokens exceed the model's context of {limit}",
            hint="Lower --prefix-tokens, --suffix-tokens, --chunk-tokens or --max-chunks.",
        )


@torch.no_grad()
def begin_rows(module: Any, control: ControlTokens, tokenizer: Tokenizer) -> None:
    """Let the control tokens' rows begin as the mean of those of the words that say what they mean."""
    for matrix in (module.get_input_embeddings().weight, module.get_output_embeddings().weight):
        rows = [matrix[tokenizer.encode(f" {word}")].float().mean(dim=0) for word in WORDS]
        matrix[list(control.ids)] = torch.stack(rows).to(matrix.dtype)


def _recipe_sha256(
    base: str, labels: str, parts: Sequence[Sequence[ReadingTask]], plan: TuningPlan, options: TuneOptions
) -> str:
    """What makes two trainings the same; thresholds do not."""
    learned = replace(plan, more_from=0.0, positive_from=0.0)
    tasks = [[task.labels.task_id for task in part] for part in parts]
    return content_hash(json.dumps([base, labels, tasks, asdict(learned), asdict(options)]))


def _judge(
    tuned: TunedFilter, tasks: Sequence[ReadingTask], plan: TuningPlan, progress: Progress
) -> Iterator[tuple[Judgement, ...]]:
    """What the filter says of all chunks, task by task."""
    model = tuned.load(replace(Settings(), device=plan.device, dtype=plan.dtype))
    asked = {"more_from": 0.0, "positive_from": plan.positive_from}
    for number, task in enumerate(tasks, start=1):
        yield read_chunks(task.text, tuned.manifest.control, model.next_logits, **asked).judgements
        progress("judge", number, len(tasks))


def _record(
    manifest: TunedManifest,
    plan: TuningPlan,
    options: TuneOptions,
    tuned: Tuned,
    validation: Sequence[ReadingTask],
    said: Sequence[tuple[Judgement, ...]],
) -> tuple[TuningRecord, Judged]:
    """Figures of what was said of all chunks of the validation tasks."""
    tasks = tuple(task.labels for task in validation)
    judged = Judged(tasks, tuple(_above_levels(one, len(one)) for one in said), cross=())
    numbers = [num_read(one, plan.more_from) for one in said]
    until = [_above_levels(one, number) for one, number in zip(said, numbers, strict=True)]
    positives = [task.impacts > manifest.positive_level for task in tasks]
    scores = [task.scores for task in validation]
    record = TuningRecord(
        manifest=manifest,
        plan=plan,
        options=options,
        steps=tuned.steps,
        stopped=tuned.stopped,
        curve=tuned.curve,
        reading_all=_figures(manifest, judged, judged.probabilities),
        adaptive=_figures(manifest, judged, until),
        chunks_read=sum(numbers) / sum(len(one) for one in said),
        retriever_auc=auc(np.concatenate(scores), np.concatenate(positives)),
        retriever_auc_within=auc_within(scores, positives),
        tokens_per_second=tuned.tokens_per_second,
    )
    return record, judged


def _above_levels(judgements: Sequence[Judgement], read: int) -> Values:
    """(chunks, 2): probabilities of not being negative, and of being positive; not read is neutral."""
    known = [(1 - one.negative, one.positive) for one in judgements[:read]]
    return np.array([*known, *[(1.0, 0.0)] * (len(judgements) - read)], np.float32)


def _figures(manifest: TunedManifest, judged: Judged, probabilities: Sequence[Values]) -> FilterFigures:
    low, high = manifest.negative_level, manifest.positive_level
    keep_from = max(manifest.positive_from, 1e-9)  # at 0, too, what is not read is not kept
    return judge_filter(judged.tasks, probabilities, (low, high), high, low, keep_from)
