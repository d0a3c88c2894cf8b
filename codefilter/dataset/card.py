"""The card of a dataset: what it is, how it was made, what its figures are; ``README.md`` beside the shards.

In: the figures of a dataset. Out: Markdown with the header that dataset hubs read.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from codefilter.dataset.coalitions import COALITIONS_FILE
from codefilter.dataset.comparisons import AGREEMENTS_FILE
from codefilter.dataset.description import DESCRIPTION_FILE
from codefilter.dataset.exclusions import EXCLUSIONS_FILE, read_comparison
from codefilter.dataset.split import PARTS, SPLITS_FILE, read_splits
from codefilter.dataset.stats import DatasetStats, percent, sentences
from codefilter.dataset.storage import SHARDS, shards
from codefilter.paths import sha256_of_file

CARD_FILE = "README.md"
_HEADING = "# Impact labels"
_ABOUT = """\
What each retrieved chunk of a repository does to the log-likelihood of a true completion (CODEFILTER, arXiv
2508.05970), measured against unrelated chunks of the same length. References and numbers only: packages,
versions, paths, lines and hashes. `codefilter dataset materialize` puts the text back and checks every hash;
the text stays under the licence of each package. The drafts are the labelling model's own words."""


def is_card(path: Path) -> bool:
    """Whether a file is the card of a dataset, which another may replace."""
    return _HEADING in path.read_text(encoding="utf-8", errors="replace").split("\n")


def card_text(folder: Path, stats: DatasetStats) -> str:
    """The card's text; the same folder gives the same card."""
    recipe = stats.description.recipe
    parts = read_splits(folder)
    options = ", ".join(f"{name} {value}" for name, value in asdict(recipe.options).items())
    engines = "; ".join(stats.description.engines)
    recorded = sum(run.examples for run in stats.description.runs if run.engine)
    if recorded < stats.whole.examples:
        engines += f" (known of {recorded} of the {stats.whole.examples} tasks)"
    lines = [
        "---",
        "configs:",
        "- config_name: default",
        f"  data_files: {json.dumps(SHARDS)}",
        "tags: [code, code-completion, context-filtering]",
        "---",
        _HEADING,
        "",
        _ABOUT,
        "",
        *(f"- {sentence}" for sentence in sentences(stats)),
        "",
        "## Made with",
        "",
        f"- Model {recipe.model.name}, weights sha256 `{recipe.model.sha256}`, engine {engines}.",
        f"- Layout {recipe.layout}, chunks cut by {recipe.chunker}, order of all together "
        f"{recipe.chunk_order}, cross-file budget {recipe.cross_file_tokens} tokens.",
        f"- Label options: {options}.",
        "",
        "## By level",
        "",
        "| level | tasks | positive | negative | unrelated positive | all that fit worse than none |",
        "|---|---|---|---|---|---|",
        *(
            f"| {row.name} | {row.examples} | {percent(row.positive)} | {percent(row.negative)} | "
            f"{percent(row.control_positive)} | {100 * row.all_worse_than_none:.0f} % |"
            for row in stats.by_level
        ),
        "",
        "## Sources",
        "",
        "| repository | version | sha256 | part | tasks | positive |",
        "|---|---|---|---|---|---|",
    ]
    figures = {row.name: row for row in stats.by_repository}
    for source in sorted(stats.description.sources, key=lambda source: source.name):
        row = figures.get(source.name)
        numbers = f"{row.examples} | {percent(row.positive)}" if row else f"0 | {source.problem or ''}"
        part = parts.get(source.name, "")
        lines.append(f"| {source.name} | {source.version} | `{source.sha256[:16]}` | {part} | {numbers} |")
    compared = read_comparison(folder)
    lines += [
        "",
        f"Near-duplicates of the first {compared.examples} tasks were searched for in "
        f"{', '.join(compared.compared_with)}; {stats.excluded} left out."
        if compared.examples
        else "Near-duplicates were not searched for yet (dataset duplicates).",
        f"{len(stats.description.skipped)} tasks were skipped; {DESCRIPTION_FILE} says why.",
        "",
        "## Files",
        "",
    ]
    named = (DESCRIPTION_FILE, SPLITS_FILE, EXCLUSIONS_FILE, COALITIONS_FILE, AGREEMENTS_FILE)
    others = (folder / name for name in named)
    for path in [*shards(folder), *(path for path in others if path.exists())]:
        lines.append(f"- `{path.name}` `{sha256_of_file(path)}`")
    if parts:
        held = {
            part: sum(figures[n].examples for n, p in parts.items() if p == part and n in figures)
            for part in PARTS
        }
        lines += [
            "",
            "Parts, disjoint by repository: " + ", ".join(f"{p} {n}" for p, n in held.items()) + " tasks.",
        ]
    return "\n".join(lines) + "\n"
