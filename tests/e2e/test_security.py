"""A hostile repository: nothing of it makes the server run, reach or read what its user did not choose.

The server's own calls to the system are watched (audit events), as no answer would tell of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from codefilter.config import Settings, needs_trust
from codefilter.lm.fake import byte_tokenizer_spec
from tests.soak.typist import TypedDocument
from tests.soak.wire import Wire

WATCHED = Path(__file__).parent / "watched_server.py"
STOLEN = "def stolen_zebra_function(argument_of_a_stranger):\n    return 'CANARY'\n"
MODULES = ("codefilter_lsp", "codefilter", "numpy", "json", "pygls", "asyncio", "sitecustomize")
RUN = "from pathlib import Path\nPath({marker!r}).touch()\nraise SystemExit(3)\n"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A repository that tries everything; beside it a folder that it wants."""
    root, outside = tmp_path / "hostile", tmp_path / "outside"
    for folder in (root / ".git", root / "keys", root / "model", outside):
        folder.mkdir(parents=True)
    (outside / "stolen.py").write_text(STOLEN)
    (outside / "head").write_text("ref: refs/heads/main\n")
    (root / "app.py").write_text("def ordinary(argument):\n    return argument\n")
    for name in MODULES:  # run, if the folder were on the path of modules
        (root / f"{name}.py").write_text(RUN.format(marker=str(tmp_path / "was-run")))
    (root / ".env").write_text(STOLEN)
    (root / "keys" / "id_rsa").write_text(STOLEN)
    (root / ".gitignore").write_text("!.env\n!keys/**\n!*\n")
    (root / ".codefilterignore").write_text("!.env\n!keys/id_rsa\n")
    (root / "linked.py").symlink_to(outside / "stolen.py")
    (root / "linked").symlink_to(outside, target_is_directory=True)
    (root / ".git" / "HEAD").write_text("ref: refs/heads/../../../outside/head\n")
    (root / ".git" / "config").write_text('[core]\n\tfsmonitor = "touch was-run"\n')
    (root / "codefilter.toml").write_text('model = "remote:http://192.0.2.1:9/steal"\n')
    (root / "pyproject.toml").write_text('[tool.codefilter]\nmodel = "remote:http://192.0.2.1:9/steal"\n')
    config = {"model_type": "qwen2", "auto_map": {"AutoModelForCausalLM": "run.Model"}}
    (root / "model" / "config.json").write_text(json.dumps(config))
    (root / "model" / "tokenizer.json").write_text(json.dumps(byte_tokenizer_spec()))
    (root / "model" / "model.safetensors").write_bytes(bytes(64))
    (root / "model" / "run.py").write_text(RUN.format(marker=str(tmp_path / "was-run")))
    return root


# Options as an editor may read them from a project's own folder, and whether completing goes on.
OPTIONS: list[tuple[dict[str, Any], bool]] = [
    ({"model": "remote:http://192.0.2.1:9/steal", "filter_weights": "ROOT/model"}, True),
    ({"model": "ROOT/model", "engine": "remote"}, True),
    ({"model": "model"}, False),  # a name, not a folder of the repository: no such model
    ({"filter": "ROOT/model", "layout": "../../outside", "retriever": "os.system"}, True),
]


@pytest.mark.parametrize(("options", "completes"), OPTIONS)
async def test_a_hostile_repository_runs_reaches_and_reads_nothing(
    hostile: Path, options: dict[str, Any], completes: bool
) -> None:
    notes, outside = hostile.parent / "notes", hostile.parent / "outside"
    settings = {name: value.replace("ROOT", str(hostile)) for name, value in options.items()}
    wire = Wire(lambda: settings)
    environment = {**os.environ, "CODEFILTER_MODEL": "fake", "PYTHONDONTWRITEBYTECODE": "1"}
    command = (sys.executable, "-P", str(WATCHED), str(notes))
    await wire.start(*command, environment=environment, stderr=hostile.parent / "stderr", cwd=hostile)
    try:
        explanation = await work(wire, hostile, settings, completes)
        assert await wire.stop() == 0
    finally:
        await wire.close()
    lines = notes.read_text().splitlines()
    assert [line for line in lines if not line.startswith("open ")] == []
    opened = {line.removeprefix("open ") for line in lines}
    assert str(hostile / "app.py") in opened  # what is read is noted
    real = {os.path.realpath(name) for name in opened}
    weights = hostile / "model" / "model.safetensors"  # the texts beside them are indexed like any other
    assert [name for name in real if name.startswith((str(outside), str(weights)))] == []
    assert not {str(hostile / name) for name in (".env", "keys/id_rsa")} & opened
    assert not (hostile.parent / "was-run").exists()
    assert not (hostile / "was-run").exists()
    assert ("app.py" in {chunk["path"] for chunk in explanation["chunks"]}) == completes
    assert "CANARY" not in json.dumps(explanation)


async def work(wire: Wire, root: Path, settings: dict[str, Any], completes: bool) -> dict[str, Any]:
    """Work in the repository as a person would; what the last completion was made from."""
    capabilities = {
        "textDocument": {"inlineCompletion": {}},
        "workspace": {"configuration": True},
        "window": {"workDoneProgress": True},
    }
    folders = [{"uri": root.as_uri(), "name": root.name}]
    params = {"processId": None, "rootUri": None, "workspaceFolders": folders, "capabilities": capabilities}
    await wire.call("initialize", params | {"initializationOptions": settings})
    wire.notify("initialized", {})
    document = TypedDocument(root / "new.py", "python", "x = ordinary(stolen_zebra_func")
    wire.notify("textDocument/didOpen", document.opened())
    strange = ("../outside/stolen.py", "linked/stolen.py", "linked.py", "linked", ".env", "keys/id_rsa")
    uris = [f"{root.as_uri()}/{name}" for name in strange]
    found: dict[str, Any] = {"chunks": []}
    for attempt in range(100):
        if attempt in (0, 5):
            wire.notify("workspace/didChangeWatchedFiles", {"changes": [{"uri": u, "type": 2} for u in uris]})
            renamed = [{"oldUri": uri, "newUri": uri} for uri in uris]
            wire.notify("workspace/didRenameFiles", {"files": renamed})
        end = len(document.text)
        wire.notify("textDocument/didChange", document.replace(end, end, "\nordinary(stolen_zebra_func"))
        place = {"textDocument": {"uri": document.uri}, "position": document.position(len(document.text))}
        await wire.call("textDocument/inlineCompletion", place | {"context": {"triggerKind": 1}})
        asked = {"command": "codefilter.explain", "arguments": [{"show": False}]}
        found = await wire.call("workspace/executeCommand", asked)
        if attempt > 8 and (found["chunks"] or not completes):
            break
        await asyncio.sleep(0.1)
    return found


def test_no_setting_of_text_is_overlooked() -> None:
    """A new setting has to be thought of here: its user's alone, or a name of something that is there."""
    of_text = {setting.name for setting in fields(Settings) if isinstance(setting.default, str)}
    foreign = ("remote:http://192.0.2.1/", "/outside", "../outside", "a/../../outside")
    users_alone = {name for name in of_text if all(needs_trust(name, value) for value in foreign)}
    names = {"device", "dtype", "filter", "layout", "retriever", "chunker", "chunk_order"}
    assert (users_alone, of_text - users_alone) == ({"model", "engine", "filter_weights"}, names)
