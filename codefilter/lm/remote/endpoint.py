"""``remote:URL``: which server, which of its models, and with which tokenizer it is addressed.

In: the name that a user gave to ``--model``. Out: an `Endpoint`; nothing is contacted.
Notable: everything is in the name, so that whoever may not choose a model (a repository's own settings) may
not choose any of it either. The key alone is kept apart: it is only ever read from the environment.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlsplit

from codefilter.errors import UsageError
from codefilter.lm.base import UNVERIFIED, ModelIdentity
from codefilter.models import DEFAULT_MODEL, is_known, resolve
from codefilter.paths import expanded
from codefilter.prompts.formats import detect_family, tokenizer_and_family
from codefilter.tokenizer import Tokenizer
from codefilter.types import content_hash

SCHEME = "remote"
KEY_VARIABLE = "CODEFILTER_REMOTE_KEY"

_QUERY = ("model", "tokenizer", "sha256")
_EXAMPLE = (
    f"Write {SCHEME}:http://localhost:8080, or {SCHEME}:https://HOST?model=NAME&tokenizer=NAME_OR_FOLDER."
)


@dataclass(frozen=True)
class Endpoint:
    """A server and what is asked of it."""

    base_url: str  # without a trailing slash or /v1
    model: str = ""  # the server's name for it; "" where the server has only one
    tokenizer: str = DEFAULT_MODEL  # a model of this machine, or a folder with a tokenizer.json
    sha256: str = ""  # of the server's weights, where the user vouches for them

    @property
    def is_on_this_machine(self) -> bool:
        """Whether the server's address is a loopback address."""
        host = urlsplit(self.base_url).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    def identity(self, model: str, family: str) -> ModelIdentity:
        """What labels and results know the server's model by: a hash of its address unless vouched for."""
        if self.sha256:
            return ModelIdentity(model, self.sha256, family)
        return ModelIdentity(f"{model}{UNVERIFIED}", content_hash(f"{self.base_url}\n{model}"), family)


def is_remote(name: str) -> bool:
    """Whether a model's name means a server."""
    return name.partition(":")[0] == SCHEME


def parse_endpoint(name: str) -> Endpoint:
    """Read ``remote:URL``; `UsageError` says what is wrong with it, without repeating what may be secret."""
    url = name.partition(":")[2]
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # both are checked only when they are asked for
        (host or "").encode("idna")  # a host that no name server could know
    except ValueError:
        raise UsageError("the address after remote: is not a URL", hint=_EXAMPLE) from None
    if parts.scheme not in ("http", "https") or not host or not url.isprintable() or " " in url:
        raise UsageError("the address after remote: must be an http or https URL", hint=_EXAMPLE)
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "the server's address has a user name or password in it", hint=f"Put the key into {KEY_VARIABLE}."
        )
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = [key for key in query if key not in _QUERY]
    if unknown or parts.fragment:
        raise UsageError(
            f"{' and '.join(unknown) or 'a part after #'} cannot be given in the server's address",
            hint=f"What can: {', '.join(_QUERY)}. A key goes into {KEY_VARIABLE}.",
        )
    if "sha256" in query and not re.fullmatch(r"[0-9a-f]{64}", query["sha256"]):
        raise UsageError("sha256 in the server's address must be 64 hex digits", hint="In lower case.")
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return Endpoint(f"{parts.scheme}://{parts.netloc}{path}", **{k: v for k, v in query.items() if v})


def read_key() -> str:
    """The server's key from the environment, "" without one; `UsageError` does not show it."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"{KEY_VARIABLE} has characters that no key has", hint="Set it again.")
    return key


def endpoint_tokenizer(endpoint: Endpoint) -> tuple[Tokenizer, str]:
    """The tokenizer and the model family of an endpoint; the weights need not be here.

    Raises:
        ModelMissingError: a model of that name has to be pulled first.
        ModelError: a folder without a tokenizer.
    """
    folder = expanded(endpoint.tokenizer)
    if folder.is_dir() and not is_known(endpoint.tokenizer):
        tokenizer = Tokenizer.from_folder(folder)
        return tokenizer, detect_family(tokenizer)
    return tokenizer_and_family(resolve(endpoint.tokenizer))
