"""Arms: what is compared. An arm is retriever × filter × layout × strategy: ``FILTER/NAME=VALUE/...``.

In: text of the command line, the run's settings. Out: `Arm`s. ``NAME`` is a setting, or one of two that only
evaluation has: ``strategy`` (`codefilter.strategies`), and ``postprocess=on``, the editor's cleaning, which
is off otherwise because benchmarks score what the model wrote.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from codefilter.config import Settings, check_setting, whole_number
from codefilter.errors import UsageError
from codefilter.filters.base import TrainedChunkFilter, candidates_for
from codefilter.filters.table import get_filter
from codefilter.strategies import get_strategy

_BEFORE_CHANGE = re.compile(r"/(?=\w+=)")  # no other slash: a value may be a path
_NOT_OF_ARMS = {
    "filter": "Write FILTER/NAME=VALUE.",
    **dict.fromkeys(
        ("model", "engine", "device", "dtype"),
        "All arms share the run's model: make another run with --model.",
    ),
    **dict.fromkeys(("max_new_tokens", "max_lines"), "The task decides how much is written."),
}  # settings that an arm has no say in, and why


@dataclass(frozen=True)
class Arm:
    """One way to complete: a filter, and any other setting that differs from the run's."""

    name: str
    settings: Settings
    strategy: str = "once"
    postprocess: bool = False
    weights_sha256: str = ""  # of a trained filter
    num_candidates: int = 0  # that the filter chooses from, at most


def parse_arm(text: str, settings: Settings) -> Arm:
    """``all`` or ``top-k:3/layout=after-suffix/strategy=iterative:2`` → an arm.

    Raises:
        UsageError: an unknown filter, setting or strategy, a setting that an arm has no say in.
        FilterError: trained weights that are not there, or not for these settings.
    """
    filter_name, *changes = _BEFORE_CHANGE.split(text)
    filter_name, slash, wrong = filter_name.partition("/")
    if slash:
        raise UsageError(f"{wrong!r} is not a setting", hint="Write FILTER/NAME=VALUE/NAME=VALUE.")
    values: dict[str, object] = {"filter": filter_name}
    strategy, postprocess = "once", False
    for change in changes:
        name, _, value = change.partition("=")
        if name == "strategy":
            strategy = get_strategy(value).name
        elif name == "postprocess":
            if value not in ("on", "off"):
                raise UsageError(f"postprocess is on or off, not {value!r}", hint=f"In the arm {text!r}.")
            postprocess = value == "on"
        elif name in _NOT_OF_ARMS:
            raise UsageError(f"an arm cannot change {name}, as {text!r} does", hint=_NOT_OF_ARMS[name])
        else:
            current = getattr(settings, name, None)
            number = whole_number(value) if isinstance(current, int) else None
            values[name] = check_setting(name, value if number is None else number, f"the arm {text!r}")
    changed = replace(settings, **values)  # type: ignore[arg-type]  # checked above
    chosen = get_filter(filter_name, changed)
    weights = chosen.weights_sha256 if isinstance(chosen, TrainedChunkFilter) else ""
    num_candidates = candidates_for(chosen, changed.num_candidates)
    return Arm(text, changed, strategy, postprocess, weights, num_candidates)


def is_postprocessed(name: str) -> bool:
    """Whether the arm of that name cleans its predictions, so that they are not what the prompt led to."""
    return "postprocess=on" in _BEFORE_CHANGE.split(name)[1:]


def parse_arms(text: str, settings: Settings) -> list[Arm]:
    """Arms by commas; `UsageError` where one comes twice."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        what = f"the arm {twice[0]} comes twice" if twice else "no arms"
        raise UsageError(what, hint="For example: --arms none,all,top-k:3")
    return [parse_arm(name, settings) for name in names]
