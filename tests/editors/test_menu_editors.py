"""Editors that know completion menus only, as Helix, Zed and Emacs with Eglot do, as the server sees them."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsprotocol import types

from tests.e2e.editor import connected_editor, within


async def test_a_completion_is_an_item_of_the_menu(sample_repository: Path) -> None:
    uri = (sample_repository / "shop" / "new.py").as_uri()
    async with connected_editor() as (editor, _):
        editor.settings = lambda scope: None  # Helix answers so
        result = await editor.initialize(
            sample_repository, options={"model": "fake", "filter": "all"}, inline=False
        )
        provider = result.capabilities.completion_provider
        assert provider is not None
        assert list(provider.trigger_characters or ()) == [".", "("]
        editor.open(uri, "width = compute_width(box)\nother = compute_w")
        [item] = await editor.menu(uri, 1, 17)
        assert item.label == "compute_width(box)"
        assert item.filter_text is not None
        assert item.filter_text.startswith("compute_w")  # else the editor would hide it
        resolved = await within(editor.completion_item_resolve_async(item))
        assert isinstance(resolved.documentation, types.MarkupContent)
        assert item.command is not None
        await editor.command(item.command.command, *(item.command.arguments or ()))


async def test_all_settings_at_once_and_of_another_section(sample_repository: Path) -> None:
    async with connected_editor() as (editor, server):
        await editor.initialize(sample_repository, options={"model": "fake", "filter": "all"}, inline=False)
        for settings in ({"codefilter": {"max_lines": 3}, "gopls": {}}, {"codefilter": {"maxLines": 3}}):
            editor.workspace_did_change_configuration(types.DidChangeConfigurationParams(settings))
            await editor.command("codefilter.status")
            assert server.files.folder_of(sample_repository / "a.py").settings.max_lines == 3
        assert editor.messages == []


@pytest.mark.slow
@pytest.mark.usefixtures("default_model_pulled")
async def test_with_the_default_model(sample_repository: Path) -> None:
    uri = (sample_repository / "shop" / "bill.py").as_uri()
    text = "from shop.orders import Order\n\n\ndef bill(order: Order) -> float:\n    return order.total_"
    async with connected_editor() as (editor, _):
        await editor.initialize(sample_repository, options={"latency_budget_ms": 0}, inline=False)
        await editor.until_indexed()
        editor.open(uri, text)
        params = types.CompletionParams(types.TextDocumentIdentifier(uri), types.Position(4, 23))
        result = await within(editor.text_document_completion_async(params), 120)
        assert isinstance(result, types.CompletionList)
        assert result.items[0].label.startswith("total_amount()")  # of another file
