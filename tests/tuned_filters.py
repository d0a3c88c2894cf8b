"""Filters with a tuned model that was never trained: every weight is random, so all that it does is real."""

from dataclasses import replace
from pathlib import Path

import torch

from codefilter.config import Settings
from codefilter.filters.base import FilterContext
from codefilter.filters.control_tokens import ControlTokens
from codefilter.filters.generative_reading import ReadingShape
from codefilter.filters.tuned import TunedFilter, TunedManifest, save_tuned
from codefilter.lm.adapter import AdapterShape, adapter_tensors, add_adapter
from codefilter.lm.torch_loading import load_module
from codefilter.model_folder import open_folder
from codefilter.prompts.in_file import InFileContext
from codefilter.prompts.layouts import measuring_layout
from codefilter.types import Chunk, CompletionRequest, RetrievedChunk

CONTROL = ControlTokens(262, 263, 264, 265, 266)  # of a tiny model with spare rows
SHAPE = ReadingShape(prefix_tokens=60, suffix_tokens=20, chunk_tokens=24, max_chunks=3)
ADAPTER = AdapterShape(rank=4, alpha=8, row_ids=CONTROL.ids)
REQUEST = CompletionRequest("app.py", "import lib\n\ntotal = lib.sum_", "\nprint(total)\n", "python")
CONTEXT = FilterContext(InFileContext("", "", "", 0), 1000, lambda chunk: len(chunk.text))


def candidates(*texts: str) -> list[RetrievedChunk]:
    """Chunks with these texts, the best first."""
    return [
        RetrievedChunk(Chunk(f"lib{i}.py", text, 0, 1, "python"), 9.0 - i, i, "hybrid")
        for i, text in enumerate(texts)
    ]


def manifest_of(base: Path) -> TunedManifest:
    """The manifest of a filter that reads with a tiny model."""
    settings = Settings()
    return TunedManifest(
        form="generative",
        reader=str(base),
        reader_sha256=open_folder(base).sha256,
        adapter=ADAPTER,
        shape=SHAPE,
        more_from=0.3,
        positive_from=0.3,
        positive_level=0.2,
        negative_level=-0.2,
        layout=measuring_layout(settings.layout),
        retriever=settings.retriever,
        chunker=settings.chunker,
        labelled_by="fake",
        labelled_by_sha256="0",
        labels_sha256="0",
        label_tasks=1,
        repositories=1,
        seed=0,
        codefilter="0",
        weights_sha256="",
    )


def save_random_filter(folder: Path, base: Path) -> TunedFilter:
    """A filter's folder for a tiny model."""
    model = add_adapter(load_module(base, torch.float32, "sdpa"), ADAPTER)
    torch.manual_seed(3)
    tensors = {name: 0.2 * torch.randn_like(value) for name, value in adapter_tensors(model).items()}
    return save_tuned(folder, manifest_of(base), tensors)


def settings_of(tuned: TunedFilter, **others: str) -> Settings:
    """Settings that use the filter."""
    return replace(Settings(), filter_weights=str(tuned.folder), device="cpu", dtype="float32", **others)
