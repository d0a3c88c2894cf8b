"""`codefilter speed`: timings on this machine, each against a named baseline in the same run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from codefilter.cli import options
from codefilter.config import check_setting, whole_number
from codefilter.errors import UsageError
from codefilter.models import DEFAULT_MODEL, resolve
from codefilter.paths import disk_errors, write_atomically

if TYPE_CHECKING:
    from codefilter.evaluation import TaskGroup
    from codefilter.evaluation.task_sources import DrawnTasks
    from codefilter.filters.base import FilterContext
    from codefilter.lm.base import LanguageModel
    from codefilter.speed.requests import RequestTiming
    from codefilter.types import CompletionRequest, TaskLevel

app = typer.Typer(help="Measure speed on this machine.", no_args_is_help=True, rich_markup_mode=None)


def _writable(path: Path | None) -> Path | None:
    """Let what cannot be written be found before minutes of measurement, not after."""
    if path is not None:
        if path.is_dir():
            raise UsageError(f"{path} is a folder", hint="Name a file.")
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=path.parent):
                pass
    return path


def _drawable(path: Path | None) -> Path | None:
    if path is not None:
        from codefilter.plots import new_figure

        new_figure()  # what draws is installed
    return _writable(path)


Model = Annotated[str, typer.Option("--model", help="Name or folder of the model.")]
Engine = Annotated[str, typer.Option("--engine", help="What runs the model.")]
Engines = Annotated[
    str,
    typer.Option(
        "--engines",
        help="Engines to measure, comma-separated: ENGINE, ENGINE:DTYPE, or a server's remote:URL.",
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", callback=_writable, help="Write the record to this file, too.")
]
Plot = Annotated[Path | None, typer.Option("--plot", callback=_drawable, help="Draw it into this SVG file.")]
Filters = Annotated[
    str, typer.Option("--filters", help="Filters to measure, comma-separated; the first is the baseline.")
]
Server = Annotated[
    str | None, typer.Option("--server", help="A llama-server with the same weights: remote:URL.")
]


@app.command("likelihood")
def likelihood_command(
    model: Model = DEFAULT_MODEL,
    engines: Engines = "torch,auto",
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="The median of so many.")] = 3,
    out: Out = None,
    as_json: options.AsJson = False,
) -> None:
    """Score ten chunks behind one context: shared, against one plain pass for each."""
    from codefilter.speed.likelihood import measure_likelihoods

    found = resolve(model)
    timings = measure_likelihoods(
        found.folder, lambda engine: _load(model, engine), _checked(engines, model), repeats=repeats
    )
    _report("likelihood", [asdict(t) for t in timings], out, as_json, model=found.name, sha256=found.sha256)


@app.command("engines")
def engines_command(
    model: Model = DEFAULT_MODEL,
    engines: Engines = "torch,auto",
    package: Annotated[
        str, typer.Option("--package", help="Of the manifest: its files are read.")
    ] = "a2a-sdk",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Files at most.")] = 8,
    out: Out = None,
    as_json: options.AsJson = False,
) -> None:
    """Read and write source text with every engine, against plain transformers with eager attention."""
    from codefilter.packages import fetch_package, load_corpora
    from codefilter.speed.engines import measure_engines

    names = _checked(engines, model)
    pin = next((pin for pin in load_corpora() if pin.name == package), None)
    if pin is None:
        raise UsageError(f"{package!r} is not in the manifest", hint="See data/manifests/corpora.toml.")
    files = sorted(fetch_package(pin).rglob("*.py"), key=lambda path: path.stat().st_size)[-limit:]
    found = resolve(model)
    timings = measure_engines(
        found.folder,
        lambda engine: _load(model, engine),
        names,
        [path.read_text(encoding="utf-8") for path in files],
    )
    _report("engines", [asdict(t) for t in timings], out, as_json, model=found.name, sha256=found.sha256)


@app.command("agreement")
def agreement_command(
    model: Model = DEFAULT_MODEL,
    engines: Annotated[
        str, typer.Option("--engines", help="As of `speed engines`; the first is the baseline.")
    ] = "torch:float32,torch,auto",
    filter_name: Annotated[str, typer.Option("--filter", help="Which chunks are read.")] = "none",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Line tasks of the train packages.")] = 60,
    out: Out = None,
    as_json: options.AsJson = False,
) -> None:
    """Write completions of the train packages with every engine: are they as good as the first one's?"""
    from codefilter.completion import Completer
    from codefilter.config import load_settings
    from codefilter.evaluation.execution import open_index
    from codefilter.evaluation.task_sources import draw_packages
    from codefilter.filters.table import get_filter
    from codefilter.speed.agreement import measure_agreement
    from codefilter.speed.records import conditions_of
    from codefilter.types import TaskLevel

    names = _checked(engines, model)
    of_engines = dict.fromkeys(("engine", "device", "dtype"), "auto")  # each row has its own
    settings = load_settings(None, overrides={"model": model, "filter": filter_name, **of_engines})
    get_filter(filter_name, settings)  # is there one?
    drawn = draw_packages("train", (TaskLevel.LINE,), limit, 0)
    groups = _limited("agreement", drawn, limit, hint="See data/manifests/corpora.toml.")
    reader = _load(model, names[-1])  # filters may read
    places = []
    for group in groups:
        completer = Completer(open_index(group, settings.chunker), reader, settings)
        places += [(task, completer.prepare(task.request).prompt) for task in group.tasks]
    details = {"filter": filter_name, **conditions_of(settings, reader, [filter_name])}
    found = reader.identity
    del completer, reader
    progress = Console(stderr=True).print
    agreements = measure_agreement(lambda engine: _load(model, engine), names, places, progress)
    rows = [asdict(row) for row in agreements]
    _report("agreement", rows, out, as_json, model=found.name, sha256=found.sha256, **details)


@app.command("drafts")
def drafts_command(
    model: Model = DEFAULT_MODEL,
    engine: Engine = "auto",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Line and API tasks of Fresh.")] = 40,
    out: Out = None,
    as_json: options.AsJson = False,
) -> None:
    """Write completions of Fresh with and without drafts from the prompt."""
    from codefilter.completion import Completer, generation_options
    from codefilter.config import load_settings
    from codefilter.evaluation.execution import open_index
    from codefilter.evaluation.task_sources import SAMPLED_LEVELS
    from codefilter.lm.loading import load_configured_model
    from codefilter.speed.drafts import measure_drafts
    from codefilter.speed.records import conditions_of, details_of

    settings = load_settings(None, overrides={"model": model, "engine": engine})
    groups = _draw_fresh("drafts", SAMPLED_LEVELS, limit)
    loaded = load_configured_model(settings)
    prompts = []
    for group in groups:
        completer = Completer(open_index(group, settings.chunker), loaded, settings)
        for task in group.tasks:
            prompt = completer.prepare(task.request).prompt
            prompts.append((prompt, generation_options(task.request, prompt)))
    rows = [asdict(row) for row in measure_drafts(loaded, prompts)]
    details = details_of(loaded) | {"filter": settings.filter}
    _report("drafts", rows, out, as_json, **details, **conditions_of(settings, loaded, [settings.filter]))


@app.command("filter")
def filter_command(
    filter_name: Annotated[str, typer.Option("--filter", help="One that asks no model.")] = "classifier",
    model: Annotated[str, typer.Option("--model", help="Of the baseline.")] = DEFAULT_MODEL,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Line and API tasks of Fresh.")] = 100,
    compared: Annotated[
        int, typer.Option("--compared", min=1, help="At how many places the baseline is run too.")
    ] = 5,
    out: Out = None,
    as_json: options.AsJson = False,
) -> None:
    """Decide on ten candidates of Fresh: at new places, and a few characters later; against `perplexity`."""
    from codefilter.completion import Completer
    from codefilter.config import load_settings
    from codefilter.evaluation.execution import open_index
    from codefilter.evaluation.task_sources import SAMPLED_LEVELS
    from codefilter.filters.base import USUAL_CANDIDATES
    from codefilter.filters.table import get_filter
    from codefilter.lm.loading import load_configured_model
    from codefilter.speed.deciding import DecisionPlace, measure_decisions
    from codefilter.speed.records import conditions_of, details_of

    settings = load_settings(
        None,
        overrides={"model": model, "filter": filter_name},
        defaults={"num_candidates": USUAL_CANDIDATES},  # the same for all filters
    )
    groups = _draw_fresh("filter", SAMPLED_LEVELS, limit)
    loaded = load_configured_model(settings)

    def places() -> Iterator[DecisionPlace]:
        for group in groups:
            completer = Completer(open_index(group, settings.chunker), loaded, settings)

            def context(request: CompletionRequest, completer: Completer = completer) -> FilterContext:
                return completer.filter_context(request, completer.cut_in_file(request))

            for task in group.tasks:
                found = completer.retrieve(task.request, completer.cut_in_file(task.request))
                yield DecisionPlace(task.request, tuple(found), task.target, context)

    timings = measure_decisions(
        lambda: get_filter(filter_name, settings), get_filter("perplexity"), places(), compared
    )
    details = details_of(loaded) | conditions_of(settings, loaded, [filter_name])
    _report("filter", [asdict(timing) for timing in timings], out, as_json, **details)


@app.command("cancellation")
def cancellation_command(
    model: Model = DEFAULT_MODEL,
    engine: Engine = "auto",
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Cancelled requests.")] = 20,
    out: Out = None,
    as_json: options.AsJson = False,
) -> None:
    """Cancel requests while the model reads a long prompt; seconds until it has stopped."""
    from codefilter.config import load_settings
    from codefilter.lm.loading import load_configured_model
    from codefilter.speed.cancellation import measure_cancellation
    from codefilter.speed.records import details_of

    loaded = load_configured_model(load_settings(None, overrides={"model": model, "engine": engine}))
    row = measure_cancellation(loaded, repeats)
    _report("cancellation", [asdict(row)], out, as_json, **details_of(loaded))


@app.command("requests")
def requests_command(
    model: Model = DEFAULT_MODEL,
    engine: Engine = "auto",
    filters: Filters = "all,none,classifier",
    server: Server = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Line and API tasks of Fresh.")] = 12,
    out: Out = None,
    plot: Plot = None,
    as_json: options.AsJson = False,
) -> None:
    """Complete places of Fresh from nothing, with every filter; the same of a llama-server."""
    from codefilter.speed.requests import measure_cold

    _measure_requests("requests", measure_cold, ("line", "api"), model, engine, filters, server, limit,
                      out, plot, as_json)  # fmt: skip


@app.command("typing")
def typing_command(
    model: Model = DEFAULT_MODEL,
    engine: Engine = "auto",
    filters: Filters = "all,classifier",
    server: Server = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Functions of Fresh to type.")] = 5,
    out: Out = None,
    plot: Plot = None,
    as_json: options.AsJson = False,
) -> None:
    """Type functions of Fresh, with a request at every pause; the same of a llama-server."""
    from codefilter.speed.typing import measure_typing

    _measure_requests("typing", measure_typing, ("function",), model, engine, filters, server, limit,
                      out, plot, as_json)  # fmt: skip


def _measure_requests(
    what: str,
    measure: Callable[..., Sequence[RequestTiming]],
    levels: Sequence[str],
    model: str,
    engine: str,
    filters: str,
    server: str | None,
    limit: int,
    out: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Draw the tasks, contact the server, load the model, measure and report."""
    from codefilter.completion import Completer
    from codefilter.config import load_settings
    from codefilter.evaluation.execution import open_index
    from codefilter.filters.table import get_filter
    from codefilter.lm.loading import load_configured_model
    from codefilter.speed.plots import draw_requests
    from codefilter.speed.records import conditions_of, details_of
    from codefilter.speed.servers import LlamaServerBaseline
    from codefilter.types import TaskLevel

    names = filters.split(",")
    settings = {
        name: load_settings(None, overrides={"model": model, "engine": engine, "filter": name})
        for name in names
    }
    groups = _draw_fresh(what, [TaskLevel(level) for level in levels], limit)
    for name in names:
        get_filter(name, settings[name])  # is there one?
    baseline = LlamaServerBaseline(server) if server is not None else None
    loaded = load_configured_model(settings[names[0]])
    if baseline is not None:
        baseline.check(loaded)
    places = []
    for group in groups:
        index = open_index(group, settings[names[0]].chunker)
        completers = {name: Completer(index, loaded, settings[name]) for name in names}
        places += [(task, completers.__getitem__) for task in group.tasks]
    progress = Console(stderr=True).print
    timings = measure(loaded, places, names, baseline, progress)
    details = details_of(loaded) | conditions_of(settings[names[0]], loaded, names)
    if baseline is not None:
        details["server"] = baseline.description
    _report(what, [asdict(timing) for timing in timings], out, as_json, **details)
    if plot is not None:
        write_atomically(plot, draw_requests(timings))


def _draw_fresh(what: str, levels: Sequence[TaskLevel], limit: int) -> list[TaskGroup]:
    """Tasks of Fresh, by repository; `UsageError` where its packages are not here."""
    from codefilter.evaluation.task_sources import draw_benchmark

    drawn = draw_benchmark("fresh", None, levels)
    return _limited(what, drawn, limit, hint="Run `codefilter benchmark prepare fresh`.")


def _limited(what: str, drawn: DrawnTasks, limit: int, hint: str) -> list[TaskGroup]:
    """So many of the tasks; `UsageError` where there are none."""
    from codefilter.evaluation import limit_tasks

    groups = limit_tasks(drawn.groups, limit, 0)
    if not groups:
        raise UsageError(" ".join([f"{what} has no tasks.", *drawn.missing]), hint=hint)
    return groups


@app.command("index")
def index_command(
    folder: Annotated[
        Path | None, typer.Argument(help="A folder of sources; default: the train packages of the manifest.")
    ] = None,
    lines: Annotated[
        str, typer.Option("--lines", help="Sizes, by commas: the folder is repeated to so many; 0: as it is.")
    ] = "0",
    out: Out = None,
    plot: Plot = None,
    as_json: options.AsJson = False,
) -> None:
    """Build, open, change and query an index; BM25 against rank-bm25."""
    from codefilter.packages import fetch_package, load_corpora
    from codefilter.speed.indexing import measure_indexing
    from codefilter.speed.plots import draw_indexing

    numbers = [whole_number(size) for size in lines.split(",")]
    sizes = [number for number in numbers if number is not None and number >= 0]
    if len(sizes) < len(numbers):
        raise UsageError(f"{lines!r} are not numbers of lines", hint="For example: --lines 0,1000000")
    with TemporaryDirectory() as temporary:
        if folder is None:
            folder = Path(temporary)
            for pin in load_corpora():
                if pin.role == "train":
                    shutil.copytree(fetch_package(pin), folder / pin.name)
        timings = measure_indexing(folder, sizes)
    _report("index", [asdict(timing) for timing in timings], out, as_json)
    if plot is not None:
        write_atomically(plot, draw_indexing(timings))


def _load(model: str, engine: str) -> LanguageModel:
    """The model by an engine that may be followed by a dtype, as in ``torch:float32``; or a server."""
    from codefilter.lm.loading import load_model

    if engine.startswith("remote:"):
        return load_model(engine)
    name, _, dtype = engine.partition(":")
    return load_model(model, engine=name, dtype=dtype or "auto")


def _checked(engines: str, model: str) -> list[str]:
    """What `_load` is to load, by commas, with what ``auto`` chooses here; each once.

    Raises:
        UsageError: before anything is measured, where one could not be loaded.
    """
    from codefilter.lm.loading import check_engine, choose_engine, load_model

    names = []
    for name in engines.split(","):
        if name.startswith("remote:"):
            load_model(name)  # does it answer?
            names.append(name)
            continue
        engine, colon, dtype = name.partition(":")
        check_engine(model, engine)
        check_setting("dtype", dtype or "auto", f"--engines {name}")
        chosen = choose_engine(resolve(model).folder, "auto", dtype or "auto", engine)  # is it installed?
        names.append(f"{chosen}{colon}{dtype}")
    return list(dict.fromkeys(names))


def _report(
    what: str, rows: Sequence[dict[str, Any]], out: Path | None, as_json: bool, **details: object
) -> None:
    """Write and print one record."""
    from codefilter.speed.records import speed_record

    text = json.dumps(speed_record(what, rows, details), indent=1) + "\n"
    if out is not None:
        write_atomically(out, text)
    if as_json:
        print(text, end="")
        return
    table = Table(title=f"speed: {what}")
    table.add_column("")
    flat = [dict(_flatten(row)) for row in rows]
    for _ in flat:
        table.add_column(justify="right")
    for name in dict.fromkeys(name for row in flat for name in row):
        values = [row.get(name) for row in flat]
        table.add_row(
            name, *("" if v is None else f"{v:.3g}" if isinstance(v, float) else str(v) for v in values)
        )
    Console().print(table)


def _flatten(row: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested names joined: ``change.median_seconds``."""
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        elif not isinstance(value, list | tuple):
            yield prefix + name, value
