"""The generative filter: what is read, what is said, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from codefilter.config import Settings
from codefilter.errors import CancelledError, FilterError, IntegrityError, ModelError, UsageError
from codefilter.filters.control_tokens import choose_control_tokens
from codefilter.filters.generative_reading import Judgement, ReadingText, num_read, read_chunks, reading_text
from codefilter.filters.table import get_filter
from codefilter.filters.trained import MANIFEST_FILE, WEIGHTS_FILE
from codefilter.filters.tuned import TunedFilter, save_tuned
from codefilter.lm import adapter as adapters
from codefilter.lm.adapter import add_adapter, set_adapter
from codefilter.lm.base import Cancellation
from codefilter.lm.fake import byte_tokenizer, byte_tokenizer_spec
from codefilter.tokenizer import Tokenizer
from codefilter.types import Polarity
from tests.tiny_models import save_tiny_model
from tests.tuned_filters import (
    ADAPTER,
    CONTEXT,
    CONTROL,
    REQUEST,
    SHAPE,
    candidates,
    save_random_filter,
    settings_of,
)

POSITIVE, NEUTRAL, NEGATIVE = Polarity.POSITIVE, Polarity.NEUTRAL, Polarity.NEGATIVE


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("base"), spare_rows=6)


@pytest.fixture(scope="module")
def tuned(base: Path, tmp_path_factory: pytest.TempPathFactory) -> TunedFilter:
    """An adapter of random numbers."""
    return save_random_filter(tmp_path_factory.mktemp("tuned"), base)


# what is read


def tokenizer_with(*names: str) -> Tokenizer:
    spec = byte_tokenizer_spec()
    first = spec["added_tokens"][0]
    spec["added_tokens"] += [first | {"id": 262 + i, "content": name} for i, name in enumerate(names)]
    return Tokenizer(json.dumps(spec))


def test_control_tokens_take_rows_that_no_text_has() -> None:
    assert choose_control_tokens(byte_tokenizer(), 267) == CONTROL
    other_uses = ("<jupyter_code>", "<think>", "<issue_start>", "<gh_stars>", "<empty_output>")
    named = tokenizer_with("[PAD262]", *other_uses, "<|reserved_1|>")
    assert choose_control_tokens(named, 269).ids == (262, 268, 263, 265, 266)
    assert choose_control_tokens(named, 271).ids == (269, 270, 262, 268, 263)
    with pytest.raises(ModelError, match="0 spare rows"):
        choose_control_tokens(byte_tokenizer(), 262)


def test_the_text_is_in_the_familys_own_format() -> None:
    tokenizer = byte_tokenizer()
    chunks = [
        candidate.chunk for candidate in candidates("def sum_all(numbers):\n    return 1", "x", "y", "z")
    ]
    text = reading_text(REQUEST, chunks, tokenizer, "qwen2.5-coder", SHAPE)

    def ids(*pieces: str) -> tuple[int, ...]:
        known = [[i] if (i := tokenizer.control_id(piece)) else tokenizer.encode(piece) for piece in pieces]
        return tuple(token_id for piece in known for token_id in piece)

    head = ids("<|repo_name|>", "\n", "<|file_sep|>", "app.py\n")
    assert text.context == head + ids("<|fim_prefix|>", REQUEST.prefix, "<|fim_suffix|>", "\nprint(total)\n")
    assert text.opening == ids("<|fim_middle|>")
    assert text.chunks[0] == ids("<|file_sep|>", "lib0.py\n", "def sum_all(numbers):\n    "[:24])
    assert text.chunks[1] == ids("<|file_sep|>", "lib1.py\n", "x\n")
    assert len(text.chunks) == 3

    plain = reading_text(REQUEST, chunks, tokenizer, "plain", SHAPE)
    assert tokenizer.decode(plain.context) == f"# app.py\n{REQUEST.prefix}"
    assert plain.opening == ()


# what is said


def planned(answers: Sequence[Sequence[float]], seen: list[list[int]]) -> Callable[[Sequence[int]], Any]:
    """A model that answers with these probabilities, of <EC>, <MC> or of <pos>, <neu>, <neg>, in turn."""
    rest = iter(answers)

    def next_logits(ids: Sequence[int]) -> NDArray[np.float32]:
        seen.append(list(ids))
        logits = np.full(267, 50, np.float32)  # what is not legal would win
        answer = next(rest)
        at = CONTROL.ids[:2] if len(answer) == 2 else CONTROL.ids[2:]
        logits[list(at)] = np.log(answer)
        return logits

    return next_logits


def test_thresholds_say_what_is_read_and_what_is_positive() -> None:
    _, more, positive, _, negative = CONTROL.ids
    text = ReadingText((1, 2), ((50,), (51,), (52,)), (7,))
    answers = [(0.6, 0.4), (0.31, 0.6, 0.09), (0.1, 0.9), (0.2, 0.3, 0.5), (0.8, 0.2)]
    seen: list[list[int]] = []
    reading = read_chunks(text, CONTROL, planned(answers, seen), more_from=0.3, positive_from=0.3)
    assert seen[-1] == [1, 2, more, 50, positive, more, 51, negative]
    assert [one.said(0.3) for one in reading.judgements] == [POSITIVE, NEGATIVE]
    assert [one.said(0.32) for one in reading.judgements] == [NEUTRAL, NEGATIVE]
    assert reading.enough == pytest.approx(0.8)
    assert reading.judgements[0] == Judgement(*(pytest.approx(p, abs=1e-6) for p in (0.4, 0.31, 0.6, 0.09)))
    assert num_read(reading.judgements, 0.5) == 0
    assert num_read(reading.judgements, 0.3) == 2

    stopped = read_chunks(text, CONTROL, planned(answers, []), more_from=0.41, positive_from=0.3)
    assert (stopped.judgements, stopped.enough) == ((), pytest.approx(0.6))
    longer = [*answers, (0.5, 0.3, 0.2)]
    every = read_chunks(text, CONTROL, planned(longer, []), more_from=0.0, positive_from=0.3)
    assert (len(every.judgements), every.enough) == (3, 0.0)


def test_answers_equal_those_of_whole_prompts_without_a_cache(tuned: TunedFilter, base: Path) -> None:
    model = add_adapter(AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager"), ADAPTER)
    set_adapter(model, load_file(tuned.folder / WEIGHTS_FILE))
    model.eval()

    @torch.inference_mode()
    def naive(ids: Sequence[int]) -> NDArray[np.float32]:
        logits = model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits
        return np.asarray(logits[0, -1].numpy(), np.float32)

    texts = ["def sum_all(numbers):\n    return sum(numbers)\n", "class Order:\n    pass\n", "VAT = 0.19\n"]
    found = candidates(*texts)
    chunks = [candidate.chunk for candidate in found]
    text = reading_text(REQUEST, chunks, byte_tokenizer(), "qwen2.5-coder", SHAPE)
    expected = read_chunks(text, CONTROL, naive, more_from=0.0, positive_from=0.3)
    decisions = get_filter("generative:0,0.3", settings_of(tuned)).decide(REQUEST, found, CONTEXT)
    assert len(expected.judgements) == 3
    for decision, judgement in zip(decisions, expected.judgements, strict=True):
        said = judgement.said(0.3)
        assert decision.polarity is said
        assert decision.keep == (said is POSITIVE)
        assert decision.confidence == pytest.approx(getattr(judgement, said.value), abs=1e-4)
        names = {POSITIVE: "<pos>", NEUTRAL: "<neu>", NEGATIVE: "<neg>"}
        assert decision.reason == f"said {names[said]} with a probability of {decision.confidence:.0%}"
    reading = read_chunks(
        text, CONTROL, tuned.load(settings_of(tuned)).next_logits, more_from=0.0, positive_from=0.3
    )
    assert [one.more for one in reading.judgements] == pytest.approx(
        [one.more for one in expected.judgements], abs=1e-4
    )


def test_candidates_are_read_by_rank_and_what_is_not_read_says_why(tuned: TunedFilter) -> None:
    found = candidates("a = 1\n", "b = 2\n", "c = 3\n", "d = 4\n")
    every = get_filter("generative:0,0", settings_of(tuned))
    assert (every.name, every.max_candidates) == ("generative:0,0", 3)
    decisions = every.decide(REQUEST, found, CONTEXT)
    assert [decision.keep for decision in decisions] == [True, True, True, False]
    assert decisions[3].reason == "not read: only the first 3 chunks are"
    assert every.decide(REQUEST, found[::-1], CONTEXT) == decisions[::-1]
    assert every.decide(REQUEST, [], CONTEXT) == []
    never = get_filter("generative:1,1", settings_of(tuned)).decide(REQUEST, found, CONTEXT)
    assert {decision.reason for decision in never} == {"not read: enough context without chunks"}
    assert {decision.polarity for decision in never} == {Polarity.UNKNOWN}
    assert get_filter("generative", settings_of(tuned)).name == "generative"
    assert get_filter("generative:0.2:0.4", settings_of(tuned)).name == "generative:0.2,0.4"


def test_a_cancelled_request_is_not_read_on(tuned: TunedFilter) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    chosen = get_filter("generative", settings_of(tuned))
    with pytest.raises(CancelledError):
        chosen.decide(REQUEST, candidates("new = 1\n"), replace(CONTEXT, cancellation=cancellation))


def changed(tuned: TunedFilter, folder: Path, **values: object) -> Settings:
    """A copy of a filter with another manifest."""
    (folder / WEIGHTS_FILE).write_bytes((tuned.folder / WEIGHTS_FILE).read_bytes())
    manifest = json.loads((tuned.folder / MANIFEST_FILE).read_text())
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest | values))
    return replace(settings_of(tuned), filter_weights=str(folder))


def test_another_model_or_changed_weights_are_refused(tuned: TunedFilter, tmp_path: Path) -> None:
    with pytest.raises(FilterError, match="of sha256 aaaaaaaaaaaa; here it is"):
        get_filter("generative", changed(tuned, tmp_path, reader_sha256="a" * 64))
    with pytest.raises(FilterError, match="which is not here") as missing:
        get_filter("generative", changed(tuned, tmp_path, reader="qwen2.5-coder-0.5b"))
    assert "codefilter models pull" in missing.value.hint
    with pytest.raises(FilterError, match="which is not here"):
        get_filter("generative", changed(tuned, tmp_path, reader=str(tmp_path / "gone")))
    with pytest.raises(FilterError, match="cannot be read"):
        get_filter("generative", changed(tuned, tmp_path, adapter={}))
    with pytest.raises(IntegrityError):
        get_filter("generative", changed(tuned, tmp_path, weights_sha256="0"))
    other = save_tuned(tmp_path, tuned.manifest, {"lora": torch.zeros(1)})
    with pytest.raises(ModelError, match="do not belong to this model"):
        get_filter("generative", settings_of(other)).decide(REQUEST, candidates("a\n"), CONTEXT)


def test_the_classifiers_weights_are_told_apart(tuned: TunedFilter) -> None:
    with pytest.raises(FilterError, match="of the filter generative, not of classifier"):
        get_filter("classifier", settings_of(tuned))
    shipped = Path(__file__).parents[1] / "data" / "filters" / "classifier"
    with pytest.raises(FilterError, match="of the filter classifier, not of generative"):
        get_filter("generative", replace(Settings(), filter_weights=str(shipped)))


def test_without_peft_the_error_names_the_extra(tuned: TunedFilter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs peft") as error:
        get_filter("generative", settings_of(tuned))
    assert "codefilter[train]" in error.value.hint
