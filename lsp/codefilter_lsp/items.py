"""Answers in the protocol's form.

In: an `Answer` and the text it belongs to. Out: inline completion items, completion items.

Notable: an inline item has no place for data, so the answer's id travels in the arguments of its command,
which the editor runs on acceptance (Copilot's contract). Its range stays on one line.
"""

from __future__ import annotations

from typing import Any

from lsprotocol import types

from codefilter.words import WORD, start_of_last
from codefilter_lsp.answers import Answer
from codefilter_lsp.positions import position_at

ACCEPT_COMMAND = "codefilter.accept"


def accept_command(answer: Answer, number: int) -> types.Command:
    """What the editor runs when the user takes a text."""
    return types.Command("Accept completion", ACCEPT_COMMAND, arguments=[answer.answer_id, number])


def inline_items(answer: Answer, text: str, encoding: str) -> list[types.InlineCompletionItem]:
    """Ghost text at the cursor."""
    here = position_at(text, answer.offset, encoding)
    return [
        types.InlineCompletionItem(
            insert, range=types.Range(here, here), command=accept_command(answer, number)
        )
        for number, insert in enumerate(answer.texts)
    ]


def menu_items(answer: Answer, text: str, encoding: str) -> list[types.CompletionItem]:
    """Items of the completion menu.

    Editors filter by the word before the cursor, so an item begins with it and replaces it.
    """
    before = text[: answer.offset]
    start = start_of_last(WORD, before)
    replaced = types.Range(position_at(text, start, encoding), position_at(text, answer.offset, encoding))
    return [
        _menu_item(answer, number, before[start:] + insert, replaced)
        for number, insert in enumerate(answer.texts)
    ]


def _menu_item(answer: Answer, number: int, insert: str, replaced: types.Range) -> types.CompletionItem:
    first_line, _, _ = insert.partition("\n")
    said, _, more = insert.strip().partition("\n")
    return types.CompletionItem(
        label=said.strip() + (" …" if more else ""),
        kind=types.CompletionItemKind.Text,
        detail="CodeFilter",
        sort_text=f"{number:02}",
        preselect=number == 0,
        filter_text=first_line,
        insert_text_mode=types.InsertTextMode.AsIs,
        text_edit=types.TextEdit(replaced, insert),
        command=accept_command(answer, number),
        data={"id": answer.answer_id, "number": number},
    )


def resolve(item: types.CompletionItem, answer: Answer | None) -> types.CompletionItem:
    """Add what an editor shows beside a selected item: the text, and what it was made from."""
    edit = item.text_edit
    text = edit.new_text if isinstance(edit, types.TextEdit) else item.label
    value = f"```{answer.request.language if answer else ''}\n{text}\n```"
    if answer is not None:
        value += f"\n\n{answer.summary}"
    item.documentation = types.MarkupContent(types.MarkupKind.Markdown, value)
    return item


def answer_of(value: Any) -> tuple[str, int] | None:
    """The answer's id and the text's number in what an editor sends back: an item with its command."""
    match value:
        case {"command": {"arguments": [str(answer_id), int(number)]}}:
            return answer_id, number
    return None
