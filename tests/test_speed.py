"""Timings count what they claim to count. How fast something is, no test says."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from codefilter.cli import main
from codefilter.completion import Completer
from codefilter.config import Settings
from codefilter.errors import ModelError, UsageError
from codefilter.evaluation import TaskGroup
from codefilter.filters.base import FilterContext
from codefilter.filters.simple import KeepAll
from codefilter.lm.base import Cancellation, Generation, GenerationOptions
from codefilter.lm.fake import FakeLanguageModel, byte_tokenizer_spec
from codefilter.machine import commit
from codefilter.prompts.in_file import InFileContext
from codefilter.speed.agreement import measure_agreement
from codefilter.speed.cancellation import measure_cancellation
from codefilter.speed.deciding import DecisionPlace, measure_decisions
from codefilter.speed.drafts import measure_drafts
from codefilter.speed.indexing import measure_indexing
from codefilter.speed.plots import draw_indexing, draw_requests
from codefilter.speed.requests import measure_cold
from codefilter.speed.servers import LlamaServerBaseline
from codefilter.speed.typing import measure_typing, pauses
from codefilter.types import (
    Chunk,
    CompletionRequest,
    CompletionTask,
    FilterDecision,
    Prompt,
    Provenance,
    RetrievedChunk,
    TaskLevel,
)
from tests.remote_servers import LlamaServerDouble


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


def test_without_long_files_no_engine_is_measured(tmp_path: Path) -> None:
    from codefilter.speed.engines import measure_engines

    (tmp_path / "tokenizer.json").write_text(json.dumps(byte_tokenizer_spec()))  # and no model
    with pytest.raises(UsageError, match="none of 1 files has 1088 tokens"):
        measure_engines(tmp_path, lambda engine: FakeLanguageModel(), ["fake"], ["too short"])


class Server(FakeLanguageModel):
    """Had read all of a prompt but ten tokens, takes two seconds for those, and writes what it is told to."""

    def __init__(self, written: int) -> None:
        super().__init__()
        self._written = written

    def generate(
        self, prompt_ids: Sequence[int], options: GenerationOptions, cancellation: Cancellation | None = None
    ) -> list[Generation]:
        (made,) = super().generate(prompt_ids, options)
        tokens, reused = made.token_ids[: self._written], len(prompt_ids) - 10
        return [replace(made, token_ids=tokens, num_reused_tokens=reused, prompt_seconds=2.0)]


def test_what_was_read_already_or_hardly_written_makes_no_rate(tmp_path: Path) -> None:
    from codefilter.speed.engines import measure_engines
    from tests.tiny_models import save_tiny_model

    folder = save_tiny_model(tmp_path / "tiny")
    texts = ["value = other(value)\n" * 20]
    rows = measure_engines(folder, lambda engine: Server(32), ["server"], texts, prompt_tokens=128)
    assert rows[1].prompt_tokens_per_second == 5
    with pytest.raises(UsageError, match="wrote at most 4 tokens after each of 1 files"):
        measure_engines(folder, lambda engine: Server(4), ["server"], texts, prompt_tokens=128)


def test_shared_likelihoods_are_those_of_plain_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codefilter.lm.loading import load_model
    from codefilter.speed.likelihood import measure_likelihoods
    from tests.tiny_models import save_tiny_model

    monkeypatch.setenv("CODEFILTER_CACHE", str(tmp_path / "cache"))
    folder = save_tiny_model(tmp_path / "tiny")
    monkeypatch.setattr("codefilter.speed.likelihood._SMALLEST_ID", 0)
    rows = measure_likelihoods(
        folder,
        lambda engine: load_model(str(folder), engine=engine, device="cpu"),
        ["torch", "openvino"],
        context_lengths=(40,),
        repeats=1,
    )
    assert [row.engine.split(",")[0].split(" ")[0] for row in rows] == ["torch", "openvino"]
    assert rows[0].naive_seconds == rows[1].naive_seconds
    assert rows[0].mean_difference_nats < 0.05
    assert rows[1].mean_difference_nats < 0.2


def test_agreement_compares_with_the_first_engine() -> None:
    class Forgetful(FakeLanguageModel):
        """Writes nothing of what it read."""

        def logits(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
            return super().logits(token_ids[-1:])

    models = {"first": FakeLanguageModel(), "same": FakeLanguageModel(), "forgetful": Forgetful()}
    known = "total = left + right\ntotal = le"
    places = [(task(known, "ft + right", "\n"), prompt(known))]
    rows = measure_agreement(models.__getitem__, list(models), places)
    assert [row.same_text for row in rows] == [1, 1, 0]
    assert [row.edit_similarity for row in rows] == [100, 100, 0]
    assert [row.edit_similarity_difference for row in rows] == [0, 0, -100]
    assert rows[1].mean_difference_nats == 0
    assert rows[2].mean_difference_nats > 1
    assert rows[0].nats_per_token > rows[2].nats_per_token


def test_cancelled_requests_are_held_against_prompts_of_a_warm_model() -> None:
    class SlowAtFirst(FakeLanguageModel):
        """Prepares its kernels."""

        warm = False

        def generate(
            self,
            prompt_ids: Sequence[int],
            options: GenerationOptions,
            cancellation: Cancellation | None = None,
        ) -> list[Generation]:
            if not self.warm:
                time.sleep(2)
            self.warm = True
            return super().generate(prompt_ids, options, cancellation)

    row = measure_cancellation(SlowAtFirst("fake:prompt_ms=0.1"), repeats=4)  # 0.2 seconds to a prompt
    assert 0 < row.requests <= row.repeats == 4
    assert 0.2 < row.whole_prompt_seconds < 2
    assert 0 < row.median_seconds <= row.worst_seconds


def test_prompts_to_cancel_are_of_the_models_vocabulary() -> None:
    class Watched(FakeLanguageModel):
        """Notes what it reads."""

        def generate(
            self,
            prompt_ids: Sequence[int],
            options: GenerationOptions,
            cancellation: Cancellation | None = None,
        ) -> list[Generation]:
            largest.append(max(prompt_ids))
            return super().generate(prompt_ids, options, cancellation)

    largest: list[int] = []
    measure_cancellation(Watched("fake:prompt_ms=0.1"), repeats=2)
    assert max(largest) < FakeLanguageModel().tokenizer.vocabulary_size


def test_a_model_that_is_never_cancelled_is_named() -> None:
    with pytest.raises(UsageError, match="none of 2 requests was cancelled"):
        measure_cancellation(Deaf(), repeats=2)


class Deaf(FakeLanguageModel):
    """Ends every request."""

    def generate(
        self, prompt_ids: Sequence[int], options: GenerationOptions, cancellation: Cancellation | None = None
    ) -> list[Generation]:
        return super().generate(prompt_ids, options)


@pytest.mark.parametrize("what", ["drafts", "filter", "requests", "typing"])
def test_without_the_packages_of_fresh_it_is_said_before_a_model_is_loaded(
    what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["speed", what, "--model", "not-there"]) == 2
    said = capsys.readouterr().err
    assert f"{what} has no tasks" in said
    assert "codefilter benchmark prepare fresh" in said


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("tensorrt", "unknown engine 'tensorrt'"),
        ("torch:int3", "dtype in --engines torch:int3 cannot be 'int3'"),
        ("openvino:float16", "does not compute in 'float16'"),
        ("remote", "the engine remote is not for a model on this machine"),
    ],
)
@pytest.mark.parametrize("what", ["likelihood", "engines", "agreement"])
def test_an_engine_that_does_not_exist_is_named_before_anything_is_measured(
    what: str, engine: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = "hidden_size intermediate_size max_position_embeddings vocab_size"
    numbers = f"num_attention_heads num_hidden_layers {sizes}"
    config = {"model_type": "llama", "rms_norm_eps": 1e-5, **dict.fromkeys(numbers.split(), 1)}
    (tmp_path / "config.json").write_text(json.dumps(config))  # and no weights
    (tmp_path / "tokenizer.json").write_text(json.dumps(byte_tokenizer_spec()))
    (tmp_path / "model.safetensors").write_text("")
    assert main(["speed", what, "--model", str(tmp_path), "--engines", f"torch:float32,{engine}"]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "file", "said"), [("--out", "file/record.json", "file"), ("--plot", ".", "is a folder")]
)
def test_what_cannot_be_written_is_found_before_anything_is_measured(
    option: str, file: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["speed", "requests", "--model", "not-there", option, str(tmp_path / file)]) != 0
    message = capsys.readouterr().err
    assert said in message
    assert "no tasks" not in message


def test_without_matplotlib_nothing_is_measured_for_a_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["speed", "typing", "--model", "not-there", "--plot", str(tmp_path / "plot.svg")]) == 2
    assert "needs matplotlib" in capsys.readouterr().err


def test_a_record_says_how_prompts_came_about_and_is_there_before_the_plot(
    sample_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(timings: object) -> str:
        raise UsageError("cannot draw")

    tasks = (task("total = left + right\ntotal = le", "ft + right", "\n"),)
    groups = [TaskGroup("shop", sample_repository, tasks)]
    monkeypatch.setattr("codefilter.cli.speed._draw_fresh", lambda *_: groups)
    monkeypatch.setattr("codefilter.speed.plots.draw_requests", fail)
    out = tmp_path / "new" / "record.json"
    plot = ["--plot", str(tmp_path / "plot.svg")]
    assert main(["speed", "requests", "--model", "fake", "--out", str(out), *plot]) == 2
    record = json.loads(out.read_text())
    assert {row["filter"] for row in record["rows"]} >= {"all", "none", "classifier"}
    assert record["layout"] == "files-in-prefix"
    assert list(record["weights_sha256"]) == ["classifier"]
    assert record["settings"]["retriever"] == "hybrid"
    assert record["settings"]["cross_file_tokens"] == 2048
    assert record["commit"] == commit()


@pytest.mark.parametrize("what", ["drafts", "filter", "requests", "typing", "cancellation"])
def test_the_model_is_loaded_as_the_settings_say(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, **options: str) -> None:
        loaded.append((name, options["device"], options["dtype"]))
        raise UsageError("this is enough")

    loaded: list[tuple[str, str, str]] = []
    monkeypatch.setenv("CODEFILTER_DEVICE", "cpu")
    monkeypatch.setenv("CODEFILTER_DTYPE", "float32")
    monkeypatch.setattr("codefilter.lm.loading.load_model", load)
    monkeypatch.setattr("codefilter.cli.speed._draw_fresh", lambda *_: [])
    assert main(["speed", what, "--model", "fake"]) == 2
    assert loaded == [("fake", "cpu", "float32")]


def test_a_folder_without_sources_cannot_be_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.py").write_text("")
    assert main(["speed", "index", str(tmp_path), "--lines", "1000"]) == 2
    assert "has no lines of source" in capsys.readouterr().err


# --- requests from nothing, and while somebody types


class CountingServer(LlamaServerDouble):
    """Completes at once, or says that it did."""

    wrong: ClassVar[dict[str, int]] = {}

    def answer(self, method: str, path: str, body: Any) -> object | None:
        if path == "/completion":
            return {
                "tokens_evaluated": len(body["prompt"]),
                "tokens_predicted": body["n_predict"],
            } | self.wrong
        return super().answer(method, path, body)


@pytest.fixture
def server() -> Iterator[CountingServer]:
    scripted = CountingServer()
    yield scripted
    scripted.close()


def test_a_baseline_that_does_something_else_is_refused(
    server: CountingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    baseline = LlamaServerBaseline(f"remote:{server.url}")
    assert baseline.description == "llama-server b1, tiny.gguf, context 131072"
    baseline.check(FakeLanguageModel())
    baseline.seconds([1, 2, 3], 4, reuse=False)
    monkeypatch.setattr(server, "wrong", {"tokens_predicted": 3})
    with pytest.raises(ModelError, match="read 3 tokens and wrote 3 of 3 and 4"):
        baseline.seconds([1, 2, 3], 4, reuse=False)
    monkeypatch.setattr(server, "wrong", {"tokens_predicted": None})
    with pytest.raises(ModelError, match="not what the protocol says"):
        baseline.seconds([1, 2, 3], 4, reuse=False)
    monkeypatch.setattr(server, "tokenize", lambda text: [1])
    with pytest.raises(ModelError, match="tokenizer is another one"):
        baseline.check(FakeLanguageModel())


@pytest.mark.parametrize(
    ("what", "option", "value", "said"),
    [
        ("requests", "--server", "http://127.0.0.1:9", "is no server"),
        ("requests", "--server", "remote:http://127.0.0.1:9", "cannot reach"),
        ("requests", "--filters", "all,nope", "nope"),
        ("typing", "--filters", "nope", "nope"),
        ("agreement", "--filter", "nope", "nope"),
        ("engines", "--engines", "torch,remote:nonsense", "must be an http or https URL"),
        ("engines", "--engines", "torch,remote:http://127.0.0.1:9?tokenizer={folder}", "cannot reach"),
    ],
)
def test_what_is_wrong_is_said_before_a_model_is_loaded(
    what: str,
    option: str,
    value: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(byte_tokenizer_spec()))

    def load(*_: object, **__: object) -> None:
        raise AssertionError("a model is loaded")

    monkeypatch.setattr("codefilter.lm.loading.load_configured_model", load)
    monkeypatch.setattr("codefilter.lm.torch_lm.TorchLanguageModel", load)
    monkeypatch.setattr("codefilter.cli.speed._draw_fresh", lambda *_: [])
    monkeypatch.setattr("codefilter.cli.speed.resolve", lambda name: SimpleNamespace(folder=Path("nowhere")))
    assert main(["speed", what, "--model", "fake", option, value.format(folder=tmp_path)]) != 0
    assert said in capsys.readouterr().err


def task(prefix: str, target: str, suffix: str) -> CompletionTask:
    request = CompletionRequest("app.py", prefix, suffix, "python")
    return CompletionTask(
        f"task {len(prefix)}",
        "app",
        request,
        target,
        TaskLevel.LINE,
        Provenance("app", "1", "app.py", 3, 4, ""),
    )


def completers(model: FakeLanguageModel) -> Callable[[str], Completer]:
    return lambda name: Completer(None, model, replace(Settings(), filter=name))


def test_cold_requests_read_everything_and_the_server_gets_the_same(server: CountingServer) -> None:
    model = FakeLanguageModel()  # keeps no earlier prompts
    place = (task("total = left + right\ntotal = le", "ft + right", "\n"), completers(model))
    long_place = (task("value = other\n" * 80, "value = other", "\n"), completers(model))
    rows = measure_cold(
        model, [place, long_place], ["all", "none"], LlamaServerBaseline(f"remote:{server.url}")
    )
    assert [(row.kind, row.filter, row.requests) for row in rows] == [
        ("cold", "all", 2),
        ("cold", "none", 2),
        ("cold, 1,000 in, 15 out", "-", 1),
    ]
    assert all(row.reused_tokens == 0 and row.baseline_ratio is not None for row in rows)
    assert (rows[0].first_filter_ratio, rows[2].prompt_tokens, rows[2].new_tokens) == (1.0, 1000, 15)
    bodies = [body for _, body, _ in server.requests if body][1:]  # the first is not measured
    assert len(bodies) == 5
    assert bodies[-1]["n_predict"] == 15
    assert bodies[-1]["prompt"] == model.tokenizer.encode("value = other\n" * 80)[-1000:]
    assert not any(body["cache_prompt"] for body in bodies)


def test_prompts_that_were_read_before_are_not_cold() -> None:
    class Remembering(FakeLanguageModel):
        """Says that it kept every prompt."""

        def generate(
            self,
            prompt_ids: Sequence[int],
            options: GenerationOptions,
            cancellation: Cancellation | None = None,
        ) -> list[Generation]:
            reused = len(prompt_ids) - 1 if tuple(prompt_ids) in seen else 0
            seen.add(tuple(prompt_ids))
            return [replace(g, num_reused_tokens=reused) for g in super().generate(prompt_ids, options)]

    seen: set[tuple[int, ...]] = set()
    model = Remembering()
    places = [(task("total = left + right\ntotal = le", "ft + right", "\n"), completers(model))]
    rows = measure_cold(model, places, ["all", "none"])
    assert [row.filter for row in rows] == ["all"]  # without an index both keep nothing


def test_no_cold_request_has_another_ones_output_for_a_draft() -> None:
    class Watched(FakeLanguageModel):
        """Says what it remembers."""

        def generate(
            self,
            prompt_ids: Sequence[int],
            options: GenerationOptions,
            cancellation: Cancellation | None = None,
        ) -> list[Generation]:
            remembered.append(len(self._session.outputs))
            return super().generate(prompt_ids, options)

    remembered: list[int] = []
    model = Watched()
    places = [(task("total = left + right\ntotal = le", "ft + right", "\n"), completers(model))] * 2
    measure_cold(model, places, ["all", "none"])
    assert remembered == [0] * 5  # the warm-up, and two filters at two places


def test_who_types_pauses_behind_words_within_long_ones_and_on_new_lines() -> None:
    text = "if number:\n    go(x)"
    assert [text[:offset] for offset in pauses(text)] == [
        "",
        "if",
        "if num",
        "if number",
        "if number:\n    ",
        "if number:\n    go",
        "if number:\n    go(x",
    ]


def test_typing_counts_what_the_model_answers_while_its_prompt_is_kept(server: CountingServer) -> None:
    model = FakeLanguageModel()
    known = "def area(shape):\n    total = shape.width * shape.height\n    return total\n\n\n"
    place = (
        task(known + "def other(shape):\n", "    total = shape.width + margin(1)", "\n"),
        completers(model),
    )
    (row,) = measure_typing(model, [place], ["none"], LlamaServerBaseline(f"remote:{server.url}"))
    # the model copies the line up to its "*": pauses until there are answered by its first suggestion
    assert (row.kind, row.filter) == ("typing", "none")
    assert row.requests + row.hits + 1 == len(pauses(place[0].target))
    assert row.hits > 0
    assert row.reused_tokens > 0.8 * row.prompt_tokens
    bodies = [body for _, body, _ in server.requests if body][1:]
    assert len(bodies) == row.requests + 1
    assert all(body["cache_prompt"] for body in bodies)


def test_pictures_of_requests_and_indexes(server: CountingServer, sample_repository: Path) -> None:
    model = FakeLanguageModel()
    place = (task("total = left + right\ntotal = le", "ft + right", "\n"), completers(model))
    rows = measure_cold(model, [place], ["all"], LlamaServerBaseline(f"remote:{server.url}"))
    assert "llama-server" in draw_requests(rows)
    drawn = draw_indexing(measure_indexing(sample_repository, num_places=2, num_baseline_queries=1))
    assert drawn.startswith("<svg")
    assert "query, hybrid" in drawn


class CountingFilter(KeepAll):
    """Keeps everything, and remembers what it was asked."""

    def __init__(self, asked: list[str]) -> None:
        super().__init__()
        object.__setattr__(self, "asked", asked)

    def decide(
        self, request: CompletionRequest, candidates: Sequence[RetrievedChunk], context: FilterContext
    ) -> list[FilterDecision]:
        self.asked.append(request.prefix)
        return super().decide(request, candidates, context)


def test_decisions_are_timed_at_a_new_place_and_a_little_further_on() -> None:
    asked: list[str] = []
    chunk = RetrievedChunk(Chunk("lib.py", "x = 1", 0, 1, "python"), 1.0, 0, "bm25")
    place = DecisionPlace(
        CompletionRequest("app.py", "a\n", "", "python"),
        (chunk,),
        "    total = 1",
        lambda request: FilterContext(InFileContext("", "", "", 0), 100, lambda chunk: 1),
    )
    rows = measure_decisions(lambda: CountingFilter(asked), KeepAll(), [place, place], compared=1)
    assert asked == ["a\n", "a\n    tot"] * 2
    assert [(row.state, row.places) for row in rows] == [("cold", 1), ("cold", 2), ("warm", 2)]
    assert rows[0].ratio == 1.0
