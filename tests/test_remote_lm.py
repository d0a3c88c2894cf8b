"""The remote engine against scripted servers: the same output as a local engine, and every fault."""

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codefilter.cli.doctor import State, run_checks
from codefilter.errors import CancelledError, ModelError, ModelMissingError, UsageError
from codefilter.lm.base import Cancellation, Continuation, GenerationOptions, ModelIdentity
from codefilter.lm.fake import FakeLanguageModel, byte_tokenizer_spec
from codefilter.lm.loading import load_model, load_tokenizer, with_absolute_folder
from codefilter.lm.remote.connection import Patience
from codefilter.lm.remote.endpoint import KEY_VARIABLE, Endpoint, parse_endpoint
from codefilter.lm.remote.model import RemoteLanguageModel
from codefilter.types import FinishReason
from tests.remote_servers import (
    CompletionsDouble,
    Fault,
    LlamaServerDouble,
    ScriptedServer,
    TextDouble,
    VllmDouble,
    comment,
    garbage,
    hang,
    nested,
    status,
    write_and_hang,
)

QUICK = Patience(silence_seconds=20, attempts=3, backoff_seconds=0.001)
PROMPT = list(b"total = left + right; done\nnext = 1\ntotal = le")
DOUBLES: dict[str, type[ScriptedServer]] = {
    "llama-server": LlamaServerDouble,
    "vLLM": VllmDouble,
    "completions": CompletionsDouble,
    "text": TextDouble,
}
# as llama-server tells of a token
EVENT = {"stop": False, "content": "a", "tokens": [97], "completion_probabilities": [{"logprob": -1}]}
Connect = Callable[..., RemoteLanguageModel]


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "tokenizer.json").write_text(json.dumps(byte_tokenizer_spec()))
    return folder


@pytest.fixture(scope="module")
def module_servers() -> Iterator[dict[str, ScriptedServer]]:
    servers = {name: double() for name, double in DOUBLES.items()}
    yield servers
    for server in servers.values():
        server.close()


@pytest.fixture(scope="module")
def models(
    module_servers: dict[str, ScriptedServer], tokenizer_folder: Path
) -> dict[str, RemoteLanguageModel]:
    return {
        name: RemoteLanguageModel(f"remote:{server.url}?tokenizer={tokenizer_folder}", QUICK)
        for name, server in module_servers.items()
    }


@pytest.fixture
def start() -> Iterator[Callable[[type[ScriptedServer]], Any]]:
    """Starts servers that a test may spoil."""
    servers: list[ScriptedServer] = []

    def start(double: type[ScriptedServer] = LlamaServerDouble) -> ScriptedServer:
        servers.append(double())
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def connect(tokenizer_folder: Path) -> Connect:
    def connect(server: ScriptedServer, patience: Patience = QUICK, query: str = "") -> RemoteLanguageModel:
        return RemoteLanguageModel(f"remote:{server.url}?tokenizer={tokenizer_folder}{query}", patience)

    return connect


# --- the name ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [
        ("remote:http://localhost:8080", Endpoint("http://localhost:8080")),
        ("remote:https://gpu.example/llm/v1/", Endpoint("https://gpu.example/llm")),
        ("remote:http://[::1]:80?model=a/b&tokenizer=~/t", Endpoint("http://[::1]:80", "a/b", "~/t")),
        (f"remote:http://h?sha256={'0' * 64}", Endpoint("http://h", sha256="0" * 64)),
    ],
)
def test_a_name_says_everything(name: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(name) == endpoint


@pytest.mark.parametrize(
    "name",
    [
        "remote:",
        "remote:localhost:8080",
        "remote:ftp://host",
        "remote:http://",
        "remote:http://host:port",
        "remote:http://[::1",
        "remote:http://ho st",
        "remote:http://é..com",
        "remote:http://user:hunter2@host",
        "remote:http://host?key=hunter2",
        "remote:http://host#hunter2",
        "remote:http://host?sha256=hunter2",
    ],
)
def test_a_wrong_name_is_said_without_repeating_secrets(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_endpoint(name)
    assert caught.value.hint
    assert "hunter2" not in caught.value.message + caught.value.hint


@given(st.text())
def test_any_name_is_an_endpoint_or_a_usage_error(text: str) -> None:
    try:
        base_url = parse_endpoint("remote:" + text).base_url
    except UsageError:
        return
    assert base_url.startswith("http")


def test_a_folder_in_a_name_can_mean_the_same_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a & b"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    assert with_absolute_folder("./a & b") == str(folder)
    for known in ("qwen2.5-coder-0.5b", "smollm2-135m"):  # a model's name comes before a folder's
        (tmp_path / known).mkdir()
        assert with_absolute_folder(known) == known
    name = with_absolute_folder("remote:http://h?model=m&tokenizer=a%20%26%20b&sha256=" + "0" * 64)
    assert parse_endpoint(name) == Endpoint("http://h", "m", str(folder), "0" * 64)
    for other in ("remote:http://h", "remote:http://h?tokenizer=smollm2-135m"):
        assert with_absolute_folder(other) == other


def test_engines_and_names_must_fit(tokenizer_folder: Path, start: Callable[..., Any]) -> None:
    server = start()
    name = f"remote:{server.url}?tokenizer={tokenizer_folder}"
    assert load_model(name).identity == load_model(name, engine="remote").identity
    assert load_tokenizer(name).encode("a") == [97]
    for wrong in ({"name": name, "engine": "torch"}, {"name": "smollm2-135m", "engine": "remote"}):
        with pytest.raises(UsageError, match="engine"):
            load_model(**wrong)


def test_the_doctor_checks_a_remote_model_without_contacting_it(
    tokenizer_folder: Path, start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = start()
    monkeypatch.setenv("CODEFILTER_MODEL", f"remote:{server.url}?tokenizer={tokenizer_folder}")
    assert run_checks(tmp_path)["model"].state is State.OK
    assert server.requests == []


# --- the same as a local engine ---------------------------------------------------------------------

generation_options = st.builds(
    GenerationOptions,
    max_new_tokens=st.integers(1, 30),
    max_lines=st.sampled_from([None, 1, 2]),
)
prompts = st.lists(st.sampled_from([b"left", b" = ", b"(x);", b"\n", b"\n\n"]), min_size=1, max_size=20)


@pytest.mark.parametrize("kind", DOUBLES)
@settings(max_examples=15)
@given(words=prompts, options=generation_options)
def test_outputs_end_as_local_ones_do(
    models: dict[str, RemoteLanguageModel], kind: str, words: list[bytes], options: GenerationOptions
) -> None:
    prompt = list(b"".join(words))
    remote = models[kind].generate(prompt, options)[0]
    local = FakeLanguageModel().generate(prompt, options)[0]
    assert remote.text == local.text
    if kind in ("llama-server", "vLLM"):  # the others do not name the tokens they write
        assert (remote.token_ids, remote.finish_reason) == (local.token_ids, local.finish_reason)
        assert remote.log_likelihood.per_token == pytest.approx(local.log_likelihood.per_token, abs=1e-4)


@pytest.mark.parametrize("kind", DOUBLES)
@settings(max_examples=15)
@given(required=st.text(min_size=1, max_size=6))
@example(required="\u0a43\u0a43")  # the model goes on with a part of a third
def test_required_text_begins_the_output(
    models: dict[str, RemoteLanguageModel], kind: str, required: str
) -> None:
    length = len(required.encode())
    options = GenerationOptions(max_new_tokens=length + 4, required_text=required)
    remote = models[kind].generate(PROMPT, options)[0]
    local = FakeLanguageModel().generate(PROMPT, options)[0]
    assert remote.text == local.text
    assert bytes(remote.token_ids).startswith(required.encode())


@pytest.mark.parametrize("kind", DOUBLES)
def test_a_control_token_ends_the_output(models: dict[str, RemoteLanguageModel], kind: str) -> None:
    prompt = [*b"abcdef", 256, *b"abcd"]
    generation = models[kind].generate(prompt, GenerationOptions(max_new_tokens=9))[0]
    assert (generation.text, generation.finish_reason) == ("ef", FinishReason.END)


@pytest.mark.parametrize("kind", ["llama-server", "vLLM", "completions"])
def test_scores_are_those_of_the_model(models: dict[str, RemoteLanguageModel], kind: str) -> None:
    texts = [(b"ft + right", 4), (b"xy", 2), (b"", 0)]
    continuations = [Continuation(tuple(text), num_targets) for text, num_targets in texts]
    remote = models[kind].log_likelihoods(PROMPT, continuations)
    local = FakeLanguageModel().log_likelihoods(PROMPT, continuations)
    for one, other in zip(remote, local, strict=True):
        assert one.per_token == pytest.approx(other.per_token, abs=1e-4)
        assert one.total_nats == pytest.approx(sum(one.per_token))
        assert one.entropies == ()


def test_what_a_server_cannot_do_is_said(models: dict[str, RemoteLanguageModel]) -> None:
    said = {name: model.description for name, model in models.items()}
    assert said["vLLM"].endswith(", vLLM")
    assert said["llama-server"].endswith(", llama-server b1")
    assert "no token ids, no token healing, no log-probabilities, tokenizer not compared" in said["text"]
    with pytest.raises(ModelError, match="it takes no token ids") as caught:
        models["text"].log_likelihoods(PROMPT, [Continuation((1,), 1)])
    assert "prompt_logprobs" in caught.value.hint


def test_a_server_without_echo_cannot_score(start: Callable[..., Any], connect: Connect) -> None:
    server = start(CompletionsDouble)
    server.echoes = False
    with pytest.raises(ModelError, match="cannot score text"):
        connect(server).log_likelihoods(PROMPT, [Continuation(tuple(b"ab"), 2)])


def test_llama_server_tells_nothing_of_parts_of_characters(models: dict[str, RemoteLanguageModel]) -> None:
    with pytest.raises(ModelError, match="inside a character"):
        models["llama-server"].log_likelihoods(PROMPT, [Continuation(tuple("né".encode()), 3)])


def test_text_with_the_name_of_a_control_token_is_not_sent_as_text(
    models: dict[str, RemoteLanguageModel], module_servers: dict[str, ScriptedServer]
) -> None:
    prompt = [257, *b"a = '<|fim_middle|>'", 258]
    sent = len(module_servers["text"].requests)
    with pytest.raises(ModelError, match="name of a control token"):
        models["text"].generate(prompt, GenerationOptions())
    assert len(module_servers["text"].requests) == sent
    assert models["vLLM"].generate(prompt, GenerationOptions(max_new_tokens=1))
    assert module_servers["vLLM"].requests[-1][1]["prompt"] == prompt


def test_candidates_have_seeds_of_their_own(start: Callable[..., Any], connect: Connect) -> None:
    server = start(VllmDouble)
    model = connect(server)
    options = GenerationOptions(max_new_tokens=3, temperature=0.7, num_candidates=3, seed=5)
    assert len(model.generate(PROMPT, options)) == 3
    asked = [body for _, body, _ in server.requests if body and body.get("stream")]
    assert sorted(body["seed"] for body in asked) == [5, 6, 7]
    assert {(body["temperature"], body["top_p"], body["min_p"]) for body in asked} == {(0.7, 1, 0)}


def test_a_rule_that_ends_an_output_ends_the_work(start: Callable[..., Any], connect: Connect) -> None:
    server = start()
    model = connect(server)
    server.faults = [write_and_hang(EVENT, EVENT | {"content": "\n", "tokens": [10]})]
    generation = model.generate(PROMPT, GenerationOptions(max_lines=1))[0]
    assert (generation.text, generation.finish_reason) == ("a", FinishReason.LINES)
    assert server.hung_up.wait(10)


def test_reuse_is_told_by_llama_server(models: dict[str, RemoteLanguageModel]) -> None:
    assert models["llama-server"].generate(PROMPT, GenerationOptions())[0].num_reused_tokens == 3


def test_a_server_that_is_to_forget_reads_something_else(start: Callable[..., Any], connect: Connect) -> None:
    server = start()
    connect(server).forget()
    assert server.requests[-1][1]["prompt"] == list(b"#")


def test_a_server_is_taken_to_hold_what_it_read_last(start: Callable[..., Any], connect: Connect) -> None:
    server = start()
    model = connect(server)
    assert model.reusable_tokens(PROMPT) == 0
    model.generate(PROMPT, GenerationOptions(max_lines=1))
    assert model.reusable_tokens([*PROMPT, 97]) == len(PROMPT)
    cancellation = Cancellation()
    answer = write_and_hang()

    def cancel_and_hang(handler: Any) -> bool:
        cancellation.cancel()
        return answer(handler)

    server.faults = [cancel_and_hang]
    with pytest.raises(CancelledError):
        model.generate([*PROMPT[:4], 7], GenerationOptions(), cancellation)
    assert model.reusable_tokens(PROMPT) == 4  # the rest may have been given up
    model.log_likelihoods(PROMPT, [Continuation((97,), 1)])
    assert model.reusable_tokens(PROMPT) == 0


# --- who it is --------------------------------------------------------------------------------------


def test_the_identity_of_a_server_is_unverified_unless_somebody_vouches(
    start: Callable[..., Any], connect: Connect
) -> None:
    servers = start(), start()
    identities = [connect(server).identity for server in servers]
    assert {identity.name for identity in identities} == {"tiny.gguf (unverified)"}
    assert identities[0].sha256 != identities[1].sha256
    assert connect(servers[0]).identity == identities[0]
    vouched = connect(servers[0], query=f"&sha256={'a' * 64}").identity
    assert vouched == ModelIdentity("tiny.gguf", "a" * 64, "qwen2.5-coder")


def test_one_of_several_models_must_be_named(start: Callable[..., Any], connect: Connect) -> None:
    server = start(VllmDouble)
    server.models = ("tiny", "tiny-2")
    with pytest.raises(UsageError, match="several models: tiny, tiny-2") as caught:
        connect(server)
    assert "?model=tiny" in caught.value.hint
    model = connect(server, query="&model=tiny-2")
    assert model.context_length == 4096
    assert server.requests[-1][1]["model"] == "tiny-2"


@pytest.mark.parametrize("double", [LlamaServerDouble, VllmDouble])
def test_another_tokenizer_is_refused(
    double: type[ScriptedServer], start: Callable[..., Any], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenize = double.tokenize
    server = start(double)
    monkeypatch.setattr(double, "tokenize", lambda self, text: [29871, *tokenize(self, text)])
    connect(server)  # a space that SentencePiece puts before every text
    monkeypatch.setattr(double, "tokenize", lambda self, text: tokenize(self, text)[:-1])  # no control token
    with pytest.raises(ModelError, match="tokenizer is another one") as caught:
        connect(server)
    assert "?tokenizer=" in caught.value.hint


def test_the_tokenizers_model_must_be_here() -> None:
    with pytest.raises(ModelMissingError):
        RemoteLanguageModel("remote:http://127.0.0.1:9")


def test_a_token_that_the_tokenizer_lacks_is_an_error(start: Callable[..., Any], connect: Connect) -> None:
    server = start()
    model = connect(server)
    server.faults = [write_and_hang(EVENT | {"tokens": [9999]})]
    with pytest.raises(ModelError, match="token 9999"):
        model.generate(PROMPT, GenerationOptions())


# --- faults -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "faults", [[status(503)], [status(500), status(429, Retry_After="0")], [status(429, Retry_After="²")]]
)
def test_what_did_nothing_is_tried_again(
    faults: list[Fault], start: Callable[..., Any], connect: Connect
) -> None:
    server = start()
    model = connect(server)
    server.faults = list(faults)
    before = len(server.requests)
    assert model.generate(PROMPT, GenerationOptions(max_lines=1))[0].text == "ft + right; done"
    assert len(server.requests) - before == len(faults) + 1


@pytest.mark.parametrize("wanted", ["7", "a date"])
def test_a_server_is_given_the_time_that_it_asks_for(
    wanted: str, start: Callable[..., Any], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    model = connect(server)
    header = wanted if wanted.isdigit() else formatdate(time.time() + 9, usegmt=True)
    server.faults = [status(429, Retry_After=header)]
    waits: list[float] = []
    sleep = asyncio.sleep

    async def record(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", record)
    assert model.generate(PROMPT, GenerationOptions(max_lines=1))[0].text == "ft + right; done"
    assert max(waits) > 6


@pytest.mark.parametrize(
    ("fault", "attempts", "message", "hint"),
    [
        (status(500, "out of memory"), 3, "answered 500: out of memory", "server's log"),
        (status(501, "no such sampler"), 1, "answered 501: no such sampler", "server's log"),
        (status(429), 3, "answered 429", "Wait"),
        (status(429, Retry_After="3600"), 1, "answered 429", "asks to wait: 3600"),
        (status(400, "the prompt is too long"), 1, "answered 400: the prompt is too long", "length"),
        (status(401), 1, "answered 401", KEY_VARIABLE),
        (status(307, Location="http://elsewhere.example/"), 1, "elsewhere.example", "that address"),
        (status(429, Retry_After="Mon, 01 Jan 2024 00:00:00 +9999999999999"), 3, "answered 429", "asks to"),
        (nested, 1, "answered 400: [[[[", "length"),
        (garbage, 1, "does not speak the protocol", "address"),
    ],
)
def test_faults_are_explained(
    fault: Fault,
    attempts: int,
    message: str,
    hint: str,
    start: Callable[..., Any],
    connect: Connect,
) -> None:
    server = start()
    model = connect(server)
    before = len(server.requests)
    server.faults = [fault] * 3
    with pytest.raises(ModelError) as caught:
        model.generate(PROMPT, GenerationOptions())
    assert len(server.requests) - before == attempts
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_an_answer_that_is_no_json_is_explained(start: Callable[..., Any], connect: Connect) -> None:
    server = start()
    model = connect(server)
    server.faults = [garbage]
    with pytest.raises(ModelError, match="not what the protocol says"):
        model.log_likelihoods(PROMPT, [Continuation((97,), 1)])


@pytest.mark.parametrize("double", [LlamaServerDouble, VllmDouble])
@pytest.mark.parametrize("events", [0, 1, 3])
def test_an_answer_that_is_cut_off_is_an_error(
    double: type[ScriptedServer], events: int, start: Callable[..., Any], connect: Connect
) -> None:
    server = start(double)
    model = connect(server)
    server.events_until_cut = events
    with pytest.raises(ModelError, match="broke off"):
        model.generate(PROMPT, GenerationOptions(max_new_tokens=12))


def test_an_answer_that_ends_without_a_reason_was_cut_off(
    start: Callable[..., Any], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(VllmDouble)
    model = connect(server)
    monkeypatch.setattr(VllmDouble, "_stream_of", lambda self, body: iter([]))
    with pytest.raises(ModelError, match="broke off"):
        model.generate(PROMPT, GenerationOptions())


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"error": {"message": "CUDA error"}}, "CUDA error"),
        ({"choices": [{"token_ids": "x"}]}, "not what the protocol says"),
        ([], "not what the protocol says"),
    ],
)
def test_an_event_that_is_wrong_is_an_error(
    event: Any,
    message: str,
    start: Callable[..., Any],
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = start(VllmDouble)
    model = connect(server)
    monkeypatch.setattr(VllmDouble, "_stream_of", lambda self, body: iter([event]))
    with pytest.raises(ModelError, match=message) as caught:
        model.generate(PROMPT, GenerationOptions())
    assert caught.value.hint


@pytest.mark.parametrize("silent", [hang, comment])
def test_silence_is_an_error(silent: Fault, start: Callable[..., Any], connect: Connect) -> None:
    server = start()
    model = connect(server)
    model._patience = replace(QUICK, silence_seconds=0.05)
    server.faults = [silent]
    with pytest.raises(ModelError, match=r"silent for 0\.05 s"):
        model.generate(PROMPT, GenerationOptions())
    assert server.hung_up.wait(10)
    assert server.faults == []  # it may have worked: not tried again


def test_a_server_that_is_not_there(tokenizer_folder: Path) -> None:
    with socket.socket() as free:  # bound, but nobody listens
        free.bind(("127.0.0.1", 0))
        name = f"remote:http://127.0.0.1:{free.getsockname()[1]}?tokenizer={tokenizer_folder}"
        with pytest.raises(ModelError, match="cannot reach") as caught:
            RemoteLanguageModel(name, QUICK)
    assert "running" in caught.value.hint


@pytest.mark.parametrize(
    "spoil",
    [
        lambda nats: nats[:-1],
        lambda nats: [*nats, -1.0],
        lambda nats: [0.5] * len(nats),
        lambda nats: [float("nan")] * len(nats),
        lambda nats: [-float("inf")] * len(nats),
        lambda nats: [None] * len(nats),
        lambda nats: ["-1"] * len(nats),
        lambda nats: [True] * len(nats),
    ],
)
def test_wrong_log_probabilities_are_not_believed(
    spoil: Callable[[list[float]], list[Any]],
    start: Callable[..., Any],
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = start(VllmDouble)
    model = connect(server)
    choice = VllmDouble._choice

    def spoiled(self: VllmDouble, body: Any, written: list[tuple[int, float]]) -> dict[str, Any]:
        answer = choice(self, body, written)
        values = answer.get("logprobs", {}).get("token_logprobs", [])
        if values:
            answer["logprobs"]["token_logprobs"] = spoil(values)
        for table, value in zip(answer.get("prompt_logprobs", [])[1:], spoil([-1.0] * 9), strict=False):
            table.update({token: {"logprob": value} for token in table})
        return answer

    monkeypatch.setattr(VllmDouble, "_choice", spoiled)
    with pytest.raises(ModelError, match="cannot be right"):
        model.generate(PROMPT, GenerationOptions())
    values = spoil([-1.0, -1.0])
    if len(values) == 2:
        with pytest.raises(ModelError, match="cannot be right"):
            model.log_likelihoods(PROMPT[:3], [Continuation((97, 98), 2)])


# --- the key ----------------------------------------------------------------------------------------


def test_the_key_is_sent_and_never_shown(
    start: Callable[..., Any],
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "hunter2")
    server = start(VllmDouble)
    with caplog.at_level(logging.DEBUG):
        model = connect(server)
        model.generate(PROMPT, GenerationOptions(max_new_tokens=3))
        server.faults = [status(401, "no such key: hunter2")]
        with pytest.raises(ModelError, match=r"no such key: \*\*\*") as caught:
            model.generate(PROMPT, GenerationOptions())
    assert {headers["Authorization"] for _, _, headers in server.requests} == {"Bearer hunter2"}
    assert "POST" in caplog.text  # the HTTP library does log
    shown = [caught.value.message, caught.value.hint, caplog.text, model.description, repr(model.identity)]
    for fault in (
        status(429, Retry_After="1 hunter2"),
        status(307, Location="http://elsewhere/?key=hunter2"),
    ):
        server.faults = [fault] * 3
        with pytest.raises(ModelError, match=r"429|307") as caught:
            model.generate(PROMPT, GenerationOptions())
        shown += [caught.value.message, caught.value.hint]
    assert not any("hunter2" in text for text in shown)


def test_a_key_that_cannot_be_one_is_not_shown(
    start: Callable[..., Any], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "hunter2\nX: y")
    with pytest.raises(UsageError, match=KEY_VARIABLE) as caught:
        connect(start())
    assert "hunter2" not in caught.value.message + caught.value.hint


# --- cancellation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("written", [0, 1])
@pytest.mark.parametrize("scoring", [False, True])
def test_a_cancellation_closes_the_connection(
    written: int, scoring: bool, start: Callable[..., Any], connect: Connect
) -> None:
    server = start()
    model = connect(server)
    cancellation = Cancellation()
    answer = write_and_hang(*[EVENT] * written)

    def cancel_and_hang(handler: Any) -> bool:
        cancellation.cancel()  # only once the request is there
        return answer(handler)

    server.faults = [cancel_and_hang]
    one = [Continuation((97,), 1)]
    work: Callable[[], object] = (
        (lambda: model.log_likelihoods(PROMPT, one, cancellation))
        if scoring
        else (lambda: model.generate(PROMPT, GenerationOptions(), cancellation))
    )
    with pytest.raises(CancelledError):
        work()
    assert server.hung_up.wait(10)
    server.faults = []
    assert model.generate(PROMPT, GenerationOptions(max_lines=1))[0].text == "ft + right; done"


def test_a_cancellation_interrupts_the_wait_before_another_attempt(
    start: Callable[..., Any], connect: Connect
) -> None:
    server = start()
    model = connect(server, replace(QUICK, backoff_seconds=1000))
    cancellation = Cancellation()

    def cancel_and_fail(handler: Any) -> bool:
        cancellation.cancel()
        return status(503)(handler)

    server.faults = [cancel_and_fail]
    with pytest.raises(CancelledError):
        model.generate(PROMPT, GenerationOptions(), cancellation)


def test_a_cancellation_does_not_wait_for_a_host_name(
    start: Callable[..., Any], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    model = connect(server)
    cancellation, found = Cancellation(), threading.Event()
    getaddrinfo = socket.getaddrinfo

    def slow(*args: Any, **kwargs: Any) -> Any:
        cancellation.cancel()
        found.wait(100)
        return getaddrinfo(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    model._endpoint = replace(model._endpoint, base_url=server.url.replace("127.0.0.1", "localhost"))
    with pytest.raises(CancelledError):
        model.generate(PROMPT, GenerationOptions(), cancellation)
    assert not found.is_set()
    found.set()


def test_a_request_that_is_cancelled_already_is_not_sent(start: Callable[..., Any], connect: Connect) -> None:
    server = start()
    model = connect(server)
    before, cancellation = len(server.requests), Cancellation()
    cancellation.cancel()
    with pytest.raises(CancelledError):
        model.generate(PROMPT, GenerationOptions(), cancellation)
    with pytest.raises(CancelledError):
        model.log_likelihoods(PROMPT, [Continuation((97,), 1)], cancellation)
    assert len(server.requests) == before
