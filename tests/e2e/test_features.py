"""What the server does for a person all day, through a real client, with the fake model of `test_server`."""

from __future__ import annotations

import asyncio
import json
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcRequestCancelled

from codefilter.config import Settings, user_config_file
from codefilter.errors import CancelledError, CodeFilterError
from codefilter.feedback import FeedbackRecord, FeedbackStore, Outcome, feedback_file
from codefilter.index import RepositoryIndex
from codefilter.lm.base import Generation, GenerationOptions
from codefilter.lm.fake import FakeLanguageModel
from codefilter.source import SkipReason
from codefilter.types import FinishReason, LogLikelihood
from codefilter_lsp.consent import Wish, grant
from codefilter_lsp.server import CodeFilterServer
from codefilter_lsp.suggesting import Suggester
from tests.e2e.editor import Editor, connected_editor, within

FAKE = {"model": "fake", "filter": "all"}  # what a filter drops is no matter here
ONE_LINE = "width = compute_width(box)\nother = compute_w"
AT_END = (1, 17)


async def changed_settings(editor: Editor, settings: object = None) -> None:
    editor.workspace_did_change_configuration(types.DidChangeConfigurationParams(settings))
    await editor.command("codefilter.status")  # messages are handled in order ...
    await asyncio.sleep(0.05)  # ... but the settings are asked for


def last_log(editor: Editor, place: str) -> str:
    return [log for log in editor.logs if log.startswith(place)][-1]


async def test_settings_are_asked_for_and_followed_at_run_time(sample_repository: Path) -> None:
    uri = (sample_repository / "new.py").as_uri()
    settings: dict[str, Any] = {"filter": "none", "maxLines": 1}
    async with connected_editor() as (editor, server):
        editor.settings = lambda scope: settings
        await editor.initialize(sample_repository, options=FAKE)
        await editor.until(lambda: server.files.folder_of(sample_repository / "a").settings.filter == "none")
        methods = [registration.method for registration in editor.registrations]
        assert types.WORKSPACE_DID_CHANGE_CONFIGURATION in methods
        editor.open(uri, ONE_LINE)
        assert await editor.inline_text(uri, *AT_END) == "idth(box)"
        settings = {"enabled": False}
        await changed_settings(editor)
        assert await editor.inline_text(uri, *AT_END) == ""
        assert "switched off" in last_log(editor, "new.py:2")
        settings = {"filter": 3, "filtre": "none"}
        await changed_settings(editor)
        assert await editor.inline_text(uri, *AT_END) == "idth(box)"
        assert any("filter in the editor's options must be text" in message for message in editor.messages)
        assert any("Did you mean filter?" in message for message in editor.messages)


async def test_a_setting_that_is_removed_no_longer_counts(sample_repository: Path) -> None:
    settings: dict[str, Any] = {"filter": "none"}
    async with connected_editor() as (editor, server):
        editor.settings = lambda scope: settings
        await editor.initialize(sample_repository, options={**FAKE, "filter": "none"})
        folder = server.files.folder_of(sample_repository / "a")
        await editor.until(lambda: folder.settings.filter == "none")
        settings = {"filter": None}
        await changed_settings(editor)
        assert folder.settings.filter == Settings().filter


async def test_settings_that_are_sent_along_and_of_one_folder(tmp_path: Path) -> None:
    roots = [tmp_path / name for name in ("first", "second")]
    for root in roots:
        root.mkdir()
        (root / "code.py").write_text(f"def of_{root.name}(argument):\n    return 1\n")
    async with connected_editor() as (editor, server):
        await editor.initialize(*roots, options=FAKE)
        await changed_settings(editor, {"codefilter": {"num_candidates": 3}})
        assert server.files.folder_of(roots[0] / "code.py").settings.num_candidates == 3
    async with connected_editor() as (editor, server):
        editor.settings = lambda scope: {"filter": "none"} if scope == roots[1].as_uri() else None
        await editor.initialize(*roots, options=FAKE)
        await editor.until(lambda: server.files.folder_of(roots[1] / "code.py").settings.filter == "none")
        assert server.files.folder_of(roots[0] / "code.py").settings.filter == "all"


async def test_an_index_that_would_be_opened_after_the_shutdown_is_not(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("def one(argument):\n    return 1\n")
    async with connected_editor() as (editor, server):
        await editor.initialize(tmp_path, options=FAKE)
        await editor.until(lambda: tmp_path in server.files.roots)
        folder = server.files.folder_of(tmp_path / "code.py")
        server.abandon()
        with pytest.raises(CancelledError):
            await server.files._open_index(folder)  # as where cancelling its task came to nothing


async def test_what_is_switched_off_in_one_folder_only(tmp_path: Path) -> None:
    roots = [tmp_path / name for name in ("on", "off", "quiet")]
    for root in roots:
        root.mkdir()
        (root / "code.py").write_text(f"def of_{root.name}(argument):\n    return 1\n")
    chosen = {roots[1].as_uri(): {"enabled": False}, roots[2].as_uri(): {"feedback": False}}
    uris = [(root / "new.py").as_uri() for root in roots]
    async with connected_editor() as (editor, server):
        editor.settings = lambda scope: chosen.get(scope or "")
        await editor.initialize(*roots, options={**FAKE, "debounceMs": 0})
        await editor.until(lambda: not server.files.folder_of(roots[1] / "a").options.enabled)
        await editor.until(lambda: sum(value["kind"] == "end" for value in editor.progress) >= 3)
        for uri in uris:
            editor.open(uri, ONE_LINE)
        assert [await editor.inline_text(uri, *AT_END) for uri in uris] == ["idth(box)", "", "idth(box)"]
        for uri in (uris[2], uris[0]):
            [item] = await within(editor.inline(uri, *AT_END))
            editor.edit(uri, AT_END, AT_END, item.insert_text)
            await editor.command(item.command.command, *item.command.arguments)
            editor.save(uri)
        await editor.until(lambda: bool(records_of(editor)))
    assert [record.repository for record in records_of(editor)] == [str(roots[0])]


async def test_every_folder_has_its_own_index(tmp_path: Path) -> None:
    roots = [tmp_path / name for name in ("first", "second")]
    for root in roots:
        root.mkdir()
        (root / "code.py").write_text(f"def zebra_crossing(argument_of_{root.name}):\n    return 1\n")
    async with connected_editor() as (editor, _):
        await editor.initialize(*roots, options=FAKE)
        for root in roots:
            uri = (root / "new.py").as_uri()
            editor.open(uri, "x = zebra_cros")
            await editor.until_inline(uri, 0, 14, lambda text, root=root: root.name in text)  # type: ignore[misc]


async def test_languages_are_switched_on_and_off(sample_repository: Path) -> None:
    options = {**FAKE, "languages": {"*": False, "python": True}}
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=options)
        python, typescript = ((sample_repository / name).as_uri() for name in ("new.py", "new.ts"))
        editor.open(python, ONE_LINE)
        editor.open(typescript, ONE_LINE, "typescript")
        assert await editor.inline_text(python, *AT_END) == "idth(box)"
        assert await editor.inline_text(typescript, *AT_END) == ""
        assert "switched off for typescript" in last_log(editor, "new.ts:2")


async def test_snooze_status_and_its_notification(sample_repository: Path) -> None:
    uri = (sample_repository / "new.py").as_uri()
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options={**FAKE, "statusNotifications": True})
        editor.open(uri, ONE_LINE)
        snoozed = await editor.command("codefilter.snooze", 10)
        assert snoozed["kind"] == "Inactive"
        assert "10 more minutes" in snoozed["message"]
        assert await editor.inline_text(uri, *AT_END) == ""
        assert (await editor.command("codefilter.resume"))["kind"] == "Normal"
        assert await editor.inline_text(uri, *AT_END) == "idth(box)"
        await editor.until(lambda: "9 characters" in editor.statuses[-1]["message"])
        assert {"busy": True, "kind": "Normal", "message": "completing"} in editor.statuses
        assert any(status["kind"] == "Inactive" for status in editor.statuses)


async def test_the_status_says_what_is_whenever_completions_go_on_or_off(sample_repository: Path) -> None:
    uri, settings = (sample_repository / "new.py").as_uri(), dict[str, Any]()
    async with connected_editor() as (editor, _):
        editor.settings = lambda scope: settings
        await editor.initialize(sample_repository, options={**FAKE, "statusNotifications": True})
        await editor.until_indexed()
        editor.open(uri, ONE_LINE)
        await editor.inline_text(uri, *AT_END)
        completed = await editor.command("codefilter.status")
        assert completed["message"].startswith("9 characters")
        await editor.command("codefilter.snooze", 10)
        assert await editor.inline_text(uri, *AT_END) == ""
        assert "snoozed" in editor.statuses[-1]["message"]
        assert await editor.command("codefilter.resume") == completed
        assert editor.statuses[-1] == completed
        await editor.command("codefilter.snooze", 0.003)
        assert editor.statuses[-1]["kind"] == "Inactive"
        await editor.until(lambda: editor.statuses[-1] == completed)  # though nobody asked for anything
        settings = {"enabled": False}
        await changed_settings(editor)
        assert editor.statuses[-1]["message"] == "switched off in the editor's options"
        settings = {}
        await changed_settings(editor)
        assert editor.statuses[-1] == completed


async def test_a_request_that_is_cancelled_leaves_the_status_as_it_was(
    sample_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, go_on = (sample_repository / "new.py").as_uri(), threading.Event()

    def load_late(settings: Settings) -> FakeLanguageModel:
        go_on.wait(30)
        return FakeLanguageModel("fake")

    monkeypatch.setattr("codefilter_lsp.models.load_configured_model", load_late)
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options={**FAKE, "statusNotifications": True})
        editor.open(uri, ONE_LINE)
        await editor.until(lambda: bool(editor.statuses) and editor.statuses[-1]["message"] == "loading fake")
        request = asyncio.create_task(editor.inline(uri, *AT_END, request_id="slow"))
        await editor.until(lambda: editor.statuses[-1]["message"] == "completing")
        editor.cancel_request(types.CancelParams("slow"))
        with pytest.raises(JsonRpcRequestCancelled):
            await within(request)
        await editor.until(lambda: editor.statuses[-1]["message"] == "loading fake")
        go_on.set()
        await editor.until(lambda: editor.statuses[-1]["message"] == "ready")


async def test_the_reason_why_nothing_is_shown(sample_repository: Path) -> None:
    uri = (sample_repository / "new.py").as_uri()
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options={**FAKE, "filter": "top-k:1"})
        await editor.until_indexed()
        editor.open(uri, "\n")
        assert await editor.inline_text(uri, 1, 0) == ""
        status = await editor.command("codefilter.status")
        assert "the model wrote nothing" in status["message"] or "dropped by the rule" in status["message"]
        editor.open(uri, "price = price_with_d")
        await editor.inline_text(uri, 0, 20)
        message = (await editor.command("codefilter.status"))["message"]
        assert "retrieved, " in message
        assert " dropped" in message


async def test_the_status_says_that_the_index_is_not_there_yet(
    sample_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, go_on = (sample_repository / "new.py").as_uri(), threading.Event()
    opened = RepositoryIndex.open

    def open_late(*arguments: Any, **options: Any) -> RepositoryIndex:
        go_on.wait(30)
        return opened(*arguments, **options)

    monkeypatch.setattr(RepositoryIndex, "open", open_late)
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=FAKE)
        editor.open(uri, ONE_LINE)
        assert await editor.inline_text(uri, *AT_END) == "idth(box)"
        said = "9 characters; 0 retrieved, 0 dropped; the folder is still being indexed"
        assert (await editor.command("codefilter.status"))["message"] == said
        go_on.set()
        await editor.until_indexed()
        await editor.inline_text(uri, *AT_END)
        assert "indexed" not in (await editor.command("codefilter.status"))["message"]


async def test_a_missing_model_is_the_status(sample_repository: Path) -> None:
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository)
        uri = (sample_repository / "new.py").as_uri()
        editor.open(uri, ONE_LINE)
        assert await editor.inline_text(uri, *AT_END) == ""
        assert "codefilter models pull" in (await editor.command("codefilter.status"))["message"]


async def test_explanations_and_acceptance(sample_repository: Path) -> None:
    uri = (sample_repository / "shop" / "new.py").as_uri()
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options={**FAKE, "filter": "top-k:1"})
        assert await editor.command("codefilter.explain") is None
        await editor.until_indexed()
        editor.open(uri, "price = price_with_d")
        [item] = await within(editor.inline(uri, 0, 20))
        explanation = await editor.command("codefilter.explain")
        verdicts = [(chunk["keep"], chunk["in_prompt"], chunk["reason"]) for chunk in explanation["chunks"]]
        assert verdicts[0] == (True, True, "rank 1, 1 are kept")
        assert verdicts[1] == (False, False, "rank 2, 1 are kept")
        [page] = editor.documents_shown
        text = Path(page.removeprefix("file://")).read_text()
        assert "shop/pricing.py" in text
        assert "rank 2, 1 are kept" in text
        assert item.command.command == "codefilter.accept"
        assert await editor.command("codefilter.explain", item.command.arguments[0], {"show": False})
        assert len(editor.documents_shown) == 1
        for number in range(30):
            editor.open(uri, f"{'#' * number} price = price_with_d")
            await editor.inline_text(uri, 0, 21 + number)
            await editor.command("codefilter.explain")
        assert len(set(editor.documents_shown)) == 31
        assert sum(Path(shown.removeprefix("file://")).exists() for shown in editor.documents_shown) == 20
        assert await editor.command(item.command.command, *item.command.arguments) is None
        plain = json.loads(json.dumps(editor.protocol._converter.unstructure(item)))
        editor.protocol.notify("textDocument/didShowCompletion", {"item": plain})
        partly = {"item": plain, "acceptedLength": 3}
        editor.protocol.notify("textDocument/didPartiallyAcceptCompletion", partly)
        for wrong in ({}, {"item": None}, {"item": {"command": {"arguments": ["x"]}}}, {"item": []}):
            editor.protocol.notify("textDocument/didShowCompletion", wrong)
        assert await editor.command("codefilter.accept", "unknown", 7) is None
        with pytest.raises(JsonRpcException):
            await editor.command("codefilter.unknown")


async def test_who_asks_for_an_explanation_too_early_is_told_every_time(sample_repository: Path) -> None:
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=FAKE)
        for _ in range(2):
            assert await editor.command("codefilter.explain") is None
        assert await editor.command("codefilter.explain", {"show": False}) is None
        assert editor.messages == ["CodeFilter: nothing was asked for yet."] * 2


async def test_what_each_chunk_did_for_a_completion(sample_repository: Path) -> None:
    uri = (sample_repository / "shop" / "new.py").as_uri()
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=FAKE)
        assert await editor.command("codefilter.attribute") == {}
        await editor.until_indexed()
        editor.open(uri, "price = price_with_d")
        await editor.inline_text(uri, 0, 20)
        impacts = await editor.command("codefilter.attribute")
        chunks = (await editor.command("codefilter.explain", {"show": False}))["chunks"]
        assert set(impacts) == {chunk["id"] for chunk in chunks}
        best = max(chunks, key=lambda chunk: impacts[chunk["id"]])
        assert best["path"] == "shop/pricing.py"  # the fake model copied it from there
        assert impacts[best["id"]] > 1
        assert {chunk["id"]: chunk["impact_nats"] for chunk in chunks} == impacts
        [page] = editor.documents_shown
        rows = [
            line for line in Path(page.removeprefix("file://")).read_text().split("\n") if line[:3] == "| u"
        ]
        assert f"{best['path']}:{best['start_line']}" in rows[0]  # the best first
        assert f"| {best['impact_nats']:+.2f} |" in rows[0]
        assert sum(abs(impact) < 0.5 for impact in impacts.values()) >= len(impacts) - 2


async def test_the_trained_filter_is_on_by_default(sample_repository: Path) -> None:
    uri = (sample_repository / "shop" / "new.py").as_uri()
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options={"model": "fake"})
        await editor.until_indexed()
        editor.open(uri, "from shop.pricing import price_with_discount\n\nprice = price_with_d")
        await editor.inline_text(uri, 2, 20)
        chunks = (await editor.command("codefilter.explain", {"show": False}))["chunks"]
        assert chunks
        assert all("% likely to help" in chunk["reason"] for chunk in chunks)


async def test_menu_items_are_resolved(sample_repository: Path) -> None:
    async with connected_editor() as (editor, _):
        result = await editor.initialize(sample_repository, options=FAKE, inline=False)
        assert result.capabilities.completion_provider is not None
        assert result.capabilities.completion_provider.resolve_provider
        uri = (sample_repository / "new.py").as_uri()
        editor.open(uri, ONE_LINE)
        [item] = await editor.menu(uri, *AT_END)
        assert item.documentation is None
        resolved = await within(editor.completion_item_resolve_async(item))
        assert isinstance(resolved.documentation, types.MarkupContent)
        assert "compute_width(box)" in resolved.documentation.value
        assert "9 characters" in resolved.documentation.value
        unknown = await within(editor.completion_item_resolve_async(types.CompletionItem("x", data=[1])))
        assert unknown.label == "x"


async def test_a_menu_item_is_named_by_its_first_line_that_holds_something(sample_repository: Path) -> None:
    function = "def add_up(values):\n    total = sum(values)\n    return total\n\n\n"
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options={**FAKE, "filter": "none"}, inline=False)
        uri = (sample_repository / "new.py").as_uri()
        editor.open(uri, f"{function}def add_up(values):")
        [item] = await editor.menu(uri, 5, 19)
    assert (item.label, item.filter_text) == ("total = sum(values) …", "")
    assert isinstance(item.text_edit, types.TextEdit)
    assert item.text_edit.new_text == "\n    total = sum(values)\n    return total"


async def test_several_candidates_on_explicit_request(
    sample_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = (sample_repository / "new.py").as_uri()
    asked: list[int] = []

    def generate(
        model: FakeLanguageModel, prompt: object, options: GenerationOptions, cancellation: object = None
    ) -> list[Generation]:
        if options.max_new_tokens > 1:  # with 1 it only warms up
            asked.append(options.num_candidates)
        texts = ["(box))", "(box)", "(lid)", "(box)", ""][: options.num_candidates]
        return [Generation(text, (), LogLikelihood(0.0, ()), FinishReason.END, 0, 0.0, 0.0) for text in texts]

    monkeypatch.setattr(FakeLanguageModel, "generate", generate)
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options={**FAKE, "candidates": 6, "filter": "none"})
        editor.open(uri, "other = compute_width")
        automatic = await within(editor.inline(uri, 0, 21))
        invoked = await within(editor.inline(uri, 0, 21, invoked=True))
    assert [item.insert_text for item in automatic] == ["(box))"]
    assert [item.insert_text for item in invoked] == ["(box)", "(lid)", "(box))"]  # what parses comes first
    assert asked == [1, 1, 5]


async def test_typing_along_asks_no_model(sample_repository: Path) -> None:
    uri = (sample_repository / "new.py").as_uri()
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options={**FAKE, "debounceMs": 0})
        await editor.until_indexed()
        editor.open(uri, ONE_LINE)
        assert await editor.inline_text(uri, *AT_END) == "idth(box)"
        editor.edit(uri, AT_END, AT_END, "id")
        assert await editor.inline_text(uri, 1, 19) == "th(box)"
        assert "typed along" in last_log(editor, "new.py:2")
        editor.edit(uri, (1, 19), (1, 19), "th(")
        editor.edit(uri, (1, 22), (1, 22), ")")  # what editors put there
        assert await editor.inline_text(uri, 1, 22) == "box"
        assert "typed along" in last_log(editor, "new.py:2")
        editor.edit(uri, (1, 17), (1, 23), "")
        assert await editor.inline_text(uri, *AT_END) == "idth(box)"
        assert "asked before" in last_log(editor, "new.py:2")


async def test_what_was_answered_is_not_used_when_another_file_changes(sample_repository: Path) -> None:
    here, there = ((sample_repository / name).as_uri() for name in ("here.py", "there.py"))
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=FAKE)
        await editor.until_indexed()
        editor.open(here, "w = zebra_cro")
        await editor.inline_text(here, 0, 13)
        await editor.inline_text(here, 0, 13)
        assert "asked before" in last_log(editor, "here.py:1")
        editor.open(there, "def zebra_crossing(lanes):\n    return 3\n")
        await editor.until_inline(here, 0, 13, lambda text: text == "ssing(lanes):")


async def test_what_changes_nothing_that_is_read_spoils_no_answer(sample_repository: Path) -> None:
    here, there = sample_repository / "here.py", sample_repository / "shop" / "orders.py"
    touched = [sample_repository / name for name in (".git/index", "build/new.py", "shop/pricing.py")]
    touched[0].parent.mkdir()
    async with connected_editor() as (editor, server):
        await editor.initialize(sample_repository, options=FAKE)
        await editor.until_indexed()
        editor.open(here.as_uri(), "w = zebra_cro")
        editor.open(there.as_uri(), there.read_text())
        while "asked before" not in "".join(editor.logs[-1:]):
            await editor.inline_text(here.as_uri(), 0, 13)
        for path in touched:  # git's own, ignored, written again as it was
            path.write_text(path.read_text() if path.exists() else "x = 1\n")
        editor.report_files(*((path, types.FileChangeType.Changed) for path in touched))
        editor.save(there.as_uri())
        folder = server.files.folder_of(here)
        await editor.until(lambda: not folder.changes)  # they were looked at
        await editor.command("codefilter.status")
        await editor.inline_text(here.as_uri(), 0, 13)
        assert "asked before" in editor.logs[-1]


async def test_a_bracket_that_the_editor_closed_stands_once(sample_repository: Path) -> None:
    known = "total = add_up(first, second)\n"
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options={**FAKE, "filter": "none"})
        uri = (sample_repository / "new.py").as_uri()
        editor.open(uri, f"{known}other = add_up")
        assert await editor.inline_text(uri, 1, 14) == "(first, second)"
        editor.edit(uri, (1, 14), (1, 14), "(fi)")
        assert await editor.inline_text(uri, 1, 17) == "rst, second"


async def test_several_lines_where_a_block_opens_and_one_inside_a_line(sample_repository: Path) -> None:
    function = "def add_up(values):\n    total = sum(values)\n    return total\n\n\n"
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options={**FAKE, "filter": "none"})
        uri = (sample_repository / "new.py").as_uri()
        editor.open(uri, f"{function}def add_up(values):")
        assert await editor.inline_text(uri, 5, 19) == "\n    total = sum(values)\n    return total"
        editor.open(uri, f"{function}x = add_up() + 1\n")
        editor.edit(uri, (5, 4), (5, 10), "ad")
        assert "\n" not in await editor.inline_text(uri, 5, 6)


async def test_several_lines_between_braces_that_the_editor_closed(sample_repository: Path) -> None:
    function = "function add(first, second) {\n  const sum = first + second;\n  return sum;\n}\n\n"
    async with connected_editor() as (editor, _):
        # the fake model ends where it copies a control token: that before the hole
        await editor.initialize(sample_repository, options={**FAKE, "filter": "none", "hole_lines": 0})
        uri = (sample_repository / "web" / "add.ts").as_uri()
        editor.open(uri, f"{function}function add(first, second) {{}}\n", "typescript")
        inner = "\n  const sum = first + second;\n  return sum;\n"
        assert await editor.inline_text(uri, 5, 29) == inner


@pytest.mark.parametrize(
    "name", [".env", "build/settings.py", "deploy/id_rsa", "node_modules/a.js", ".git/config"]
)
async def test_secret_and_ignored_files_are_not_completed(sample_repository: Path, name: str) -> None:
    async with connected_editor() as (editor, server):
        await editor.initialize(sample_repository, options=FAKE)
        uri = (sample_repository / name).as_uri()
        editor.open(uri, ONE_LINE)
        assert await editor.inline_text(uri, *AT_END) == ""
        assert "nothing: " in last_log(editor, f"{name}:2")
        answer = server.answering.answers.last
        assert answer is not None
        assert answer.suggestions is None


@pytest.mark.parametrize("uri", ["untitled:/w/.env", "untitled:/w/.ssh/config", "git:/w/.env?%7B%7D"])
async def test_secrets_that_are_no_file_yet_are_not_completed(sample_repository: Path, uri: str) -> None:
    async with connected_editor() as (editor, server):
        await editor.initialize(sample_repository, options=FAKE)
        editor.open(uri, ONE_LINE, "plaintext")
        assert await editor.inline_text(uri, *AT_END) == ""
        answer = server.answering.answers.last
        assert answer is not None
        assert answer.reason == SkipReason.SECRET.value


async def test_files_that_are_renamed_and_deleted_in_the_editor(sample_repository: Path) -> None:
    uri = (sample_repository / "here.py").as_uri()
    old, new = (sample_repository / name for name in ("old.py", "new_name.py"))
    old.write_text("def zebra_crossing_width(lanes):\n    return 3\n")
    async with connected_editor() as (editor, server):
        await editor.initialize(sample_repository, options=FAKE)
        editor.open(uri, "w = zebra_cro")
        await editor.until_inline(uri, 0, 13, lambda text: text == "ssing_width(lanes):")
        old.rename(new)
        renamed = types.RenameFilesParams([types.FileRename(old.as_uri(), new.as_uri())])
        editor.workspace_did_rename_files(renamed)
        index = server.files.folder_of(new).index
        assert index is not None
        await editor.until(lambda: "new_name.py" in index.paths and "old.py" not in index.paths)
        new.unlink()
        editor.workspace_did_delete_files(types.DeleteFilesParams([types.FileDelete(new.as_uri())]))
        await editor.until_inline(uri, 0, 13, lambda text: "ssing" not in text)


async def test_a_folder_that_is_renamed_in_the_editor_keeps_its_files_in_the_index(
    sample_repository: Path,
) -> None:
    old, new = (sample_repository / name for name in ("shop", "store"))
    async with connected_editor() as (editor, server):
        await editor.initialize(sample_repository, options=FAKE)
        await editor.until_indexed()
        old.rename(new)
        renamed = types.RenameFilesParams([types.FileRename(old.as_uri(), new.as_uri())])
        editor.workspace_did_rename_files(renamed)
        index = server.files.folder_of(new).index
        assert index is not None
        await editor.until(lambda: "store/pricing.py" in index.paths and "shop/pricing.py" not in index.paths)


async def test_a_switch_of_branches_is_noticed_without_watched_files(
    sample_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codefilter_lsp.workspace._GIT_CHECK_SECONDS", 0.0)
    head = sample_repository / ".git" / "HEAD"
    head.parent.mkdir()
    head.write_text("ref: refs/heads/main\n")
    uri = (sample_repository / "here.py").as_uri()
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=FAKE)
        await editor.until_indexed()
        editor.open(uri, "w = zebra_cro")
        assert "ssing" not in await editor.inline_text(uri, 0, 13)
        (sample_repository / "there.py").write_text("def zebra_crossing(of_branch):\n    return 3\n")
        head.write_text("ref: refs/heads/other\n")
        await editor.until_inline(uri, 0, 13, lambda text: text == "ssing(of_branch):")


async def test_a_project_cannot_choose_what_is_loaded_or_contacted(sample_repository: Path) -> None:
    uri = (sample_repository / "new.py").as_uri()
    hostile = {"model": "remote:https://example.com/steal", "filter": "none"}
    async with connected_editor() as (editor, server):
        await editor.initialize(sample_repository, options=hostile)
        await editor.until(lambda: bool(editor.messages))
        assert "remote:https://example.com/steal" in editor.questions[0]
        settings = server.files.folder_of(sample_repository / "new.py").settings
        assert (settings.model, settings.filter) == ("qwen2.5-coder-0.5b", "none")
        await changed_settings(editor, hostile)
        assert len(editor.questions) == 1
        editor.open(uri, ONE_LINE)
        await editor.inline_text(uri, *AT_END)
        assert not any("example.com" in log for log in editor.logs)


async def test_the_user_can_allow_it_once_and_for_all(sample_repository: Path) -> None:
    options = {"model": str(sample_repository / "model")}
    for answer in ("Allow", None):
        async with connected_editor() as (editor, server):
            editor.answer_to_questions = answer
            await editor.initialize(sample_repository, options=options)
            folder = server.files.folder_of(sample_repository / "new.py")
            await editor.until(lambda folder=folder: folder.settings.model == options["model"])  # type: ignore[misc]
            assert len(editor.questions) == (1 if answer else 0)


async def test_consent_counts_for_the_options_of_its_own_time_and_for_single_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = [tmp_path / name for name in ("first", "second")]
    for root in roots:
        root.mkdir()
    settings = {"filter": "none"}
    answer = asyncio.get_running_loop().create_future()
    async with connected_editor() as (editor, server):
        asked: list[types.ShowMessageRequestParams] = []
        ask = "window_show_message_request_async"
        monkeypatch.setattr(server, ask, lambda params: asked.append(params) or answer)
        editor.settings = lambda scope: (
            {"engine": "torch", **settings} if scope == roots[1].as_uri() else settings
        )
        await editor.initialize(*roots)
        await editor.until(lambda: bool(asked))
        assert "engine = torch" in asked[0].message
        first, second = (server.files.folder_of(root / "a.py") for root in roots)
        settings = {"filter": "all"}
        await changed_settings(editor)
        answer.set_result(types.MessageActionItem("Allow"))
        await editor.until(lambda: second.settings.engine == "torch")
        assert (first.settings.engine, first.settings.filter) == (Settings().engine, "all")
        assert second.settings.filter == "all"
        assert len(asked) == 1


async def test_what_the_users_own_file_says_needs_no_question(sample_repository: Path) -> None:
    user_config_file().parent.mkdir(parents=True)
    user_config_file().write_text('model = "/models/mine"\n')
    async with connected_editor() as (editor, server):
        await editor.initialize(sample_repository, options={"model": "/models/mine"})
        folder = server.files.folder_of(sample_repository / "new.py")
        await editor.until(lambda: folder.settings.model == "/models/mine")
        assert editor.questions == []


async def test_the_model_unloads_when_idle_and_comes_back(sample_repository: Path) -> None:
    uri = (sample_repository / "new.py").as_uri()
    async with connected_editor() as (editor, server):
        await editor.initialize(sample_repository, options={**FAKE, "idle_unload_minutes": 0.002})
        editor.open(uri, ONE_LINE)
        assert await editor.inline_text(uri, *AT_END) == "idth(box)"
        await editor.until(lambda: any("unloaded" in log for log in editor.logs))
        # a warm start may have come between
        await editor.until(lambda: server.answering._models._loaded == {})
        editor.edit(uri, (0, 0), (0, 0), "# a key\n")
        assert await editor.inline_text(uri, 2, 17) == "idth(box)"


async def test_chunks_that_take_too_long_are_left_out_and_read_in_the_next_pause(
    sample_repository: Path, tmp_path: Path
) -> None:
    uri, outside = (sample_repository / "new.py").as_uri(), (tmp_path / "outside.py").as_uri()
    options = {**FAKE, "model": "fake:prompt_ms=0.5", "latency_budget_ms": 200, "debounce_ms": 0}
    async with connected_editor() as (editor, server):
        await editor.initialize(sample_repository, options=options)
        await editor.until_indexed()
        editor.open(outside, "a text of some length, so that the speed is known")
        await editor.inline_text(outside, 0, 49)
        editor.open(uri, "other = price_with_d")
        await editor.inline_text(uri, 0, 20)
        assert "to answer in time" in last_log(editor, "new.py:1")
        first = server.answering.answers.last
        assert first is not None
        assert first.request.prefix == "other = price_with_d"  # the text itself is never cut
        await editor.until_inline(uri, 0, 20, lambda text: text.startswith("iscount(net_price"))


def times_read_ahead(editor: Editor) -> int:
    return sum("read ahead" in log for log in editor.logs)


async def until_the_model_is_idle(editor: Editor, server: CodeFilterServer) -> None:
    await editor.command("codefilter.status")  # messages are handled in order, and background work begins
    await asyncio.get_running_loop().run_in_executor(server.answering._model_thread, bool)
    await editor.command("codefilter.status")


async def loaded_editor(editor: Editor, server: CodeFilterServer, folder: Path, options: object) -> str:
    """Make the editor open a file, and wait for the model and the index; the file's URI."""
    uri = (folder / "new.py").as_uri()
    await editor.initialize(folder, options=options)
    await editor.until_indexed()
    editor.open(uri, "x = 1\nother = price_with_d\n")
    await editor.until(lambda: bool(server.answering._models._loaded))
    return uri


async def test_the_place_where_the_cursor_rests_is_read_once_and_before_a_key_is_pressed(
    sample_repository: Path,
) -> None:
    async with connected_editor() as (editor, server):
        uri = await loaded_editor(editor, server, sample_repository, {**FAKE, "debounce_ms": 0})
        editor.rest("file:///never/opened.py", 0, 0)
        editor.rest(uri, 1, 20)
        await editor.until(lambda: times_read_ahead(editor) == 1)
        editor.edit(uri, (1, 20), (1, 20), "i")
        assert (await editor.inline_text(uri, 1, 21)).startswith("scount(net_price")
        answer = server.answering.answers.last
        assert answer is not None
        assert answer.suggestions is not None
        assert answer.suggestions.prompt_tokens > 200
        num_new = answer.suggestions.prompt_tokens - answer.suggestions.completion.num_reused_tokens
        assert num_new <= 2  # what was typed
        editor.rest(uri, 1, 21)  # the pause after the answer
        editor.rest(uri, 0, 5)
        await editor.until(lambda: times_read_ahead(editor) == 2)
        editor.rest(uri, 0, 5)
        await until_the_model_is_idle(editor, server)
        assert times_read_ahead(editor) == 2


@pytest.mark.parametrize("why_not", ["switched off", "no model", "secret", "a request"])
async def test_nothing_is_read_ahead_where_it_does_not_serve(sample_repository: Path, why_not: str) -> None:
    options = {**FAKE, "model": "fake:prompt_ms=1", "readAhead": why_not != "switched off", "debounce_ms": 0}
    async with connected_editor() as (editor, server):
        uri = await loaded_editor(editor, server, sample_repository, options)
        if why_not == "no model":
            await asyncio.get_running_loop().run_in_executor(
                server.answering._model_thread, server.answering._keep_models, ()
            )
        elsewhere = (sample_repository / ".env").as_uri()
        editor.open(elsewhere, "SECRET = 1\n")
        editor.rest(elsewhere if why_not == "secret" else uri, 0, 5)
        if why_not == "a request":  # stops it
            await editor.inline_text(uri, 1, 20)
        await until_the_model_is_idle(editor, server)
        assert times_read_ahead(editor) == 0
        assert bool(server.answering._models._loaded) == (why_not != "no model")


async def test_a_server_reads_nothing_that_nobody_asked_for(
    sample_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, outside = "remote:http://127.0.0.1:1/", (tmp_path / "outside.py").as_uri()
    fake = FakeLanguageModel("fake:prompt_ms=0.5")
    monkeypatch.setattr("codefilter_lsp.models.load_configured_model", lambda settings: fake)
    grant([Wish("model", model)])
    options = {**FAKE, "model": model, "latency_budget_ms": 200, "debounce_ms": 0}
    async with connected_editor() as (editor, server):
        uri = await loaded_editor(editor, server, sample_repository, options)
        editor.open(outside, "a text of some length, so that the speed is known")
        await editor.inline_text(outside, 0, 49)
        editor.rest(uri, 1, 20)
        await editor.inline_text(uri, 1, 20)
        assert "to answer in time" in last_log(editor, "new.py:2")
        await until_the_model_is_idle(editor, server)
        assert times_read_ahead(editor) == 0


async def test_requests_of_the_wrong_form_are_answered(sample_repository: Path) -> None:
    uri = (sample_repository / "new.py").as_uri()
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=FAKE)
        editor.open(uri, ONE_LINE)
        wrong = [{}, [], {"textDocument": 3}, {"textDocument": {"uri": uri}, "position": {"line": "x"}}]
        for params in wrong:
            body = {"jsonrpc": "2.0", "id": 77, "method": "textDocument/inlineCompletion", "params": params}
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            editor.protocol._request_futures[77] = future  # type: ignore[assignment]
            editor.protocol._send_data(body)
            with pytest.raises(JsonRpcException):
                await within(future)
        editor.edit("file:///never/opened.py", (0, 0), (9, 9), "x")
        beyond = await editor.inline_text(uri, 99, 99)
        assert isinstance(beyond, str)
        assert await editor.inline_text(uri, *AT_END) == "idth(box)"


async def test_who_types_on_gets_the_newest_answer_only(sample_repository: Path) -> None:
    uri = (sample_repository / "new.py").as_uri()
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options={"model": "fake:prompt_ms=1", "filter": "none"})
        editor.open(uri, ONE_LINE)
        requests = []
        for column in range(10, 18):
            requests.append(asyncio.create_task(editor.inline(uri, 1, column)))
            await asyncio.sleep(0.01)
        *older, newest = await within(asyncio.gather(*requests, return_exceptions=True))
        assert all(isinstance(answer, JsonRpcRequestCancelled) for answer in older)
        assert [item.insert_text for item in newest] == ["idth(box)"]


async def test_nothing_of_an_edit_stays(sample_repository: Path) -> None:
    uri = (sample_repository / "new.py").as_uri()
    async with connected_editor() as (editor, server):
        await editor.initialize(sample_repository, options=FAKE)
        editor.open(uri, ONE_LINE)
        for _ in range(50):
            editor.edit(uri, (0, 0), (0, 0), "# a key\n")
        await editor.command("codefilter.status")
        await asyncio.sleep(0)
        assert len(server.protocol._request_futures) < 10  # pygls alone keeps two for every edit


@pytest.mark.parametrize("newer", ["asked before", "switched off"])
async def test_a_newer_request_that_needs_no_model_replaces_the_older_too(
    sample_repository: Path, newer: str
) -> None:
    short, long, off = ((sample_repository / name).as_uri() for name in ("short.py", "long.py", "off.go"))
    options = {**FAKE, "model": "fake:prompt_ms=5", "filter": "none", "languages": {"go": False}}
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=options)
        await editor.until_indexed()
        editor.open(short, ONE_LINE)
        editor.open(long, "# takes seconds to read\n" * 200 + ONE_LINE)
        editor.open(off, ONE_LINE, "go")
        while "asked before" not in "".join(editor.logs[-1:]):  # until the index has all of them
            await editor.inline_text(short, *AT_END)
        older = asyncio.create_task(editor.inline(long, 201, 17))
        await asyncio.sleep(0)  # it is sent
        await editor.inline_text(short if newer == "asked before" else off, *AT_END)
        assert newer in "".join(editor.logs[-1:])
        with pytest.raises(JsonRpcRequestCancelled):
            await within(older, 5)
        assert newer in (await editor.command("codefilter.status"))["message"]


def records_of(editor: Editor) -> list[FeedbackRecord]:
    store = FeedbackStore()
    try:
        return list(store.records())
    finally:
        store.close()


async def type_and_take(editor: Editor, uri: str, taken: str) -> None:
    """Take a completion at the end of `ONE_LINE`, as far as `taken` says, typing its first two letters."""
    await within(editor.inline(uri, *AT_END))
    editor.edit(uri, AT_END, AT_END, "id")
    [item] = await within(editor.inline(uri, 1, 19))
    editor.edit(uri, (1, 19), (1, 19), taken)
    if taken == item.insert_text:
        await editor.command(item.command.command, *item.command.arguments)
    else:
        plain = {"command": {"arguments": list(item.command.arguments)}}
        params = {"item": plain, "acceptedLength": len(taken)}
        editor.protocol.notify("textDocument/didPartiallyAcceptCompletion", params)


@pytest.mark.parametrize(
    ("taken", "then", "outcome", "final"),
    [
        ("th(box)", "", Outcome.ACCEPTED, "idth(box)"),
        ("th(box)", " + 1", Outcome.EDITED, "idth(box) + 1"),
        ("th(box)", "\nnext_one = 1", Outcome.ACCEPTED, "idth(box)"),
        ("th", "", Outcome.PARTLY_ACCEPTED, "idth"),
    ],
)
async def test_feedback_of_what_is_taken(
    sample_repository: Path, taken: str, then: str, outcome: Outcome, final: str
) -> None:
    uri = (sample_repository / "new.py").as_uri()
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options={**FAKE, "debounce_ms": 0})
        await editor.until_indexed()  # else the index may come between two requests
        editor.open(uri, ONE_LINE)
        await type_and_take(editor, uri, taken)
        end = (1, 19 + len(taken))
        editor.edit(uri, end, end, then)
        editor.edit(uri, (0, 0), (0, 0), "# above\n")
        editor.save(uri)
        await editor.until(lambda: len(records_of(editor)) == 1)
    [record] = records_of(editor)
    assert (record.outcome, record.final_text, record.text) == (outcome, final, "idth(box)")
    assert record.accepted_characters == len("id" + taken)
    assert record.before.endswith("other = compute_w")
    assert record.repository == str(sample_repository)


async def test_feedback_of_what_is_taken_from_the_menu(sample_repository: Path) -> None:
    uri = (sample_repository / "new.py").as_uri()
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=FAKE, inline=False)
        await editor.until_indexed()
        editor.open(uri, ONE_LINE)
        [item] = await editor.menu(uri, *AT_END)
        assert isinstance(item.text_edit, types.TextEdit)
        assert item.command is not None
        editor.edit(uri, (1, 8), AT_END, item.text_edit.new_text)
        await editor.command(item.command.command, *(item.command.arguments or ()))
        editor.save(uri)
        await editor.until(lambda: len(records_of(editor)) == 1)
    [record] = records_of(editor)
    assert (record.outcome, record.final_text) == (Outcome.ACCEPTED, "idth(box)")


async def test_feedback_of_what_is_shown_and_not_taken(sample_repository: Path) -> None:
    uri = (sample_repository / "new.py").as_uri()
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=FAKE)
        await editor.until_indexed()  # else the index may come between two requests
        editor.open(uri, ONE_LINE)
        [item] = await within(editor.inline(uri, *AT_END))
        plain = {"command": {"arguments": list(item.command.arguments)}}
        editor.protocol.notify("textDocument/didShowCompletion", {"item": plain})
        editor.edit(uri, AT_END, AT_END, "eight(box)\nlast = compute_w")
        await within(editor.inline(uri, 2, 16))  # never shown
        editor.close(uri)
        await editor.until(lambda: len(records_of(editor)) == 1)
    [record] = records_of(editor)
    assert record.outcome is Outcome.REJECTED
    assert (record.final_text or "").startswith("eight(box)")


async def test_what_is_typed_by_hand_to_its_end_was_not_rejected(sample_repository: Path) -> None:
    uri = (sample_repository / "new.py").as_uri()
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=FAKE)
        await editor.until_indexed()  # else the index may come between two requests
        editor.open(uri, ONE_LINE)
        [item] = await within(editor.inline(uri, *AT_END))
        plain = {"command": {"arguments": list(item.command.arguments)}}
        editor.protocol.notify("textDocument/didShowCompletion", {"item": plain})
        editor.edit(uri, AT_END, AT_END, "idth(box)\nlast = compute_w")
        await within(editor.inline(uri, 2, 16))
        editor.close(uri)
        await editor.until(lambda: len(records_of(editor)) == 1)
    [record] = records_of(editor)
    assert record.outcome is Outcome.SHOWN
    assert (record.final_text or "").startswith(record.text)


async def test_feedback_can_be_switched_off_and_deleted(sample_repository: Path) -> None:
    uri = (sample_repository / "new.py").as_uri()
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options={**FAKE, "feedback": False, "debounce_ms": 0})
        await editor.until_indexed()  # else the index may come between two requests
        editor.open(uri, ONE_LINE)
        await type_and_take(editor, uri, "th(box)")
        editor.save(uri)
    assert not feedback_file().exists()
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options={**FAKE, "debounce_ms": 0})
        await editor.until_indexed()  # else the index may come between two requests
        editor.open(uri, ONE_LINE)
        await type_and_take(editor, uri, "th(box)")
        editor.save(uri)
        await editor.until(lambda: len(records_of(editor)) == 1)
        await editor.command("codefilter.deleteFeedback")
        await editor.until(lambda: records_of(editor) == [])


async def test_feedback_that_cannot_be_deleted_is_told_every_time(
    sample_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def delete(store: FeedbackStore, **which: object) -> int:
        raise CodeFilterError("the disk is full", hint="Free some space.")

    monkeypatch.setattr(FeedbackStore, "delete", delete)
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=FAKE)
        for _ in range(2):
            await editor.command("codefilter.deleteFeedback")
        await editor.until(lambda: len(editor.messages) == 2)
    assert set(editor.messages) == {"CodeFilter: nothing was deleted. the disk is full. Free some space."}


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("settings.txt", ".env"),
        ("linked.py", "build/generated.py"),
        ("linked/generated.py", "build"),
        ("notes.txt", "../outside/.aws/config"),
    ],
)
async def test_links_to_secret_and_ignored_files_are_not_completed(
    sample_repository: Path, name: str, target: str
) -> None:
    secret = sample_repository.parent / "outside" / ".aws" / "config"
    secret.parent.mkdir(parents=True)
    secret.write_text("token = 1\n")
    (sample_repository / name.partition("/")[0]).symlink_to(sample_repository / target)
    async with connected_editor() as (editor, server):
        await editor.initialize(sample_repository, options=FAKE)
        uri = (sample_repository / name).as_uri()
        editor.open(uri, ONE_LINE)
        assert await editor.inline_text(uri, *AT_END) == ""
        answer = server.answering.answers.last
        assert answer is not None
        assert answer.suggestions is None


async def test_a_link_to_another_file_is_completed(sample_repository: Path) -> None:
    (sample_repository / "linked.py").symlink_to(sample_repository / "shop" / "orders.py")
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options=FAKE)
        uri = (sample_repository / "linked.py").as_uri()
        editor.open(uri, ONE_LINE)
        assert await editor.inline_text(uri, *AT_END) == "idth(box)"


@pytest.mark.parametrize(("link", "target"), [("b.py", "src/a.py"), ("linked", "src")])
async def test_a_file_that_is_opened_through_a_link_is_the_file_itself(
    sample_repository: Path, link: str, target: str
) -> None:
    real = sample_repository / "src" / "a.py"
    real.parent.mkdir()
    real.write_text("def zebra_crossing_width(saved):\n    return 3\n")
    (sample_repository / link).symlink_to(sample_repository / target)
    linked = sample_repository / (link if link == "b.py" else "linked/a.py")
    uri, here = linked.as_uri(), (sample_repository / "here.py").as_uri()
    async with connected_editor() as (editor, server):
        await editor.initialize(sample_repository, options=FAKE)
        await editor.until_indexed()
        editor.open(uri, "def zebra_cro")
        assert "ssing" not in await editor.inline_text(uri, 0, 13)  # it is no context of its own
        answer = server.answering.answers.last
        assert answer is not None
        assert answer.request.path == "src/a.py"

        editor.edit(uri, (0, 13), (0, 13), "ssing_width(unsaved):\n    return 3\n")
        editor.open(here, "w = zebra_cro")
        await editor.until_inline(here, 0, 13, lambda text: text == "ssing_width(unsaved):")
        written = sample_repository / "written.py"
        written.write_text("def marker_of_the_batch():\n    return 0\n")
        editor.report_files((real, types.FileChangeType.Changed), (written, types.FileChangeType.Created))
        editor.edit(here, (0, 13), (0, 13), "\nm = marker_of_the_b")
        await editor.until_inline(here, 1, 19, lambda text: "atch" in text)
        assert await editor.inline_text(here, 0, 13) == "ssing_width(unsaved):"  # still as the editor has it


async def test_a_file_that_becomes_a_link_leaves_the_index(sample_repository: Path) -> None:
    file = sample_repository / "shop" / "orders.py"
    async with connected_editor() as (editor, server):
        await editor.initialize(sample_repository, options=FAKE)
        await editor.until_indexed()
        index = server.files.folder_of(file).index
        assert index is not None
        file.unlink()
        file.symlink_to(file.with_name("pricing.py"))
        editor.report_files((file, types.FileChangeType.Changed))
        await editor.until(lambda: "shop/orders.py" not in index.paths)


async def test_a_folder_around_another_follows_its_files_too(sample_repository: Path) -> None:
    inner = sample_repository / "shop"
    edited, written = inner / "orders.py", inner / "pricing.py"
    async with connected_editor() as (editor, server):
        await editor.initialize(sample_repository, inner, options=FAKE)
        await editor.until(lambda: sum(value["kind"] == "end" for value in editor.progress) >= 2)
        indexes = [server.files.folder_of(root / "new.py").index for root in (sample_repository, inner)]
        editor.open(edited.as_uri(), "def in_the_editor(): ...\n")
        written.write_text("def on_the_disk(): ...\n")
        editor.report_files((written, types.FileChangeType.Changed))
        outer, own = (index for index in indexes if index is not None)
        for name, text in (("orders.py", "in_the_editor"), ("pricing.py", "on_the_disk")):
            await editor.until(lambda name=name, text=text: text in own.file_text(name))  # type: ignore[misc]
            await editor.until(lambda name=name, text=text: text in outer.file_text(f"shop/{name}"))  # type: ignore[misc]


async def test_a_folder_around_another_follows_its_commits_too(
    sample_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codefilter_lsp.workspace._GIT_CHECK_SECONDS", 0)
    inner = sample_repository / "shop"  # a repository of its own, as a submodule is
    (inner / ".git").mkdir()
    (inner / ".git" / "HEAD").write_text("1\n")
    async with connected_editor() as (editor, server):
        await editor.initialize(sample_repository, inner, options=FAKE)
        await editor.until(lambda: sum(value["kind"] == "end" for value in editor.progress) >= 2)
        (inner / "pricing.py").write_text("def of_the_commit(): ...\n")
        (inner / ".git" / "HEAD").write_text("2\n")
        uri = (sample_repository / "new.py").as_uri()
        editor.open(uri, ONE_LINE)
        await editor.inline_text(uri, *AT_END)
        index = server.files.folder_of(sample_repository / "new.py").index
        assert index is not None
        await editor.until(lambda: "of_the_commit" in index.file_text("shop/pricing.py"))


async def test_measuring_and_the_idle_timer_know_of_each_other(
    sample_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_measure = Suggester.impacts

    def impacts(suggester: Suggester, *arguments: Any) -> dict[str, float]:
        arguments[-1].wait(0.6)
        return really_measure(suggester, *arguments)

    monkeypatch.setattr(Suggester, "impacts", impacts)
    uri = (sample_repository / "shop" / "new.py").as_uri()
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options={**FAKE, "idle_unload_minutes": 0.005})
        await editor.until_indexed()
        editor.open(uri, "price = price_with_d")
        await editor.inline_text(uri, 0, 20)
        assert await editor.command("codefilter.attribute")
        older, newer = (asyncio.ensure_future(editor.command("codefilter.attribute")) for _ in range(2))
        assert await newer  # though the older one, which it stopped, ended in the middle of it
        await older
        before = len(editor.logs)
        await editor.until(lambda: any("unloaded" in log for log in editor.logs[before:]))


async def test_a_model_that_the_settings_no_longer_name_leaves_memory(tmp_path: Path) -> None:
    roots = [tmp_path / name for name in ("first", "second")]
    for root in roots:
        root.mkdir()
        (root / "code.py").write_text(f"def of_{root.name}(argument):\n    return 1\n")
    uris = [(root / "new.py").as_uri() for root in roots]
    settings = {"model": "fake"}
    async with connected_editor() as (editor, server):
        editor.settings = lambda scope: settings
        await editor.initialize(*roots, options={**FAKE, "debounceMs": 0})
        for uri in uris:
            editor.open(uri, ONE_LINE)
            assert await editor.inline_text(uri, *AT_END) == "idth(box)"
        [loaded] = server.answering._models._loaded.values()
        model = weakref.ref(loaded.model)
        del loaded
        settings = {"model": "fake:token_ms=1"}
        await changed_settings(editor)
        assert await editor.inline_text(uris[0], *AT_END) == "idth(box)"
        assert [key[0] for key in server.answering._models._loaded] == ["fake:token_ms=1"]
        assert model() is None  # the other folder does not hold it either
