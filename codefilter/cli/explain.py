"""`codefilter explain`: which chunks raised the likelihood of a completion, which were dropped, and why."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from codefilter.cli import options
from codefilter.cli.complete import FILE_WIDTH, chunk_to_json
from codefilter.cli.feedback import find_record
from codefilter.cli.labels import find_example, load_model_of
from codefilter.coloring import STRONG_NATS, terminal_tokens
from codefilter.config import Settings, load_settings
from codefilter.errors import UsageError
from codefilter.paths import write_atomically
from codefilter.request import Hole, find_repository, read_request
from codefilter.terminal import printable_text
from codefilter.types import CompletionRequest

if TYPE_CHECKING:
    from codefilter.attribution.explanation import Explanation
    from codefilter.attribution.measuring import ChunkEffect
    from codefilter.lm.base import LanguageModel

_SHOWN_TOKENS = 6
_PLACE_WIDTH = 36


@dataclass(frozen=True)
class _Subject:
    """What is to be explained."""

    place: str
    request: CompletionRequest
    repository: Path
    text: str | None  # None: what the model writes there
    truth: str | None
    model: LanguageModel
    settings: Settings


def explain_command(
    file: Annotated[Path | None, typer.Argument(help="The file that the completion belongs to.")] = None,
    line: Annotated[int | None, typer.Option("--line", help="1-based line of the cursor.")] = None,
    column: options.Column = None,
    hole_end: options.HoleEnd = None,
    text: Annotated[
        str | None, typer.Option("--text", help="Explain this text; default: what the model writes.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Explain the truth of an example of labels.")
    ] = None,
    example: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="ID",
            help="Of --data: a part of its name, or its number from 1. Of a file: explain the text that an "
            "editor showed, by the id that `codefilter feedback show` tells.",
        ),
    ] = None,
    repos: Annotated[
        list[Path] | None,
        typer.Option(
            "--repo",
            help="The repository's root; default: found from the file. Of --data: folders that it was "
            "labelled from; packages are found alone.",
        ),
    ] = None,
    model: options.Model = None,
    engine: options.Engine = None,
    device: options.Device = None,
    filter_name: options.Filter = None,
    filter_weights: options.FilterWeights = None,
    layout: options.Layout = None,
    retriever: options.Retriever = None,
    max_new_tokens: options.MaxNewTokens = None,
    max_lines: options.MaxLines = None,
    config: options.Config = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page to this file.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Tell which chunks made a completion likelier, by nats per token, and why others were dropped."""
    overrides: dict[str, object] = {
        "model": model,
        "engine": engine,
        "device": device,
        "filter": filter_name,
        "filter_weights": filter_weights,
        "layout": layout,
        "retriever": retriever,
        "max_new_tokens": max_new_tokens,
        "max_lines": max_lines,
    }
    if data is not None and example is not None and file is None and line is None and text is None:
        of_labels = {
            "--column": column,
            "--hole-end": hole_end,
            "--layout": layout,
            "--retriever": retriever,
            "--max-new-tokens": max_new_tokens,
            "--max-lines": max_lines,
        }
        for name, value in of_labels.items():
            if value is not None:
                raise UsageError(
                    f"{name} does not go with --data",
                    hint="Leave it out: place, prompt and text are the labels'.",
                )
        subject = _labelled(data, example, repos or [], overrides, config)
    elif file is not None and line is not None and data is None and None in (example, text):
        if repos and len(repos) > 1:
            raise UsageError("a file has one repository", hint="Give --repo once.")
        repo = repos[0] if repos else find_repository(Path(os.path.realpath(file)))
        if repo is None:
            raise UsageError(f"{file} is in no repository: it has no chunks", hint="Name one with --repo.")
        shown = find_record(example).text if example is not None else text
        hole = options.hole(line, column, hole_end, max_lines)
        subject = _placed(file, hole, shown, repo, overrides, config)
    else:
        raise UsageError(
            "nothing to explain",
            hint="Name a place (FILE --line N [--text T | --id ID]), or an example (--data DIR --id ID).",
        )
    explanation = _explain(subject)
    if html is not None:
        from codefilter.attribution.explanation import explanation_page

        write_atomically(html, explanation_page(explanation))
    if as_json:
        print(json.dumps(to_json(explanation), ensure_ascii=False, indent=2))
    elif html is None:
        _print(explanation)


def _placed(
    file: Path,
    hole: Hole,
    text: str | None,
    repo: Path,
    overrides: dict[str, object],
    config: Path | None,
) -> _Subject:
    from codefilter.lm.loading import load_configured_model

    settings = load_settings(repo, config_file=config, overrides=overrides)
    placed = read_request(
        file,
        hole,
        repository=repo,
        max_new_tokens=settings.max_new_tokens,
        max_lines=settings.max_lines,
    )
    before = placed.request.prefix
    return _Subject(
        f"{placed.request.path}:{hole.line}:{len(before) - before.rfind(chr(10))}",
        placed.request,
        repo,
        text,
        placed.truth,
        load_configured_model(settings),
        settings,
    )


def _labelled(
    folder: Path, example: str, repos: list[Path], overrides: dict[str, object], config: Path | None
) -> _Subject:
    """An example's truth, under the settings of its labels; the filter is chosen."""
    from codefilter.dataset.coalitions import settings_of
    from codefilter.dataset.description import require_description
    from codefilter.dataset.materialize import open_materializer
    from codefilter.dataset.storage import read_examples

    description = require_description(folder)
    chosen = load_settings(None, config_file=config, overrides=overrides)
    settings = replace(settings_of(description.recipe, chosen), filter=chosen.filter)
    record = find_example(list(read_examples(folder)), example)
    materializer = open_materializer(folder, [str(repo) for repo in repos], [record])
    found = materializer.materialize(record)
    return _Subject(
        record.example_id,
        found.task.request,
        materializer.roots[record.repository],
        found.task.target,
        None,
        load_model_of(folder, description.recipe, settings, str(overrides["model"] or "")),
        settings,
    )


def _explain(subject: _Subject) -> Explanation:
    from codefilter.attribution.explanation import Explanation
    from codefilter.attribution.measuring import attribute, num_readings
    from codefilter.completion import Completer  # torch comes in here, not with --help
    from codefilter.filters.base import worth_showing
    from codefilter.index import RepositoryIndex

    model, request, settings = subject.model, subject.request, subject.settings
    index = RepositoryIndex.open(subject.repository, chunker=settings.chunker)
    completer = Completer(index, model, settings)
    prepared = completer.prepare(request)
    text, notices = subject.text, tuple[str, ...]()
    if text is None:
        completion = completer.generate(request, prepared)[0]
        text, notices = completion.text, completion.notices
    decisions = worth_showing(prepared.decisions)
    with tqdm(desc="read", unit="prompt", total=num_readings(decisions), leave=False) as bar:
        attribution = attribute(completer, model, request, text, decisions, on_read=bar.update)
    return Explanation(
        place=subject.place,
        before=request.prefix,
        text=text,
        is_given=subject.text is not None,
        truth=subject.truth,
        model=f"{model.identity.name} ({model.description})",
        filter=settings.filter,
        prompt=prepared.prompt,
        attribution=attribution,
        others=len(prepared.decisions) - len(decisions),
        notices=notices if text else (*notices, "the text is empty: there is nothing to be likely"),
    )


def to_json(explanation: Explanation) -> dict[str, Any]:
    """The JSON that `--json` prints; lines are 1-based, ends inclusive, gains in nats per token."""
    prompt, attribution = explanation.prompt, explanation.attribution
    return {
        "place": explanation.place,
        "text": explanation.text,
        "given": explanation.is_given,
        "truth": explanation.truth,
        "model": explanation.model,
        "filter": explanation.filter,
        "layout": prompt.layout,
        "prompt_tokens": prompt.num_tokens,
        "cross_file_tokens": prompt.num_cross_file_tokens,
        "tokens": list(attribution.tokens),
        "nats_without_chunks": list(attribution.alone.per_token),
        "mean_nats_without_chunks": attribution.alone.mean_nats,
        "together": {
            "impact_nats": attribution.together_nats,
            "gains": list(attribution.together_gains),
        },
        "chunks": [
            chunk_to_json(effect.decision, prompt)
            | {
                "impact_nats": None if effect.gains is None else effect.impact_nats,
                "gains": None if effect.gains is None else list(effect.gains),
                "helped": _tokens_beyond(effect, attribution.tokens, STRONG_NATS),
                "harmed": _tokens_beyond(effect, attribution.tokens, -STRONG_NATS),
            }
            for effect in attribution.effects
        ],
        "others_dropped": explanation.others,
        "notices": list(explanation.notices),
    }


def _tokens_beyond(effect: ChunkEffect, tokens: tuple[str, ...], nats: float) -> list[str]:
    """Tokens that gained more, or for negative `nats` lost more, in the order of the text.

    Those that only begin a character have nothing to show.
    """
    sign = 1 if nats > 0 else -1
    pairs = zip(tokens, effect.gains or (), strict=effect.gains is not None)
    return [token for token, gain in pairs if token and sign * gain > abs(nats)]


def _print(explanation: Explanation) -> None:
    from codefilter.attribution.explanation import by_impact

    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH, highlight=False)
    attribution = explanation.attribution
    console.print(Text("given" if explanation.is_given else "completion", style="bold"))
    colored = terminal_tokens(attribution.tokens, attribution.together_gains)
    console.print(Text.assemble((printable_text(explanation.typed_before_tokens), "dim"), colored))
    if explanation.truth is not None:
        console.print(Text("truth", style="bold"))
        console.print(
            Text.assemble((printable_text(explanation.typed), "dim"), printable_text(explanation.truth))
        )
    console.print(Text.assemble(("likelihood ", "bold"), explanation.summary))
    if attribution.effects:
        table = Table(title="chunks", title_justify="left", title_style="bold", box=None, pad_edge=False)
        table.add_column("nats/token", justify="right", no_wrap=True)
        table.add_column("")
        table.add_column("place", min_width=_PLACE_WIDTH, overflow="fold")
        for heading in ("symbol", "tokens helped, − harmed", "why"):
            table.add_column(heading, overflow="fold")
        for effect in by_impact(attribution.effects):
            chunk = effect.decision.candidate.chunk
            used = effect.is_in_prompt
            table.add_row(
                "too long" if effect.gains is None else f"{effect.impact_nats:+.3f}",
                Text("kept" if used else "dropped", style="green" if used else "dim"),
                Text(chunk.place),
                Text(chunk.symbol or ""),
                _shown_tokens(effect, attribution.tokens),
                Text(effect.reason, style="dim"),
            )
        console.print(table)
        if explanation.others:
            console.print(Text(f"and {explanation.others} others, dropped", style="dim"))
    else:
        console.print(Text("no chunks from other files", style="dim"))
    prompt = explanation.prompt
    console.print(
        Text.assemble(
            ("prompt ", "bold"),
            f"{prompt.num_tokens} tokens, {prompt.num_cross_file_tokens} of them from other files; ",
            f"filter {explanation.filter}; layout {prompt.layout}; {explanation.model}",
        )
    )
    for notice in explanation.notices:
        console.print(Text.assemble(("note ", "bold yellow"), notice))


def _shown_tokens(effect: ChunkEffect, tokens: tuple[str, ...]) -> Text:
    """The first tokens that it helped, and after a minus those that it harmed."""
    helped = _tokens_beyond(effect, tokens, STRONG_NATS)
    harmed = _tokens_beyond(effect, tokens, -STRONG_NATS)
    text = Text(_listed(helped), "green")
    if harmed:
        text.append(f"{' ' if helped else ''}− {_listed(harmed)}", "red")
    return text


def _listed(tokens: list[str]) -> str:
    shown = " ".join(repr(token)[1:-1].strip() or "␣" for token in tokens[:_SHOWN_TOKENS])
    return shown + " …" * (len(tokens) > _SHOWN_TOKENS)
