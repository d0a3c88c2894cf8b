"""The language server through a real client, in a process of its own, with the fake model.

The fake model copies what followed the longest earlier occurrence of the text before the cursor, so a planted
line tells what the model has read.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcRequestCancelled

from codefilter.config import Settings
from codefilter.errors import IndexStorageError
from codefilter.index import RepositoryIndex
from codefilter_lsp.folders import MANY_FILES
from codefilter_lsp.workspace import UPDATE_DELAY_SECONDS
from tests.e2e.editor import SERVER, Editor, connected_editor, started_editor, within

FAKE = {"model": "fake", "filter": "all"}  # what a filter drops is no matter here
SLOW = {"model": "fake:prompt_ms=100", "filter": "none", "statusNotifications": True}
LONG = "# minutes of reading\n" * 80  # for that model
ONE_LINE = "width = compute_width(box)\nother = compute_w"  # the end of a copy of its first line
AT_END = (1, 17)


async def until_status(editor: Editor, message: str) -> None:
    await editor.until(lambda: any(status["message"] == message for status in editor.statuses))


async def ask_for_what_takes_minutes(editor: Editor, root: Path) -> asyncio.Task[list[Any]]:
    """A request of the id "slow", whose prompt the model is reading."""
    await editor.initialize(root, options=SLOW)
    uri = (root / "new.py").as_uri()
    editor.open(uri, LONG + ONE_LINE)
    await until_status(editor, "ready")
    request = asyncio.create_task(editor.inline(uri, 81, 17, request_id="slow"))
    await until_status(editor, "completing")
    await asyncio.sleep(0.3)  # until the model's thread has it
    return request


async def test_inline_completion_is_advertised_and_answered(sample_repository: Path) -> None:
    async with started_editor() as editor:
        result = await editor.initialize(sample_repository, options=FAKE)
        assert result.capabilities.inline_completion_provider is not None
        assert result.capabilities.completion_provider is None  # an editor with both would ask twice
        uri = (sample_repository / "shop" / "new.py").as_uri()
        editor.open(uri, ONE_LINE)
        items = await within(editor.inline(uri, *AT_END))
        assert [item.insert_text for item in items] == ["idth(box)"]
        here = types.Position(*AT_END)
        assert items[0].range == types.Range(here, here)
        await editor.until(lambda: any("shop/new.py:2" in log for log in editor.logs))


async def test_other_files_of_the_repository_are_used(sample_repository: Path) -> None:
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=FAKE)
        await editor.until_indexed()
        uri = (sample_repository / "shop" / "new.py").as_uri()
        editor.open(uri, "from shop import pricing\n\nprice = pricing.price_with_d")
        text = await editor.inline_text(uri, 2, 28)
        assert text.startswith("iscount(net_price")
        assert editor.progress[0]["title"] == "Indexing shop-repository"


async def test_editors_without_inline_completion_get_menu_items(sample_repository: Path) -> None:
    async with connected_editor() as (editor, _):
        result = await editor.initialize(sample_repository, options=FAKE, inline=False)
        assert result.capabilities.completion_provider is not None
        uri = (sample_repository / "new.py").as_uri()
        editor.open(uri, ONE_LINE)
        [item] = await editor.menu(uri, *AT_END)
        assert item.label == "compute_width(box)"
        edit = item.text_edit
        assert isinstance(edit, types.TextEdit)
        assert edit.new_text == "compute_width(box)"
        assert edit.range == types.Range(types.Position(1, 8), types.Position(*AT_END))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
async def test_edits_with_emoji_line_ends_and_form_feeds(sample_repository: Path, encoding: str) -> None:
    units = {"utf-8": 4, "utf-16": 2, "utf-32": 1}[encoding]
    async with connected_editor() as (editor, _):
        result = await editor.initialize(sample_repository, options=FAKE, encodings=[encoding])
        assert result.capabilities.position_encoding == encoding
        uri = (sample_repository / "new.py").as_uri()
        editor.open(uri, "# page\f break\r\nwidth = compute_width(box)\r\nx = 1\r\n")
        editor.edit(uri, (2, 0), (2, 5), 'y = "😀😀"; ')
        editor.edit(uri, (2, 5 + units), (2, 5 + 2 * units), "")
        column = len('y = "') + units + len('"; ')
        editor.edit(uri, (2, column), (2, column), "z = compute_w")
        assert await editor.inline_text(uri, 2, column + len("z = compute_w")) == "idth(box)"


async def test_cancellation_is_answered_even_during_a_long_prompt(sample_repository: Path) -> None:
    async with started_editor() as editor:
        request = await ask_for_what_takes_minutes(editor, sample_repository)
        editor.cancel_request(types.CancelParams("slow"))
        with pytest.raises(JsonRpcRequestCancelled):
            await within(request)
        status = await editor.command("codefilter.status")
        assert (status["message"], status["busy"]) == ("ready", False)


async def test_a_measurement_that_is_cancelled_stops(sample_repository: Path) -> None:
    async with started_editor() as editor:
        await editor.initialize(sample_repository, options={"model": "fake:prompt_ms=5", "filter": "top-k:1"})
        await editor.until_indexed()
        uri = (sample_repository / "shop" / "new.py").as_uri()
        editor.open(uri, "price = price_with_d")
        await editor.inline_text(uri, 0, 20)
        params = types.ExecuteCommandParams("codefilter.attribute", [])
        command = editor.protocol.send_request_async(types.WORKSPACE_EXECUTE_COMMAND, params, msg_id="slow")
        measurement = asyncio.ensure_future(command)
        await editor.until(lambda: "Measuring" in str(editor.progress[-1].get("title")))
        await asyncio.sleep(0.3)  # until the model's thread has it
        editor.cancel_request(types.CancelParams("slow"))
        with pytest.raises(JsonRpcRequestCancelled):
            await within(measurement)
        await within(editor.until(lambda: editor.progress[-1]["kind"] == "end"), 3)  # not after 7 s


async def test_a_newer_request_replaces_the_older_and_both_are_answered(sample_repository: Path) -> None:
    async with started_editor() as editor:
        options = {"model": "fake:token_ms=100", "filter": "none", "statusNotifications": True}
        await editor.initialize(sample_repository, options=options)
        uri = (sample_repository / "new.py").as_uri()
        editor.open(uri, ONE_LINE)
        older = asyncio.create_task(editor.inline(uri, *AT_END))
        await until_status(editor, "completing")
        newer = asyncio.create_task(editor.inline(uri, *AT_END))
        with pytest.raises(JsonRpcRequestCancelled):
            await within(older)
        assert not newer.done()
        assert [item.insert_text for item in await within(newer)] == ["idth(box)"]


async def test_a_missing_model_is_explained_once_and_requests_are_answered(sample_repository: Path) -> None:
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository)
        uri = (sample_repository / "new.py").as_uri()
        editor.open(uri, ONE_LINE)
        assert await within(editor.inline(uri, *AT_END)) == []
        assert await within(editor.inline(uri, *AT_END)) == []
        [message] = editor.messages
        assert f"codefilter models pull {Settings().model}" in message
        assert any(log.startswith("new.py:2: ") for log in editor.logs)


async def test_the_index_follows_edits_saves_and_files_from_outside(sample_repository: Path) -> None:
    here = (sample_repository / "here.py").as_uri()
    there = sample_repository / "there.py"
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=FAKE)
        await editor.until_indexed()
        methods = [registration.method for registration in editor.registrations]
        assert types.WORKSPACE_DID_CHANGE_WATCHED_FILES in methods
        editor.open(here, "w = zebra_cro")
        at_end = (0, len("w = zebra_cro"))
        assert "ssing" not in await editor.inline_text(here, *at_end)

        there.write_text("def zebra_crossing_width(lanes):\n    return 3 * lanes\n")
        editor.report_files((there, types.FileChangeType.Created))
        await editor.until_inline(here, *at_end, lambda text: text == "ssing_width(lanes):")

        editor.open(there.as_uri(), there.read_text())
        editor.edit(there.as_uri(), (0, 25), (0, 30), "unsaved")
        await editor.until_inline(here, *at_end, lambda text: text == "ssing_width(unsaved):")

        there.write_text("def zebra_crossing_width(saved):\n    return 3\n")
        editor.save(there.as_uri())
        await editor.until_inline(here, *at_end, lambda text: text == "ssing_width(saved):")

        editor.close(there.as_uri())
        there.unlink()
        editor.report_files((there, types.FileChangeType.Deleted))
        await editor.until_inline(here, *at_end, lambda text: "ssing" not in text)


async def test_a_file_that_is_open_counts_as_the_editor_has_it(sample_repository: Path) -> None:
    here = (sample_repository / "here.py").as_uri()
    there = sample_repository / "there.py"
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=FAKE)
        await editor.until_indexed()
        editor.open(here, "w = zebra_cro\nc = marker_of_the_b")
        editor.open(there.as_uri(), "def zebra_crossing_width(editor):\n    return 3\n")
        there.write_text("def zebra_crossing_width(disk):\n    return 3\n")
        marker = sample_repository / "marker.py"
        marker.write_text("def marker_of_the_batch():\n    return 0\n")
        editor.report_files((there, types.FileChangeType.Changed), (marker, types.FileChangeType.Created))
        await editor.until_inline(here, 1, 19, lambda text: "atch" in text)
        assert await editor.inline_text(here, 0, 13) == "ssing_width(editor):"


async def test_a_folder_that_is_deleted_leaves_the_index(sample_repository: Path) -> None:
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=FAKE)
        uri = (sample_repository / "here.py").as_uri()
        editor.open(uri, "price = price_with_d")
        await editor.until_inline(uri, 0, 20, lambda text: "iscount" in text)
        shutil.rmtree(sample_repository / "shop")
        editor.report_files((sample_repository / "shop", types.FileChangeType.Deleted))
        await editor.until_inline(uri, 0, 20, lambda text: "iscount" not in text)


async def test_many_changes_at_once_as_after_a_switch_of_branches(sample_repository: Path) -> None:
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=FAKE)
        await editor.until_indexed()
        files = [sample_repository / f"branch_{number}.py" for number in range(MANY_FILES + 1)]
        for number, file in enumerate(files):
            file.write_text(f"def branch_function_{number}(argument_{number}):\n    return {number}\n")
        editor.report_files(*((file, types.FileChangeType.Created) for file in files))
        uri = (sample_repository / "here.py").as_uri()
        editor.open(uri, "x = branch_function_117(")
        await editor.until_inline(uri, 0, 24, lambda text: text == "argument_117):")


@pytest.mark.parametrize("name", [".env", "build/settings.py"])
async def test_secrets_and_ignored_files_stay_out_of_the_index(sample_repository: Path, name: str) -> None:
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=FAKE)
        await editor.until_indexed()
        hidden, plain = sample_repository / name, sample_repository / "plain.py"
        hidden.write_text("TOP_SECRET_TOKEN = 'on_disk'\n")
        plain.write_text("COMMON_TOKEN = 'found'\n")
        changed = types.FileChangeType.Changed
        editor.report_files((hidden, changed), (plain, changed))
        editor.open(hidden.as_uri(), "TOP_SECRET_TOKEN = 'in_editor'\n")
        uri = (sample_repository / "here.py").as_uri()
        editor.open(uri, "x = COMMON_TO\ny = TOP_SECRET_TO")
        await editor.until_inline(uri, 0, 13, lambda text: text == "KEN = 'found'")
        assert "KEN" not in await editor.inline_text(uri, 1, 17)


@pytest.mark.parametrize("name", [".env", "build/settings.py", "build/new/settings.py", ".aws/config.toml"])
async def test_secrets_and_ignored_files_that_were_never_saved_stay_out_too(
    sample_repository: Path, name: str
) -> None:
    (sample_repository / ".env").unlink()
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=FAKE)
        await editor.until_indexed()
        hidden, plain = (sample_repository / each for each in (name, "plain.py"))
        editor.open(hidden.as_uri(), "TOP_SECRET_TOKEN = 'in_editor'\n")
        editor.open(plain.as_uri(), "COMMON_TOKEN = 'found'\n")
        uri = (sample_repository / "here.py").as_uri()
        editor.open(uri, "x = COMMON_TO\ny = TOP_SECRET_TO")
        await editor.until_inline(uri, 0, 13, lambda text: text == "KEN = 'found'")
        assert "KEN" not in await editor.inline_text(uri, 1, 17)
        assert await editor.inline_text(hidden.as_uri(), 0, 16) == ""
        await editor.until(lambda: any(log.startswith(f"{name}:1: nothing: ") for log in editor.logs))


async def test_what_the_editor_ignores_from_now_on_leaves_the_index(sample_repository: Path) -> None:
    files = [sample_repository / name for name in ("local/closed.py", "local/open.py")]
    (sample_repository / "local").mkdir()
    for file in files:
        file.write_text(f"def zebra_{file.stem}_crossing(lanes):\n    return 3\n")
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=FAKE)
        await editor.until_indexed()
        editor.open(files[1].as_uri(), files[1].read_text())
        uri = (sample_repository / "here.py").as_uri()
        editor.open(uri, "a = zebra_closed_cro\nb = zebra_open_cro")
        await editor.until_inline(uri, 0, 20, lambda text: text == "ssing(lanes):")
        await editor.until_inline(uri, 1, 18, lambda text: text == "ssing(lanes):")
        ignore = sample_repository / ".gitignore"
        editor.open(ignore.as_uri(), ignore.read_text(), "ignore")
        ignore.write_text(f"{ignore.read_text()}local/\n")
        editor.edit(ignore.as_uri(), (2, 0), (2, 0), "local/\n")
        editor.save(ignore.as_uri())
        await editor.until_inline(uri, 0, 20, lambda text: text == "")
        await editor.until_inline(uri, 1, 18, lambda text: text == "")


async def test_an_empty_project_is_indexed_with_its_first_file(tmp_path: Path) -> None:
    root = tmp_path / "empty"
    root.mkdir()
    async with connected_editor() as (editor, _):
        await editor.initialize(root, options=FAKE)
        await editor.until_indexed()
        first = root / "first.py"
        first.write_text("def zebra_crossing_width(lanes):\n    return 3 * lanes\n")
        editor.report_files((first, types.FileChangeType.Created))
        uri = (root / "second.py").as_uri()
        editor.open(uri, "w = zebra_cro")
        await editor.until_inline(uri, 0, 13, lambda text: text == "ssing_width(lanes):")
        assert editor.messages == []


async def test_a_folder_that_is_not_there_yet_is_indexed_once_it_is(tmp_path: Path) -> None:
    root = tmp_path / "new"
    first, second, installed = (root / name for name in ("a.py", "b.py", "node_modules/c.js"))
    async with connected_editor() as (editor, _):
        await editor.initialize(root, options=FAKE)
        await editor.until_indexed()
        editor.open(first.as_uri(), ONE_LINE)
        editor.rest(first.as_uri(), *AT_END)
        assert await editor.inline_text(first.as_uri(), *AT_END) == "idth(box)"
        editor.open(installed.as_uri(), ONE_LINE)
        assert await editor.inline_text(installed.as_uri(), *AT_END) == ""
        root.mkdir()
        second.write_text("def zebra_crossing_width(lanes):\n    return 3 * lanes\n")
        first.write_text("w = zebra_cro")
        editor.edit(first.as_uri(), (0, 0), (1, 17), "w = zebra_cro")
        editor.save(first.as_uri())
        await editor.until_inline(first.as_uri(), 0, 13, lambda text: text == "ssing_width(lanes):")
        assert editor.messages == []


async def test_a_folder_that_is_gone_is_completed_all_the_same(sample_repository: Path) -> None:
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=FAKE)
        await editor.until_indexed()
        uri = (sample_repository / "new.py").as_uri()
        editor.open(uri, ONE_LINE)
        assert await editor.inline_text(uri, *AT_END) == "idth(box)"
        sample_repository.rename(sample_repository.with_name("elsewhere"))
        editor.edit(uri, (0, 0), (0, 0), "# gone\n")
        editor.rest(uri, 2, 17)
        assert await editor.inline_text(uri, 2, 17) == "idth(box)"


async def test_documents_outside_every_folder_and_without_a_file(
    sample_repository: Path, tmp_path: Path
) -> None:
    async with started_editor() as editor:
        await editor.initialize(sample_repository, options=FAKE)
        for uri in ((tmp_path / "elsewhere.py").as_uri(), "untitled:Untitled-1"):
            editor.open(uri, ONE_LINE)
            assert await editor.inline_text(uri, *AT_END) == "idth(box)"
        assert await editor.inline_text("file:///never/opened.py", 0, 0) == ""
        await editor.until(lambda: any("never opened" in log for log in editor.logs))


async def test_what_is_no_file_yet_belongs_to_the_only_folder(sample_repository: Path) -> None:
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=FAKE)
        await editor.until_indexed()
        editor.open("untitled:Untitled-1", "price = price_with_d")
        await editor.until_inline("untitled:Untitled-1", 0, 20, lambda text: text.startswith("iscount("))
        editor.edit("untitled:Untitled-1", (0, 0), (0, 0), "# ")
        editor.save("untitled:Untitled-1")
        editor.close("untitled:Untitled-1")


async def test_bad_options_and_files_fall_back_and_the_user_is_told(sample_repository: Path) -> None:
    (sample_repository / "codefilter.toml").write_text("num_candidates = 'many'\n")
    options = {**FAKE, "filtre": "none", "max_new_tokens": -1, "max_lines": 0}
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=options)
        uri = (sample_repository / "new.py").as_uri()
        editor.open(uri, ONE_LINE)
        assert (await editor.inline_text(uri, *AT_END)).startswith("idth(box)")
        said = "\n".join(editor.messages)
        assert "Did you mean filter?" in said
        assert "max_new_tokens in the editor's options cannot be -1" in said
        assert "num_candidates in" in said
        assert len(editor.messages) == 3


async def test_unknown_names_are_told_and_the_defaults_complete(sample_repository: Path) -> None:
    async with connected_editor() as (editor, _):
        options = {**FAKE, "filter": "everything", "chunker": "sytnax"}
        await editor.initialize(sample_repository, options=options)
        await editor.until_indexed()
        uri = (sample_repository / "new.py").as_uri()
        editor.open(uri, ONE_LINE)
        assert await editor.inline_text(uri, *AT_END) == "idth(box)"
        assert "unknown filter 'everything'" in editor.messages[0]
        assert "unknown chunker 'sytnax'" in editor.messages[1]
        assert len(editor.messages) == 2


@pytest.fixture
def unopened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Chunkers with which the first index of a test was to be opened, while that failed."""
    really_open, failed = RepositoryIndex.open, list[str]()

    def open_index(root: Path, *, chunker: str, **others: Any) -> RepositoryIndex:
        if not failed:
            failed.append(chunker)
            time.sleep(2 * UPDATE_DELAY_SECONDS)  # a change that comes meanwhile has its turn
            raise IndexStorageError("the disk is full")
        return really_open(root, chunker=chunker, **others)

    monkeypatch.setattr(RepositoryIndex, "open", open_index)
    return failed


async def test_an_index_that_could_not_be_opened_is_tried_again_with_the_next_change(
    sample_repository: Path, unopened: list[str]
) -> None:
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=FAKE)
        uri = (sample_repository / "here.py").as_uri()
        editor.open(uri, "price = price_with_")  # noted while the index is being opened
        await editor.until(lambda: any("the disk is full" in message for message in editor.messages))
        editor.edit(uri, (0, 19), (0, 19), "d")
        await editor.until_inline(uri, 0, 20, lambda text: "iscount" in text)
        assert unopened == ["syntax"]


async def test_an_index_that_could_not_be_opened_is_tried_again_with_another_chunker(
    sample_repository: Path, unopened: list[str]
) -> None:
    async with connected_editor() as (editor, server):
        await editor.initialize(sample_repository, options=FAKE)
        await editor.until(lambda: any("the disk is full" in message for message in editor.messages))
        settings = types.DidChangeConfigurationParams({"codefilter": {"chunker": "window"}})
        editor.workspace_did_change_configuration(settings)
        folder = server.files.folder_of(sample_repository / "a.py")
        await editor.until(lambda: folder.index is not None)
        assert folder.index is not None
        assert folder.index.spec.chunker == "window"


async def test_another_chunker_counts_while_the_index_is_being_opened(
    sample_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_open, chunkers, may_open = RepositoryIndex.open, list[str](), threading.Event()

    def open_index(root: Path, *, chunker: str, **others: Any) -> RepositoryIndex:
        chunkers.append(chunker)
        may_open.wait(10)
        return really_open(root, chunker=chunker, **others)

    monkeypatch.setattr(RepositoryIndex, "open", open_index)
    async with connected_editor() as (editor, server):
        await editor.initialize(sample_repository, options=FAKE)
        await editor.until(lambda: bool(chunkers))
        settings = types.DidChangeConfigurationParams({"codefilter": {"chunker": "window"}})
        editor.workspace_did_change_configuration(settings)
        folder = server.files.folder_of(sample_repository / "a.py")
        await editor.until(lambda: folder.settings.chunker == "window")
        may_open.set()
        await editor.until(lambda: folder.index is not None and folder.index.spec.chunker == "window")
    assert chunkers == ["syntax", "window"]


async def test_folders_come_and_go(sample_repository: Path) -> None:
    async with connected_editor() as (editor, _):
        await editor.initialize(options=FAKE)
        uri = (sample_repository / "new.py").as_uri()
        editor.open(uri, "price = price_with_d")
        assert "iscount" not in await editor.inline_text(uri, 0, 20)
        folder = types.WorkspaceFolder(sample_repository.as_uri(), "shop")
        added = types.WorkspaceFoldersChangeEvent(added=[folder], removed=[])
        editor.workspace_did_change_workspace_folders(types.DidChangeWorkspaceFoldersParams(added))
        await editor.until_inline(uri, 0, 20, lambda text: "iscount" in text)
        removed = types.WorkspaceFoldersChangeEvent(added=[], removed=[folder])
        editor.workspace_did_change_workspace_folders(types.DidChangeWorkspaceFoldersParams(removed))
        assert "iscount" not in await editor.inline_text(uri, 0, 20)


@pytest.mark.parametrize("is_read", [False, True])
async def test_a_folder_that_goes_while_it_is_indexed_leaves_no_index(
    sample_repository: Path, monkeypatch: pytest.MonkeyPatch, is_read: bool
) -> None:
    really_open, begun, may_open = RepositoryIndex.open, threading.Event(), threading.Event()
    opened, closed = list[RepositoryIndex](), list[RepositoryIndex]()
    really_close = RepositoryIndex.close

    def open_index(root: Path, **others: Any) -> RepositoryIndex:
        if is_read:
            opened.append(really_open(root, **others))
        begun.set()
        may_open.wait(10)
        if not is_read:
            opened.append(really_open(root, **others))
        return opened[0]

    monkeypatch.setattr(RepositoryIndex, "open", open_index)
    monkeypatch.setattr(RepositoryIndex, "close", lambda index: (closed.append(index), really_close(index)))
    async with connected_editor() as (editor, server):
        await editor.initialize(sample_repository, options=FAKE)
        await editor.until(begun.is_set)
        folder = types.WorkspaceFolder(sample_repository.as_uri(), "shop")
        removed = types.WorkspaceFoldersChangeEvent(added=[], removed=[folder])
        editor.workspace_did_change_workspace_folders(types.DidChangeWorkspaceFoldersParams(removed))
        await editor.until(lambda: not server.files.roots)
        may_open.set()
        await editor.until(lambda: bool(closed))
        assert opened == closed * is_read  # what was not read yet is not read to its end either


async def test_shutdown_during_a_completion_does_not_wait_for_it(sample_repository: Path) -> None:
    async with started_editor() as editor:
        request = await ask_for_what_takes_minutes(editor, sample_repository)
        await within(editor.shutdown_async(None))
        editor.exit(None)
        with pytest.raises(JsonRpcException):
            await within(request)
        await editor.until(lambda: editor.exit_code is not None)  # the model would go on for minutes


async def test_a_notification_that_fails_leaves_its_traceback(
    sample_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected_editor() as (editor, server):
        await editor.initialize(sample_repository, options=FAKE)
        monkeypatch.setattr(server.answering.feedback, "closed", {}.__getitem__)
        editor.close("file:///gone.py")
        await editor.until(lambda: bool(editor.tracebacks))
        [traceback] = editor.tracebacks
        assert "in did_close" in traceback
        assert "KeyError: 'file:///gone.py'" in traceback
        editor.tracebacks.clear()  # it was wanted


def test_an_editor_that_vanishes_ends_the_server() -> None:
    done = subprocess.run(SERVER, input=b"", capture_output=True, timeout=30)
    assert done.returncode == 1  # without shutdown and exit
    assert done.stdout == b""


def test_what_libraries_print_does_not_reach_the_protocol() -> None:
    code = (
        "import os; from codefilter_lsp.__main__ import _claim_stdout; protocol = _claim_stdout();"
        "print('noise'); os.system('echo noise'); protocol.write(b'protocol'); protocol.flush()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30)
    assert done.stdout == b"protocol"
    assert done.stderr.count(b"noise") == 2


@pytest.mark.parametrize("address", ["localhost", ":1", "localhost:", "localhost:99999", "localhost:-1"])
def test_a_bad_address_is_a_usage_error(address: str) -> None:
    done = subprocess.run([*SERVER, f"--tcp={address}"], capture_output=True, timeout=30)
    assert done.returncode == 2
    assert b"is not HOST:PORT" in done.stderr


async def test_over_tcp_a_request_sees_the_text_before_later_edits_of_the_same_packet(
    sample_repository: Path,
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = await asyncio.create_subprocess_exec(*SERVER, "--tcp", f"127.0.0.1:{port}")
    editor = Editor()
    try:
        while not editor.is_connected:
            assert server.returncode is None
            await asyncio.sleep(0.1)
            with contextlib.suppress(ConnectionRefusedError):
                await editor.start_tcp("127.0.0.1", port)
        await within(editor.initialize(sample_repository, options=FAKE))
        uri = (sample_repository / "new.py").as_uri()
        editor.open(uri, ONE_LINE)
        request = asyncio.create_task(editor.inline(uri, *AT_END))
        await asyncio.sleep(0)  # the request is written ...
        editor.edit(uri, (0, 0), (1, 0), "")  # ... and what it is to copy is deleted
        [item] = await within(request)
        assert item.insert_text == "idth(box)"
        await within(editor.shutdown_async(None))
        editor.exit(None)
        assert await within(server.wait()) == 0
    finally:
        if server.returncode is None:
            server.kill()
        await within(editor.stop())
        if editor.protocol.writer is not None:
            editor.protocol.writer.close()  # which pygls leaves to the garbage collector


@pytest.mark.slow
@pytest.mark.usefixtures("default_model_pulled")
async def test_with_the_default_model(sample_repository: Path) -> None:
    async with started_editor() as editor:
        await editor.initialize(sample_repository)
        uri = (sample_repository / "shop" / "bill.py").as_uri()
        await editor.until_indexed()
        text = "from shop.orders import Order\n\n\ndef bill(order: Order) -> float:\n    return order."
        editor.open(uri, text)
        items = await within(editor.inline(uri, 4, 17), 120)
        assert items[0].insert_text.startswith("total_amount()")
