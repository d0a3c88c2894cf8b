"""Servers for tests of the remote engine, on this machine, with the fake model behind them.

Each speaks one protocol as the real server does, as far as the engine needs it; `faults` are what goes wrong
before, or in the middle of, an answer.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from codefilter.lm.decoding import log_softmax
from codefilter.lm.fake import FakeLanguageModel

Fault = Callable[["Handler"], bool]  # says whether it was the whole answer
Streamed = Iterator[dict[str, Any]]


class ScriptedServer(ThreadingHTTPServer):
    """Answers on a free port of this machine until closed."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.model = FakeLanguageModel()
        self.requests: list[tuple[str, Any, dict[str, str]]] = []  # path, body, headers
        self.faults: list[Fault] = []  # each for one request
        self.events_until_cut = -1  # then the connection is cut; -1: never
        self.hung_up = threading.Event()  # a client closed while it was being answered
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no error here."""

    def next_token(self, ids: Sequence[int], allowed: Sequence[int] | None = None) -> tuple[int, float]:
        row = log_softmax(self.model.logits(ids))
        choices = np.arange(row.size) if allowed is None else np.asarray(allowed)
        token = int(choices[row[choices].argmax()])
        return token, float(row[token])

    def nats(self, ids: Sequence[int]) -> list[float]:
        """Log-probability of every token but the first."""
        return [float(log_softmax(self.model.logits(ids[:i]))[ids[i]]) for i in range(1, len(ids))]

    def tokenize(self, text: str) -> list[int]:
        """With control tokens obeyed, as servers do."""
        tokenizer = self.model.tokenizer
        ids: list[int] = []
        for part in re.split(r"(<\|\w+\|>)", text):
            control = tokenizer.control_id(part)
            ids += tokenizer.encode(part) if control is None else [control]
        return ids

    def answer(self, method: str, path: str, body: Any) -> object | None:
        """The whole answer; an iterator is streamed; None is 404."""
        raise NotImplementedError


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes
    server: ScriptedServer

    def do_GET(self) -> None:
        self._serve(None)

    def do_POST(self) -> None:
        self._serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _serve(self, body: Any) -> None:
        self.server.requests.append((self.path, body, dict(self.headers)))
        if self.server.faults and self.server.faults.pop(0)(self):
            return
        answer = self.server.answer(self.command, self.path, body)
        if answer is None:
            self.send({"error": {"message": "no such path"}}, 404)
        elif isinstance(answer, tuple):
            self.send(*answer)
        elif isinstance(answer, dict | list):
            self.send(answer)
        else:
            self._stream(answer)  # type: ignore[arg-type]

    def send(self, answer: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, events: Streamed) -> None:
        self.begin_stream()
        try:
            for number, event in enumerate(events):
                if number == self.server.events_until_cut:
                    self.close_connection = True
                    return
                self.send_event(json.dumps(event))
            self.send_event("[DONE]")
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.server.hung_up.set()
            raise

    def begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def send_event(self, text: str) -> None:
        data = f"data: {text}\n\n".encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()


def status(code: int, message: str = "told so", **headers: str) -> Fault:
    """An answer with a status."""

    def fault(handler: Handler) -> bool:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.send({"error": {"message": message}}, code, named)
        return True

    return fault


def garbage(handler: Handler) -> bool:
    """An answer that is no JSON."""
    handler.send(b"<html>not what you think</html>")
    return True


def nested(handler: Handler) -> bool:
    """An error that is nested deeper than a reader of JSON goes."""
    handler.send(b"[" * 200_000, 400)
    return True


def comment(handler: Handler) -> bool:
    """Comments that keep the connection alive, and no event, until the client hangs up."""
    handler.begin_stream()
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(b"8\r\n: ping\n\n\r\n")
            handler.wfile.flush()
            time.sleep(0.01)
    handler.server.hung_up.set()
    handler.close_connection = True
    return True


def hang(handler: Handler) -> bool:
    """No answer at all, until the client hangs up."""
    if handler.connection.recv(1) == b"":
        handler.server.hung_up.set()
    handler.close_connection = True
    return True


def write_and_hang(*events: dict[str, Any]) -> Fault:
    """Some events, then nothing until the client hangs up."""

    def fault(handler: Handler) -> bool:
        handler.begin_stream()
        for event in events:
            handler.send_event(json.dumps(event))
        return hang(handler)

    return fault


class LlamaServerDouble(ScriptedServer):
    """llama-server: token ids, grammars; says nothing of tokens inside a character."""

    def answer(self, method: str, path: str, body: Any) -> object | None:
        if path.startswith("/props"):
            settings = {"n_ctx": self.model.context_length}
            return {
                "default_generation_settings": settings,
                "model_path": "/srv/models/tiny.gguf",
                "model_alias": "/srv/models/tiny.gguf",
                "build_info": "b1",
            }
        if path == "/tokenize":
            return {"tokens": self.tokenize(body["content"])}
        if path == "/completion":
            return self._stream_of(body) if body.get("stream") else self._forced(body)
        return None

    def _write(self, body: Any) -> Iterator[tuple[int, float]]:
        ids = list(body["prompt"])
        grammar = body.get("grammar", "")
        required = re.sub(r"\\U([0-9A-F]{8})", lambda m: chr(int(m[1], 16)), grammar[10:].rpartition('"')[0])
        missing = required.encode()
        forced = [int(text) for text in re.findall(r"<\[(\d+)\]>", grammar)]
        for position in range(body["n_predict"]):
            allowed = self.model.tokenizer.ids_starting_with(missing) if missing else None
            token, nats = self.next_token(ids, forced[position : position + 1] or allowed)
            yield token, nats
            ids.append(token)
            missing = missing[1:]
            if token in self.model.tokenizer.control_ids:
                return

    def _told(self, body: Any) -> Streamed:
        """What is told of each token; nothing while a character is not whole."""
        part = b""
        for token, nats in self._write(body):
            part += self.model.tokenizer.token_bytes[token]
            try:
                content = part.decode()
            except UnicodeDecodeError:
                continue
            yield {"content": content, "tokens": [token], "token": {"id": token, "logprob": nats}}
            part = b""

    def _stream_of(self, body: Any) -> Streamed:
        timings = {"cache_n": 3}
        last = None
        for told in self._told(body):
            last = told["tokens"][0]
            yield {
                "content": told["content"],
                "tokens": told["tokens"],
                "completion_probabilities": [told["token"]],
                "stop": False,
                "timings": timings,
            }
        ended = last in self.model.tokenizer.control_ids
        yield {"content": "", "tokens": [], "stop": True, "stop_type": "eos" if ended else "limit"}

    def _forced(self, body: Any) -> dict[str, Any]:
        return {
            "tokens": [token for token, _ in self._write(body)],
            "completion_probabilities": [told["token"] for told in self._told(body)],
        }


class CompletionsDouble(ScriptedServer):
    """OpenAI's completions with token ids and ``echo``, and nothing more."""

    models = ("tiny",)
    takes_ids = True
    echoes = True
    is_vllm = False

    def answer(self, method: str, path: str, body: Any) -> object | None:
        if path == "/v1/models":
            return {"data": [{"id": name} for name in self.models]}
        if path != "/v1/completions":
            return None
        if self.takes_ids != isinstance(body["prompt"], list):
            return {"message": "invalid type: sequence, expected a string"}, 422
        if not body.get("stream"):
            return {"choices": [self._choice(body, [*self._write(body)])]}
        return self._stream_of(body)

    def _write(self, body: Any) -> Iterator[tuple[int, float]]:
        ids = self._prompt_ids(body)
        for _ in range(body["max_tokens"]):
            token, nats = self.next_token(ids, body.get("allowed_token_ids"))
            yield token, nats
            ids.append(token)
            if token in self.model.tokenizer.control_ids:
                return

    def _stream_of(self, body: Any) -> Streamed:
        part: list[tuple[int, float]] = []
        token = -1
        for token, nats in self._write(body):
            part.append((token, nats))
            if len(part) >= 2 and self._is_whole(part):  # two tokens at a time, or a character
                yield {"choices": [self._choice(body, part)]}
                part = []
        if part:
            yield {"choices": [self._choice(body, part)]}
        ended = token in self.model.tokenizer.control_ids
        yield {"choices": [{"text": "", "finish_reason": "stop" if ended else "length"}]}
        yield {"choices": [], "usage": {}}

    def _bytes(self, written: list[tuple[int, float]]) -> bytes:
        return b"".join(self.model.tokenizer.token_bytes[token] for token, _ in written)

    def _is_whole(self, written: list[tuple[int, float]]) -> bool:
        data = self._bytes(written)
        return data.decode("utf-8", "ignore").encode() == data

    def _choice(self, body: Any, written: list[tuple[int, float]]) -> dict[str, Any]:
        ids = [token for token, _ in written]
        # Servers keep back what is not a whole character, also at the end.
        choice: dict[str, Any] = {"text": self._bytes(written).decode("utf-8", "ignore")}
        nats: list[float | None] = [value for _, value in written]
        if body.get("echo") and self.echoes:
            nats = [None, *self.nats(body["prompt"]), *nats]
        if body.get("logprobs"):
            choice["logprobs"] = {"tokens": [str(token) for token in ids], "token_logprobs": nats}
        return choice

    def _prompt_ids(self, body: Any) -> list[int]:
        return list(body["prompt"]) if self.takes_ids else self.tokenize(body["prompt"])


class TextDouble(CompletionsDouble):
    """As TGI: text only, no log-probabilities."""

    takes_ids = False

    def _choice(self, body: Any, written: list[tuple[int, float]]) -> dict[str, Any]:
        return {"text": super()._choice(body, written)["text"]}


class VllmDouble(CompletionsDouble):
    """vLLM: names its tokens, keeps to allowed ones, scores the prompt, lets its tokenizer be asked."""

    def answer(self, method: str, path: str, body: Any) -> object | None:
        if path == "/tokenize":
            return {"tokens": self.tokenize(body["prompt"]), "max_model_len": 4096}
        if path == "/v1/models":
            return {"data": [{"id": name, "max_model_len": 4096} for name in self.models]}
        return super().answer(method, path, body)

    def _choice(self, body: Any, written: list[tuple[int, float]]) -> dict[str, Any]:
        choice = super()._choice(body, written)
        if body.get("return_token_ids"):
            choice["token_ids"] = [token for token, _ in written]
        if body.get("prompt_logprobs"):
            scored = zip(body["prompt"][1:], self.nats(body["prompt"]), strict=True)
            tables = [{"0": {"logprob": -1.0}, str(token): {"logprob": nats}} for token, nats in scored]
            choice["prompt_logprobs"] = [None, *tables]
        return choice
