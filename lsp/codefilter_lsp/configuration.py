"""The editor's settings, at the start and whenever they change.

In: ``initializationOptions``, ``workspace/configuration`` (asked for, for every folder), and what an editor
sends along with ``workspace/didChangeConfiguration``. Out: `EditorOptions` in force.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

from codefilter_lsp.background import Background, Editor
from codefilter_lsp.consent import Wish, grant, question, without_wishes
from codefilter_lsp.settings import EditorOptions, read_options
from codefilter_lsp.workspace import Workspace

SECTION = "codefilter"
_TIMEOUT_SECONDS = 5.0
_ALLOW, _REFUSE = "Allow", "Do not allow"


class Configuration:
    """Settings of one editor."""

    def __init__(
        self, server: LanguageServer, editor: Editor, files: Workspace, background: Background
    ) -> None:
        self._server = server  # what is asked; `editor` is what is told
        self._editor = editor
        self._files = files
        self._background = background
        self._initial = EditorOptions()
        self._options = EditorOptions()  # the newest, with what waits for consent
        self._by_root: Mapping[Path, EditorOptions] = {}
        self._asked: set[Wish] = set()

    def read_initial(self, options: object) -> EditorOptions:
        """Take what came with ``initialize``."""
        self._initial = read_options(_section(options))
        counting, _ = without_wishes(self._initial)
        self._files.configure(counting)
        return counting

    async def begin(self, roots: Sequence[Path]) -> None:
        """Take what came at the start, and ask for the rest."""
        self._take(self._initial)
        await self.ask(roots)

    async def change(self, settings: object) -> None:
        """Settings changed; editors that cannot be asked send them along."""
        if self._can_ask:
            await self.ask(self._files.roots)
        else:
            self._take(read_options(_section(settings), self._initial))

    async def ask(self, roots: Sequence[Path]) -> None:
        """Ask the editor for the settings, those of its window and those of every folder."""
        if not self._can_ask:
            return
        uris = [None, *(root.as_uri() for root in roots)]
        items = [types.ConfigurationItem(uri, SECTION) for uri in uris]
        try:
            asked = self._server.workspace_configuration_async(types.ConfigurationParams(items))
            found = await asyncio.wait_for(asked, _TIMEOUT_SECONDS)
        except (JsonRpcException, TimeoutError) as error:
            self._editor.log(f"the editor does not tell its settings: {type(error).__name__} {error}")
            return
        window, *others = found or [None]
        by_root = {
            root: read_options(options, self._initial)
            for root, options in zip(roots, others, strict=False)
            if options and options != window
        }
        self._take(read_options(window, self._initial), by_root)

    @property
    def _can_ask(self) -> bool:
        workspace = self._server.client_capabilities.workspace
        return bool(workspace and workspace.configuration)

    def _take(self, options: EditorOptions, by_root: Mapping[Path, EditorOptions] | None = None) -> None:
        """Put options in force, and the rest of them once the user allows it."""
        self._options, self._by_root = options, by_root or {}
        if wishes := self._configure() - self._asked:
            self._asked |= wishes
            self._background.start("asking for consent", self._ask_user, sorted(wishes))

    def _configure(self) -> set[Wish]:
        """Put in force what may count; what waits for consent, everywhere or in one folder."""
        counting, waiting = without_wishes(self._options)
        by_root = {}
        for root, options in self._by_root.items():
            by_root[root], more = without_wishes(options)
            waiting += more
        self._files.configure(counting, by_root)
        return set(waiting)

    async def _ask_user(self, wishes: Sequence[Wish]) -> None:
        if await self._is_allowed(wishes):
            self._configure()  # the options may be others by now

    async def _is_allowed(self, wishes: Sequence[Wish]) -> bool:
        actions = [types.MessageActionItem(_ALLOW), types.MessageActionItem(_REFUSE)]
        params = types.ShowMessageRequestParams(types.MessageType.Warning, question(wishes), actions)
        try:
            answer = await self._server.window_show_message_request_async(params)
        except JsonRpcException:
            answer = None
        if answer is not None and answer.title == _ALLOW:
            grant(wishes)
            return True
        listed = ", ".join(map(str, wishes))
        self._editor.tell(f"CodeFilter works without {listed}: nobody allowed it.")
        return False


def _section(settings: object) -> object:
    """Our part of what an editor sends; some send all their settings."""
    if isinstance(settings, Mapping) and isinstance(settings.get(SECTION), Mapping):
        return settings[SECTION]
    return settings
