"""Timings count what they claim to count. How fast something is, no test says."""

from pathlib import Path

import pytest

from codefilter.lm.base import GenerationOptions
from codefilter.lm.fake import FakeLanguageModel
from codefilter.speed.drafts import measure_drafts
from codefilter.types import Prompt


def prompt(text: str) -> Prompt:
    return Prompt((), tuple(text.encode()), "fake", "repository", "", (), (), 0)


def test_drafts_save_passes_and_change_no_text() -> None:
    prompts = [
        (prompt("total = left + right + 1\ntotal = le"), GenerationOptions(max_new_tokens=16)),
        (
            prompt("def area(width):\n    return width * height\ndef area"),
            GenerationOptions(max_new_tokens=20),
        ),
    ]
    plain, drafted = measure_drafts(FakeLanguageModel(), prompts)
    assert (plain.drafts, plain.ratio, plain.tokens_per_pass) == (False, 1.0, pytest.approx(36 / 34))
    assert drafted.tokens == plain.tokens == 36
    assert drafted.passes < plain.passes
    assert drafted.same_text == drafted.prompts == 2


def test_engines_agree_with_plain_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from codefilter.lm.loading import load_model
    from codefilter.speed.engines import measure_engines
    from tests.tiny_models import save_tiny_model

    monkeypatch.setenv("CODEFILTER_CACHE", str(tmp_path / "cache"))
    folder = save_tiny_model(tmp_path / "tiny")
    texts = ["too short", "value = other(value)\n" * 20]
    rows = measure_engines(
        folder,
        lambda engine: load_model(str(folder), engine=engine, device="cpu"),
        ["torch", "openvino"],
        texts,
        prompt_tokens=128,
    )
    assert [row.engine.split(",")[0].split(" ")[0] for row in rows] == ["transformers", "torch", "openvino"]
    assert rows[0].prompt_ratio == rows[0].new_ratio == 1.0
    assert rows[1].mean_difference_nats < 0.05
    assert rows[2].mean_difference_nats < 0.2
