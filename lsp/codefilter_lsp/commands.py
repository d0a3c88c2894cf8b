"""The commands of the server, and Copilot's notifications about what became of a text.

In: ``workspace/executeCommand``, ``textDocument/didShowCompletion``,
``textDocument/didPartiallyAcceptCompletion``. Out: what a person asked for; notes on acceptance. Completions
work without any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

from codefilter.errors import CodeFilterError
from codefilter.paths import private_cache_path, write_atomically
from codefilter_lsp.answers import Answer
from codefilter_lsp.explaining import explain, to_markdown
from codefilter_lsp.items import ACCEPT_COMMAND, answer_of
from codefilter_lsp.protocol import DID_PARTIALLY_ACCEPT, DID_SHOW
from codefilter_lsp.server import CodeFilterServer
from codefilter_lsp.settings import in_one_line

_SNOOZE_MINUTES = 5.0
_KEPT_PAGES = 20


def register(server: CodeFilterServer) -> None:
    """Offer the commands."""
    server.command(ACCEPT_COMMAND)(accept)
    server.command("codefilter.explain")(explain_last)
    server.command("codefilter.attribute")(attribute)
    server.command("codefilter.status")(status)
    server.command("codefilter.snooze")(snooze)
    server.command("codefilter.resume")(resume)
    server.command("codefilter.deleteFeedback")(delete_feedback)
    server.feature(types.WORKSPACE_EXECUTE_COMMAND)(execute)
    server.feature(DID_SHOW)(did_show)
    server.feature(DID_PARTIALLY_ACCEPT)(did_partially_accept)


async def execute(server: CodeFilterServer, params: types.ExecuteCommandParams) -> Any:
    """Run a command, which ends when its request is cancelled."""
    command = server.protocol.fm.commands.get(params.command)
    if command is None:
        raise JsonRpcInvalidParams(f"there is no command {params.command!r}")
    return await command(*(params.arguments or ()))


async def accept(server: CodeFilterServer, *arguments: Any) -> None:
    """The user took a text: its id and number."""
    match arguments:
        case [str(answer_id), int(number)]:
            if (answer := server.answering.answers.get(answer_id)) is not None:
                server.answering.feedback.accepted(answer, number)


async def explain_last(server: CodeFilterServer, *arguments: Any) -> dict[str, Any] | None:
    """Why the last answer, or one with a given id, is as it is; None where there is none.

    An editor that can open documents shows it as a page, unless it asks for the data alone (an argument
    ``{"show": false}``); for others its address is in ``page``.
    """
    answer = _answer(server, arguments)
    if answer is None:
        if _is_to_be_shown(arguments):
            message = "CodeFilter: nothing was asked for yet."  # each time that somebody wants to know
            server.window_show_message(types.ShowMessageParams(types.MessageType.Info, message))
        return None
    explanation = explain(answer, server.answering.answers.impacts_of(answer))
    if _is_to_be_shown(arguments):
        await _show(server, explanation)
    return explanation


async def attribute(server: CodeFilterServer, *arguments: Any) -> dict[str, float]:
    """Measure what each chunk did for the likelihood of an answer's text (nats per token), by chunk id.

    Arguments and page are those of `explain_last`; empty where a newer request stopped it.
    """
    answer = _answer(server, arguments)
    if answer is None:
        return {}
    async with server.show_progress("Measuring what each chunk did"):
        impacts = await server.answering.impacts(answer)
    answers = server.answering.answers
    answers.was_measured(answer, impacts)
    if impacts and _is_to_be_shown(arguments):
        await _show(server, explain(answer, impacts))
    return impacts


def _answer(server: CodeFilterServer, arguments: Sequence[Any]) -> Answer | None:
    """The answer of a command's arguments, or the last one."""
    answer_id = next((argument for argument in arguments if isinstance(argument, str)), None)
    answers = server.answering.answers
    return answers.get(answer_id) if answer_id else answers.last


def _is_to_be_shown(arguments: Sequence[Any]) -> bool:
    return not any(isinstance(argument, dict) and argument.get("show") is False for argument in arguments)


async def _show(server: CodeFilterServer, explanation: dict[str, Any]) -> None:
    """Write the page and have the editor open it; one that cannot is told where it is.

    Every page has a name of its own: editors that have one open do not look whether it has changed.
    """
    measured = any(chunk["impact_nats"] is not None for chunk in explanation["chunks"])
    page = private_cache_path("explanations") / f"{explanation['id'][:12]}{'-measured' * measured}.md"
    write_atomically(page, to_markdown(explanation))
    for old in sorted(page.parent.glob("*.md"), key=lambda one: one.stat().st_mtime)[:-_KEPT_PAGES]:
        old.unlink(missing_ok=True)
    explanation["page"], explanation["is_shown"] = page.as_uri(), False
    window = server.client_capabilities.window
    if window is not None and window.show_document:
        params = types.ShowDocumentParams(page.as_uri(), take_focus=True)
        try:
            explanation["is_shown"] = (await server.window_show_document_async(params)).success
        except JsonRpcException as error:
            server.log(f"the editor does not open {page}: {error}")


async def status(server: CodeFilterServer, *arguments: Any) -> dict[str, object]:
    """What the server is doing."""
    return server.answering.status.to_json()


async def snooze(server: CodeFilterServer, *arguments: Any) -> dict[str, object]:
    """Show nothing for some minutes."""
    minutes = next((float(n) for n in arguments if isinstance(n, int | float)), _SNOOZE_MINUTES)
    server.answering.snooze(minutes)
    return server.answering.status.to_json()


async def resume(server: CodeFilterServer, *arguments: Any) -> dict[str, object]:
    """Show completions again."""
    server.answering.snooze(0)
    return server.answering.status.to_json()


async def delete_feedback(server: CodeFilterServer, *arguments: Any) -> None:
    """Delete all feedback for good; a failure is told every time."""
    try:
        await server.answering.feedback.delete()
    except CodeFilterError as error:
        message = f"CodeFilter: nothing was deleted. {in_one_line(error)}"
        server.window_show_message(types.ShowMessageParams(types.MessageType.Error, message))


async def did_show(server: CodeFilterServer, params: dict[str, Any]) -> None:
    """The editor shows a text."""
    found = answer_of(params.get("item"))
    if found is not None and (answer := server.answering.answers.get(found[0])) is not None:
        server.answering.feedback.shown(answer)


async def did_partially_accept(server: CodeFilterServer, params: dict[str, Any]) -> None:
    """The user took the beginning of a text; its length so far, in UTF-16 code units."""
    found, length = answer_of(params.get("item")), params.get("acceptedLength")
    answer = server.answering.answers.get(found[0]) if found is not None else None
    if found is not None and answer is not None and isinstance(length, int):
        server.answering.feedback.accepted(answer, found[1], length)
