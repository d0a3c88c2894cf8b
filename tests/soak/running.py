"""Hours of editing in minutes: typing, jumps, files that vanish, wrong settings, broken messages.

In: a `Plan`. Out: `Figures`, and what was not as it must be (`problems`).
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.soak.recording import digest
from tests.soak.typist import NOISE, TypedDocument, passages, without_broken_line_ends
from tests.soak.wire import MISUSED, Asked, Wire
from tests.soak.workspace import HIDDEN, UNSAVED, make_workspace, with_word

INLINE, MENU = "textDocument/inlineCompletion", "textDocument/completion"
PATIENCE_SECONDS = 600.0  # for one answer, on a machine that does other things
ANSWERED_MS, STOPPED_MS = 50.0, 150.0  # within which a superseded request is answered, and its work stops
_MOST_WAITING = 30
_OPEN_DOCUMENTS = 6
WARM_UP = 0.2  # of the requests
_MEMORY_TOLERANCE = 0.05
MOST_GROWTH_MB = 7.0  # per 10,000 requests: 6 where nothing is kept, 8.5 when the index kept every word
_ENOUGH_TO_TELL_GROWTH = 10_000  # requests
_SETTINGS: tuple[object, ...] = (
    {"latencyBudgetMs": 60},
    {"maxLines": "many", "filter": "top-k:3"},
    {"languages": {"python": False}},
    {"enabled": "yes", "candidates": 99},
    {"idleUnloadMinutes": 0.005},
    {"model": "remote:http://127.0.0.1:9/steal"},
    "nonsense",
    {"filter": "no-such-filter"},
)
_BROKEN: tuple[bytes, ...] = (
    b"{",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"[1]",
    b'{"jsonrpc": "2.0"}',
    b'{"jsonrpc": "2.0", "id": 987654321, "result": null}',
    b'{"jsonrpc": "2.0", "method": "textDocument/didChange", "params": {"textDocument": 3}}',
    b'{"jsonrpc": "2.0", "method": "no/such/notification", "params": [1]}',
)
_MISUSES: tuple[tuple[str, object], ...] = (
    (INLINE, {}),
    (INLINE, {"textDocument": 3}),
    (INLINE, [1, 2]),
    (MENU, {"textDocument": {"uri": "file:///a.py"}, "position": {"line": "x"}}),
    ("no/such/request", {}),
)


@dataclass(frozen=True)
class Plan:
    """What is to be done."""

    requests: int
    options: dict[str, object]  # of the server
    seed: int = 0
    key_seconds: float = 0.04  # between two keys, on average
    environment: dict[str, str] = field(default_factory=dict)
    settings_change: bool = True
    is_long: bool = True  # enough for caches to fill, so that memory must be flat


@dataclass
class Figures:
    """What came of it."""

    requests: int = 0
    seconds: float = 0.0
    answers: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    superseded_ms: dict[str, float] = field(default_factory=dict)  # from the newer one to the answer
    answered_though_superseded: int = (
        0  # with texts, and more than `ANSWERED_MS` after the newer one was sent
    )
    stopped_ms: dict[str, float] = field(default_factory=dict)  # from the cancellation to the end of the work
    memory_mb: list[float] = field(default_factory=list)  # medians of the tenths of the run
    memory_growth_mb: float | None = None  # see `memory_growth`
    texts_compared: int = 0  # of documents, after every change, with the editor's
    prompts: int = 0
    prompts_with: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


async def soak(plan: Plan, folder: Path) -> Figures:
    """Start a server, work with it, shut it down."""
    run = _Run(plan, folder)
    try:
        await run.start()
        await run.work()
        return await run.finish()
    finally:
        await run.wire.close()


class _Run:
    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.root = make_workspace(folder)
        self.figures = Figures()
        self.wire = Wire(lambda: self.settings)
        self.settings: object = None
        self._folder = folder
        self._generator = random.Random(plan.seed)
        self._asked: list[tuple[Asked, dict[str, int] | None]] = []  # completions, and where exactly
        self._misused: list[Asked] = []
        self._others: list[Asked] = []
        self._last: Asked | None = None
        self._superseded: list[tuple[Asked, float]] = []  # and when the newer one was sent
        self._documents: list[TypedDocument] = []
        self._text_of: dict[str, Callable[[], str]] = {}  # of open documents
        self._texts: list[str] = []  # digests, as the recording server notes them
        self._made: list[Path] = []
        self._gone: list[tuple[Path, bytes]] = []  # files that vanished from below an open document
        self._memory: list[tuple[int, float]] = []  # requests so far, megabytes
        self._settings_until = 0
        self._sources = sorted(
            path
            for path in self.root.rglob("*.py")
            if not any(part in str(path) for part in ("layouts", "linked"))
        )

    # --- beginning and end ---

    async def start(self) -> None:
        home = self._folder / "home"
        environment = {
            **os.environ,
            "CODEFILTER_CACHE": str(home / "cache"),
            **self.plan.environment,
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_DATA_HOME": str(home / "data"),
        }
        command = (sys.executable, "-m", "tests.soak.recording", str(self._folder))
        root = Path(__file__).parents[2]
        await self.wire.start(*command, environment=environment, stderr=self._folder / "stderr", cwd=root)
        folders = [{"uri": self.root.as_uri(), "name": self.root.name}]
        params = {
            "processId": None,
            "rootUri": None,
            "workspaceFolders": folders,
            "initializationOptions": {**self.plan.options, "completionFallback": True},
            "capabilities": {
                "textDocument": {"inlineCompletion": {}},
                "window": {"workDoneProgress": True},
                "workspace": {"configuration": True},
            },
        }
        await self.wire.call("initialize", params)
        self.wire.notify("initialized", {})
        for _ in range(_OPEN_DOCUMENTS):
            self._open_another()
        for name, word in {**HIDDEN, **UNSAVED}.items():  # their buffers must not reach a prompt either
            text = f"{with_word(word)}\n{word} = layout_of_prompt("
            hidden = TypedDocument(self.root / name, "python", text)
            self._open(hidden)
            self._ask(hidden, len(text))
            await self._until_answered()
        await self._until_the_copy_is_read()

    async def _until_the_copy_is_read(self) -> None:
        """What is planted for all to see reaches a prompt, as soon as the index is there."""
        document = TypedDocument(self.root / "asks.py", "python", "from copies.layouts import PromptParts\n")
        self._open(document)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while "VISIBLE" not in self._prompts() and time.monotonic() < deadline:
            end = len(document.text)
            self._change(document.replace(end, end, "# parts of the prompt\nPromptParts("))
            self._ask(document, len(document.text))
            await self._until_answered()
            await asyncio.sleep(0.1)

    def _prompts(self) -> str:
        """What the recording server has noted."""
        file = self._folder / "prompts"
        return file.read_text() if file.exists() else ""

    async def work(self) -> None:
        actions: list[tuple[Callable[[], Awaitable[None]], int]] = [
            (self._type_passage, 6),
            (self._jump, 20),
            (self._edit_anywhere, 10),
            (self._replace_everything, 2),
            (self._break_a_message, 4),
            (self._misuse, 4),
            (self._cancel, 4),
            (self._choose_from_several, 3),
            (self._open_and_close, 5),
            (self._make_a_file, 3),
            (self._delete_a_file, 3),
            (self._rename_a_file, 2),
            (self._let_a_file_vanish, 3),
            (self._let_a_folder_vanish, 1),
            (self._switch_branches, 1),
            (self._command, 4),
        ]
        if self.plan.settings_change:
            actions.append((self._change_settings, 2))
        names, weights = zip(*actions, strict=True)
        started = time.perf_counter()
        first = iter(names)  # each once, then at random
        while len(self._asked) < self.plan.requests or len(self.figures.actions) < len(actions):
            action = next(first, None) or self._generator.choices(names, weights)[0]
            self.figures.actions[action.__name__.strip("_").replace("_", " ")] += 1
            await action()
            if self._settings_until and len(self._asked) > self._settings_until:
                self._set(None)
        await self._until_answered()
        self.figures.seconds = round(time.perf_counter() - started, 1)

    async def finish(self) -> Figures:
        everything = [asked for asked, _ in self._asked] + self._misused + self._others
        for asked in everything:
            try:
                await asyncio.wait_for(asked.arrived.wait(), PATIENCE_SECONDS)
            except TimeoutError:
                break
        code = await self.wire.stop()
        figures = self.figures
        figures.requests = len(self._asked)
        self._count_answers()
        self._count_memory()
        self._count_prompts()
        texts = (self._folder / "documents").read_text().splitlines()
        figures.texts_compared = len(texts)
        wrong = next(
            (n for n, pair in enumerate(zip(texts, self._texts, strict=False)) if len({*pair}) > 1), None
        )
        stderr = (self._folder / "stderr").read_text(errors="replace")
        never = [asked.method for asked in everything if asked.answers == 0]
        twice = [asked.method for asked in everything if asked.answers > 1]
        bad = {
            f"never answered: {len(never)}, the first {never[:1]}": never,
            f"answered twice: {twice[:1]}": twice,
            f"exit code {code}": code != 0,
            f"another text than the editor's after change {wrong} of {len(texts)}": wrong is not None,
            f"{len(self._texts)} changes sent, {len(texts)} taken": len(self._texts) != len(texts),
            f"tracebacks on stderr:\n{_first_traceback(stderr)}": "Traceback" in stderr,
        }
        figures.problems += [what for what, is_so in bad.items() if is_so]
        return figures

    def _count_answers(self) -> None:
        figures = self.figures
        for asked, place in self._asked:
            kind = "menu" if asked.method == MENU else "inline"
            if asked.is_cancelled:
                figures.answers[f"{kind}, superseded or cancelled"] += 1
            elif asked.error is not None:
                figures.problems.append(f"{asked.method}: {asked.error}")
            elif asked.done is not None:
                items = asked.result["items"]
                figures.answers[f"{kind}, {'with a text' if items else 'empty'}"] += 1
                if kind == "inline" and any(item["range"]["start"] != place for item in items):
                    figures.problems.append(f"asked at {place}, answered for {items[0]['range']}")
        for asked in self._misused:
            if asked.error is None or asked.error["code"] not in MISUSED:
                figures.problems.append(f"{asked.method} of the wrong form: {asked.error} {asked.result}")
        figures.answers["of the wrong form, refused"] = len(self._misused)
        figures.answers["commands"] = len(self._others)
        waits = [
            (1000 * (asked.done - newer), asked.is_cancelled)
            for asked, newer in self._superseded
            if asked.done is not None and asked.done > newer
        ]
        figures.superseded_ms = spread([wait for wait, was_cancelled in waits if was_cancelled], ANSWERED_MS)
        figures.answered_though_superseded = sum(
            wait > ANSWERED_MS for wait, was_cancelled in waits if not was_cancelled
        )
        stops = self._folder / "stops"
        lines = stops.read_text().splitlines() if stops.exists() else []
        figures.stopped_ms = spread([float(line) for line in lines], STOPPED_MS)

    def _count_memory(self) -> None:
        count = len(self._asked)
        tenths: list[list[float]] = [[] for _ in range(10)]
        for number, megabytes in self._memory:
            tenths[min(9, 10 * number // max(1, count))].append(megabytes)
        self.figures.memory_mb = [round(statistics.median(tenth), 1) for tenth in tenths if tenth]
        warm = self.figures.memory_mb[int(10 * WARM_UP) :]
        if self.plan.is_long and warm:
            usual = statistics.median(warm)
            if max(abs(value - usual) for value in warm) > _MEMORY_TOLERANCE * usual:
                self.figures.problems.append(f"memory is not flat: {self.figures.memory_mb} MB")
        self.figures.memory_growth_mb = growth = memory_growth(self.figures.memory_mb, count)
        if growth is not None and growth > MOST_GROWTH_MB:
            self.figures.problems.append(f"memory grows by {growth} MB per 10,000 requests")

    def _count_prompts(self) -> None:
        lines = self._prompts().splitlines()
        found: Counter[str] = Counter(word for line in lines for word in line.split()[1:])
        self.figures.prompts = len(lines)
        self.figures.prompts_with = dict(sorted(found.items()))
        leaked = {word: number for word, number in found.items() if word.startswith("CANARY")}
        if leaked:
            self.figures.problems.append(f"in prompts: {leaked}")
        if not found["VISIBLE_copy"]:
            self.figures.problems.append("the planted copy that may be read was never read")

    # --- what an editor does ---

    def _choose(self) -> TypedDocument:
        return self._generator.choice(self._documents)

    def _open_another(self) -> None:
        free = [path for path in self._sources if path not in {known.path for known in self._documents}]
        path = self._generator.choice(free)
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if self._generator.random() < 0.3:
            text = text.replace("\n", "\r\n")
        document = TypedDocument(path, "python", text)
        self._documents.append(document)
        self._open(document)

    def _change(self, change: dict[str, Any]) -> None:
        self.wire.notify("textDocument/didChange", change)
        if (text := self._text_of.get(change["textDocument"]["uri"])) is not None:
            self._texts.append(f"{digest(text())} {change['textDocument']['uri']}")

    def _open(self, document: TypedDocument) -> None:
        self.wire.notify("textDocument/didOpen", document.opened())
        self._text_of[document.uri] = lambda: document.text
        self._texts.append(f"{digest(document.text)} {document.uri}")

    def _ask(
        self, document: TypedDocument, offset: int, *, explicit: bool = False, menu: bool = False
    ) -> Asked:
        position = document.position(offset)
        params: dict[str, Any] = {"textDocument": {"uri": document.uri}, "position": position}
        if not menu:
            params["context"] = {"triggerKind": 1 if explicit else 2}
        newest = self.wire.request(MENU if menu else INLINE, params)
        older = self._last
        if older is not None and older.done is None and not menu:
            self._superseded.append((older, newest.sent))
        if not menu:
            self._last = newest
        self._asked.append((newest, position))
        if len(self._asked) % max(1, self.plan.requests // 200) == 0:
            self._memory.append((len(self._asked), resident_megabytes(self.wire.pid)))
        return newest

    async def _next_key(self) -> None:
        await self.wire.drain()
        usual = self._generator.expovariate(1 / self.plan.key_seconds)
        pause = self._generator.uniform(0.2, 0.6) if self._generator.random() < 0.08 else 0.0
        await asyncio.sleep(usual + pause)
        waiting = [asked for asked, _ in self._asked[-2 * _MOST_WAITING :] if asked.done is None]
        if len(waiting) > _MOST_WAITING:
            await self._until_answered()

    async def _until_answered(self) -> None:
        for asked, _ in self._asked[-2 * _MOST_WAITING :]:
            await asyncio.wait_for(asked.arrived.wait(), PATIENCE_SECONDS)

    async def _type_passage(self) -> None:
        """Recorded typing: lines of the file are typed again, with slips, pauses, and suggestions taken."""
        document = self._choose()
        place = next(passages(document.text, self._generator), None)
        if place is None:
            return
        start, end = place
        truth, typed = document.text[start:end], 0
        self._change(document.replace(start, end, ""))
        while typed < len(truth) and len(self._asked) < self.plan.requests:
            key = 2 if truth[typed : typed + 2] == "\r\n" else 1
            here = start + typed
            if self._generator.random() < 0.03:
                self._change(document.replace(here, here, "q"))
                self._ask(document, here + 1)
                await self._next_key()
                self._change(document.replace(here, here + 1, ""))
            self._change(document.replace(here, here, truth[typed : typed + key]))
            typed += key
            asked = self._ask(document, start + typed)
            await self._next_key()
            if asked.result and asked.result["items"]:
                typed += self._take(document, asked, start + typed, truth[typed:])
            if self._generator.random() < 0.03:
                break
        rest = start + typed
        self._change(document.replace(rest, rest, truth[typed:]))

    def _take(self, document: TypedDocument, asked: Asked, offset: int, truth: str) -> int:
        """Perhaps take a suggestion; how much of the truth is there then."""
        item = asked.result["items"][0]
        text, chance = item["insertText"], self._generator.random()
        self.wire.notify("textDocument/didShowCompletion", {"item": item})
        if chance < 0.1:
            partly = {"item": item, "acceptedLength": len(text) // 2}
            self.wire.notify("textDocument/didPartiallyAcceptCompletion", partly)
        elif chance < 0.4:
            self._change(document.replace(offset, offset, text))
            self._run_command(item["command"]["command"], *item["command"]["arguments"])
            if truth.startswith(text):
                return len(text)
            self._change(document.replace(offset, offset + len(text), ""))
        return 0

    async def _jump(self) -> None:
        document = self._choose()
        for _ in range(self._generator.randrange(1, 4)):
            offset = without_broken_line_ends(document.text, self._generator.randint(0, len(document.text)))
            self._ask(document, offset, menu=self._generator.random() < 0.3)
            await self._next_key()

    async def _edit_anywhere(self) -> None:
        document = self._choose()
        ends = [self._generator.randint(0, len(document.text)) for _ in range(2)]
        start, end = sorted(without_broken_line_ends(document.text, offset) for offset in ends)
        end = min(end, start + self._generator.choice((0, 0, 5, 200)))
        end = max(start, without_broken_line_ends(document.text, end))
        new = "".join(self._generator.choices(NOISE, k=self._generator.randrange(6)))
        self._change(document.replace(start, end, new))
        self._ask(document, start + len(new))
        await self._next_key()

    async def _replace_everything(self) -> None:
        document = self._choose()
        text = self._generator.choice(self._sources)
        self._change(document.replace_all(text.read_text(encoding="utf-8") if text.exists() else ""))
        self._ask(document, len(document.text))
        await self._next_key()

    async def _break_a_message(self) -> None:
        self.wire.send_bytes(self._generator.choice(_BROKEN))
        never_opened = {"uri": (self.root / "never.py").as_uri(), "version": 3}
        self._change({"textDocument": never_opened, "contentChanges": [{"text": "x"}]})
        params = {"textDocument": never_opened, "position": {"line": 2**31, "character": 7}}
        self._others.append(self.wire.request(INLINE, params | {"context": {"triggerKind": 2}}))

    async def _misuse(self) -> None:
        method, params = self._generator.choice(_MISUSES)
        self._misused.append(self.wire.request(method, params))

    async def _cancel(self) -> None:
        document = self._choose()
        asked = self._ask(document, without_broken_line_ends(document.text, len(document.text) // 2))
        await self._next_key()
        self.wire.cancel(asked)

    async def _choose_from_several(self) -> None:
        document = self._choose()
        self._ask(document, without_broken_line_ends(document.text, len(document.text) // 3), explicit=True)
        await self._until_answered()

    async def _open_and_close(self) -> None:
        document = self._documents.pop(self._generator.randrange(len(self._documents)))
        identifier = {"textDocument": {"uri": document.uri}}
        if self._generator.random() < 0.5:
            self.wire.notify("textDocument/didSave", identifier)
        self.wire.notify("textDocument/didClose", identifier)
        del self._text_of[document.uri]
        self._open_another()

    def _tell_of(self, kind: int, *paths: Path) -> None:
        """Some editors watch files, some do not."""
        if self._generator.random() < 0.7:
            changes = [{"uri": path.as_uri(), "type": kind} for path in paths]
            self.wire.notify("workspace/didChangeWatchedFiles", {"changes": changes})

    async def _make_a_file(self) -> None:
        path = self.root / "made" / f"module_{self._generator.randrange(30)}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"def made_{self._generator.randrange(1000)}(argument):\n    return argument\n")
        self._made = [*(known for known in self._made if known != path), path]
        self._tell_of(1, path)

    async def _delete_a_file(self) -> None:
        if self._made:
            path = self._made.pop(self._generator.randrange(len(self._made)))
            path.unlink()
            self._tell_of(3, path)

    async def _rename_a_file(self) -> None:
        if self._made:
            old = self._made.pop()
            new = old.with_name(f"renamed_{old.name}")
            old.rename(new)
            renamed = {"oldUri": old.as_uri(), "newUri": new.as_uri()}
            self.wire.notify("workspace/didRenameFiles", {"files": [renamed]})
            if new not in self._made:
                self._made.append(new)

    async def _let_a_file_vanish(self) -> None:
        """The file of an open document; an earlier one comes back."""
        if self._gone:
            path, content = self._gone.pop()
            path.write_bytes(content)
            self._tell_of(1, path)
        document = self._choose()
        if document.path.exists():
            self._gone.append((document.path, document.path.read_bytes()))
            document.path.unlink()
            self._tell_of(3, document.path)
            self._ask(document, without_broken_line_ends(document.text, len(document.text) // 2))
            await self._next_key()

    async def _let_a_folder_vanish(self) -> None:
        folder, away = self.root / "metrics", self._folder / "away"
        shutil.move(folder, away)
        self._tell_of(3, folder)
        await self._jump()
        shutil.move(away, folder)
        self._tell_of(1, folder)

    async def _switch_branches(self) -> None:
        head = f"ref: refs/heads/branch-{self._generator.randrange(4)}\n"
        (self.root / ".git" / "HEAD").write_text(head)

    async def _change_settings(self) -> None:
        self._set(self._generator.choice(_SETTINGS))
        self._settings_until = len(self._asked) + 40

    def _set(self, settings: object) -> None:
        self.settings = settings
        self._settings_until = 0
        self.wire.notify("workspace/didChangeConfiguration", {"settings": None})

    async def _command(self) -> None:
        commands = (
            ("codefilter.status",),
            ("codefilter.explain",),
            ("codefilter.explain", "no such id", {"show": False}),
            ("codefilter.snooze", 0.003),
            ("codefilter.resume",),
            ("codefilter.accept", "no such id", 3),
            ("codefilter.attribute",),
        )
        self._run_command(*self._generator.choice(commands))
        await self._next_key()

    def _run_command(self, name: str, *arguments: object) -> None:
        params = {"command": name, "arguments": list(arguments)}
        self._others.append(self.wire.request("workspace/executeCommand", params))


def memory_growth(tenths_mb: Sequence[float], requests: int) -> float | None:
    """Megabytes per 10,000 requests from the middle tenth to the last; None where too few requests tell."""
    if requests < _ENOUGH_TO_TELL_GROWTH:
        return None
    middle, last = (len(tenths_mb) - 1) // 2, len(tenths_mb) - 1
    between = requests * (last - middle) / len(tenths_mb)
    return round((tenths_mb[last] - tenths_mb[middle]) / between * 10_000, 1)


def spread(milliseconds: Sequence[float], limit: float) -> dict[str, float]:
    """How long something took, and the share within a limit."""
    ordered = sorted(milliseconds)
    if not ordered:
        return {}
    return {
        "number": len(ordered),
        "median": round(statistics.median(ordered), 1),
        "p95": round(ordered[int(0.95 * len(ordered))], 1),
        "longest": round(ordered[-1], 1),
        f"share_within_{limit:.0f}": round(sum(one <= limit for one in ordered) / len(ordered), 4),
    }


def _first_traceback(stderr: str) -> str:
    start = stderr.find("Traceback")
    return stderr[max(0, start - 500) : start + 3000]


def resident_megabytes(pid: int) -> float:
    """Memory of a process (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024
