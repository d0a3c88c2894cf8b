"""The README's figures, made from data/results/: ``python -m tests.readme_results`` puts them there.

In: the records that `codefilter evaluate` and `codefilter speed` wrote. Out: Markdown between two marks of the
README. `test_readme` checks that it holds exactly this.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from codefilter.dataset.coalitions import CoalitionFigures
from codefilter.dataset.cost import corpus_cost
from codefilter.dataset.figures import Agreement, LabelFigures
from codefilter.dataset.stats import of_sets, percent
from tests import readme_benchmarks, readme_editor, readme_speed
from tests.recorded_results import read

_AIMED_AUC = 0.75
_LABELS_WITH = {
    "default": "256 + 64 in-file tokens, chunks of about 16 lines as files of the repository, the hole in the cursor's line",
    "measured_hole_lines=4": "a hole that begins above the cursor's line, as completions have it",
    "layout=files-in-prefix/measured_hole_lines=4": "such a hole, and the chunks as code in the prefix, as completions have them",
    "prefix_tokens=512/suffix_tokens=128": "512 + 128 in-file tokens",
    "chunker=window": "windows of 20 lines",
    "chunker=syntax:40": "chunks of up to 40 lines",
    "layout=repository-scope": "in the header, what a chunk stands in",
    "prefix_tokens=256/suffix_tokens=64/layout=after-suffix": "chunks as comments behind the suffix",
}


def trained_filter() -> str:
    record = read("filter-classifier.json")
    figures, none = record["out_of_fold"], record["curve"][0]
    cold = readme_speed.filter_seconds("classifier", "cold")
    cross = record.get("cross")
    crossed = (
        [f"| `cross`, which has the model read | {cross['auc']:.3f} | {cross['auc_within']:.3f} |"]
        if cross
        else []
    )
    return "\n".join(
        [
            f"`classifier`, judged on {figures['chunks']:,} labelled chunks by networks that saw nothing "
            "of the chunk's repository (`filter-classifier.json`; AUC of positive against the rest):",
            "",
            "| judged by | over all chunks | within a task |",
            "|---|---|---|",
            f"| the filter | {figures['auc']:.3f} | {figures['auc_within']:.3f} |",
            *crossed,
            f"| copy gains alone, calibrated by a fifth of the labels | {none['auc']:.3f} | {none['auc_within']:.3f} |",
            f"| the retriever's score | {record['retriever_auc']:.3f} | {record['retriever_auc_within']:.3f} |",
            f"| shuffled labels | {record['shuffled_auc']:.3f} | {record['shuffled_auc_within']:.3f} |",
            "",
            f"At its threshold, and with the labels' short in-file contexts, it keeps {100 * figures['kept_tokens']:.0f} % of the tokens, {100 * figures['positive']['recall']:.0f} % of the "
            f"positive chunks among them (precision {100 * figures['positive']['precision']:.0f} %), and nothing in "
            f"{100 * figures['abstains']:.0f} % of the tasks. Harmful chunks it does not tell apart: among the kept they are "
            f"{figures['negatives_kept']:.1f} times as frequent as among all. Judging ten chunks of a place (of the usual thirty) takes "
            f"{1000 * cold:.0f} ms (median; `speed-filter.json`).",
            "",
            _learning_curve(record["curve"]),
        ]
    )


def _learning_curve(curve: Sequence[Mapping[str, float]]) -> str:
    """What more labels gave, and how many more the aim would take at the rate of the last step."""
    first, *more = curve
    steps = ", ".join(f"{step['auc']:.3f} with {step['label_tasks']}" for step in more)
    (tasks, auc), (fewer, before) = ((curve[i]["label_tasks"], curve[i]["auc"]) for i in (-1, -2))
    doublings = (_AIMED_AUC - auc) / (auc - before) * math.log2(tasks / fewer)
    return (
        f"By labelled tasks that the networks of a fold saw, over all chunks: {first['auc']:.3f} with {first['label_tasks']} that only calibrate, "
        f"{steps}. At the rate of the last step the aim of {_AIMED_AUC} needs {doublings:.1f} more doublings of the labels (some "
        f"{round(tasks * 2**doublings, -2):,.0f} tasks, and a quarter more to judge by), or a better reader."
    )


def _verdict(auc: float) -> str:
    return "It tells helpful chunks from others no better than chance. " if abs(auc - 0.5) < 0.05 else ""


def tuned_reader() -> str:
    """The paper's filter, beside the others on the tasks that it was judged on."""
    record, others = read("filter-generative.json"), read("filter-classifier.json")
    figures, until, late = record["reading_all"], record["adaptive"], others["validation"]
    manifest = record["manifest"]
    return "\n".join(
        [
            f"**The paper's filter** `generative`, {manifest['reader']} tuned on {manifest['label_tasks']} labelled tasks in "
            f"{record['seconds'] / 60:.0f} minutes of two cores ({record['steps']} steps), judged on the {figures['tasks']} tasks of "
            "the validation repositories (`filter-generative.json`); the training of `classifier` was stopped by them, so its row is optimistic:",
            "",
            "| judged by | over all chunks | within a task |",
            "|---|---|---|",
            f"| `generative` | {figures['auc']:.3f} | {figures['auc_within']:.3f} |",
            f"| `classifier` | {late['auc']:.3f} | {late['auc_within']:.3f} |",
            f"| the retriever's score | {record['retriever_auc']:.3f} | {record['retriever_auc_within']:.3f} |",
            "",
            f"{_verdict(figures['auc'])}It reads {100 * record['chunks_read']:.0f} % of the chunks before it has enough, and keeps "
            f"{100 * until['kept_tokens']:.0f} % of the tokens, {100 * until['positive']['recall']:.0f} % of the positive chunks among "
            f"them (precision {100 * until['positive']['precision']:.0f} %). It learned for one epoch, from what stands before the "
            "last helpful chunk; today it would learn from all chunks.",
        ]
    )


def cost_of_a_corpus(record: Any) -> str:
    description = record["description"]
    recipe = description["recipe"]
    prompts = recipe["num_candidates"] + recipe["options"]["num_controls"]
    machines = [run["machine"] for run in description["runs"]]
    return corpus_cost(LabelFigures(**record["whole"]), machines, prompts).sentence


def _label_settings() -> list[str]:
    """What labels are made with, and what they might have been made with."""
    chosen, layouts = read("choose-label-settings.json"), read("choose-label-layout.json")
    pairs = [*layouts["pairs"], *(pair for pair in chosen["pairs"] if pair["first"] == "default")]
    rows = sorted(
        [*chosen["arms"], layouts["arms"][1]], key=lambda row: list(_LABELS_WITH).index(row["name"])
    )
    same_chunks = {
        p["second"]: p["correlation_within_task"] for p in pairs if p["chunks"] > rows[0]["chunks"] / 2
    }
    return [
        f"**What labels are made with** was chosen on {rows[0]['examples']} tasks of the train packages (`choose-label-settings.json`, "
        "`choose-label-layout.json`; those with a hole above the cursor's line by 37718de, where that could be asked for): how much wider "
        "impacts spread within a task than those of unrelated chunks (signal to noise), who seems to help after the correction, nats of the "
        "ground truth, tokens of a prompt with one chunk, and, where the chunks are the same, how impacts correlate with the first row's "
        "within a task:",
        "",
        "| labels with | signal to noise | chunks that help | unrelated that seem to | nothing / all that fit / the best or nothing | tokens | correlation |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {_LABELS_WITH[row['name']]} | {row['signal_to_noise']:.1f} | {100 * row['positive']:.0f} % | "
            f"{100 * row['control_positive']:.1f} % | {row['nats_none']:.1f} / {row['nats_all']:.1f} / {row['nats_best_or_none']:.1f} | "
            f"{row['prompt_tokens_one_chunk']:.0f} | {_correlation(same_chunks.get(row['name']))} |"
            for row in rows
        ),
        "",
        "So labels are made with the first. The completions' own hole and layout leave the chunks' order within a task nearly as it is, and "
        "make labels noisier; more of the file changes it most, as the file then says itself what a chunk would have.",
    ]


def _correlation(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _agreements(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """How far labels agree that were made of the same chunks in another way."""
    return [
        "The same chunks labelled again, in another way or by other arithmetic: how impacts correlate (above the controls, over all chunks; raw, within a "
        "task), for how many the polarity is the same or opposite, and how many of the positives are positive again:",
        "",
        "| labelled again with | tasks | over all | within a task | same polarity (kappa) | opposite | positive again |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {one.second} | {one.examples} | {one.correlation:.2f} | {one.correlation_within_task:.2f} | {percent(one.same_polarity)} ({one.kappa:.2f}) "
            f"| {percent(one.opposite)} | {percent(one.positives_in_both)} |"
            for one in (Agreement(**values) for values in found)
        ),
    ]


def labels() -> str:
    record = read("labels.json")
    whole = record["whole"]
    return "\n".join(
        [
            f"Of {whole['examples']} tasks and {whole['chunks']} chunks of the train packages "
            "(`labels.json`, `data/labels/`; they grow by the same command):",
            "",
            f"- {100 * whole['positive']:.1f} % of the retrieved chunks help by more than 0.2 nats per token above "
            f"unrelated chunks, {100 * whole['negative']:.1f} % harm; of the unrelated ones themselves "
            f"{100 * whole['control_positive']:.1f} % seem to help. Impacts spread {whole['signal_to_noise']:.1f} "
            "times as wide as those of unrelated chunks.",
            f"- The ground truth of a task has {whole['nats_none']:.1f} nats without chunks, {whole['nats_all']:.1f} with all that fit "
            f"into the prompt (all ten in {whole['all_fitted']} tasks), "
            f"{whole['nats_best_chunk']:.1f} with the best one alone; all that fit make it less likely in "
            f"{100 * whole['all_worse_than_none']:.0f} % of the tasks ({100 * whole['all_worse_where_fitted']:.0f} % where all ten fit).",
            f"- {of_sets(CoalitionFigures(**record['coalitions']))}",
            f"- Labelled on two cores, which other work shared. {cost_of_a_corpus(record)}",
            "",
            *_agreements(record["agreements"]),
            "",
            *_label_settings(),
        ]
    )


def _engine_rows(name: str) -> list[str]:
    return [
        "| engine | prompt | generated | with prompt lookup | nats per token from the first |",
        "|---|---|---|---|---|",
        *(
            f"| {_engine(row['engine'])} | {row['prompt_tokens_per_second']:.0f}{_range(row, 'prompt', 0)} "
            f"| {row['new_tokens_per_second']:.1f}{_range(row, 'new', 1)} | {row['drafted_tokens_per_second']:.1f}{_range(row, 'drafted', 1)} "
            f"| {row['mean_difference_nats']:.3f} |"
            for row in read(name)["rows"]
        ),
    ]


def _range(row: dict[str, Any], rate: str, decimals: int) -> str:
    """The slowest and the fastest place, where the record has them."""
    if "slowest_and_fastest" not in row:
        return ""
    slowest, fastest = row["slowest_and_fastest"][rate]
    return f" ({slowest:.{decimals}f} to {fastest:.{decimals}f})"


def _engine(description: str) -> str:
    """Without where a server was, and what it says of its build."""
    return "llama-server" if description.startswith("remote, ") else description


def engines() -> str:
    plain, drafted = read("speed-drafts.json")["rows"]
    slower = read("speed-engines-avx2.json")
    return "\n".join(
        [
            "**Engines** on two cores with VNNI, 1,024 tokens of prompt, the same token ids, tokens per second (slowest and fastest place; "
            "`speed-engines.json`; llama-server, build 11434, has 4 to 6 bits per weight):",
            "",
            *_engine_rows("speed-engines.json"),
            "",
            f"And on a processor without ({slower['machine']}; `speed-engines-avx2.json`). On both ONNX Runtime is the default:",
            "",
            *_engine_rows("speed-engines-avx2.json"),
            "",
            f"Prompt-lookup decoding gives {drafted['tokens_per_pass']:.1f} tokens per pass on {drafted['prompts']} "
            f"tasks of Fresh, and is {drafted['ratio']:.2f} times as fast; {drafted['same_text']} of "
            f"{plain['prompts']} texts are the same to the letter (`speed-drafts.json`).",
        ]
    )


def speed() -> str:
    return "\n".join(
        [
            "**Also measured**, with VNNI:",
            "",
            readme_speed.indexes(),
            readme_speed.likelihoods(),
            readme_speed.agreement(),
        ]
    )


def render() -> str:
    sections = (
        readme_benchmarks.evaluation(),
        readme_benchmarks.functions(),
        readme_benchmarks.repoeval(),
        readme_benchmarks.another_generator(),
        "### Speed",
        readme_speed.requests(),
        readme_editor.in_the_editor(),
        engines(),
        speed(),
        "### The filter",
        trained_filter(),
        tuned_reader(),
        "### Impact labels",
        labels(),
    )
    return "\n\n".join(sections) + "\n"


PARTS: Mapping[str, Callable[[], str]] = {"state": readme_benchmarks.state, "results": render}


def marks(name: str) -> tuple[str, str]:
    """What stands in the README before and behind a part."""
    return f"<!-- {name} -->\n", f"<!-- end of {name} -->"


if __name__ == "__main__":
    readme = Path(__file__).parents[1] / "README.md"
    text = readme.read_text(encoding="utf-8")
    for name, made in PARTS.items():
        begin, end = marks(name)
        before, rest = text.split(begin)
        text = before + begin + made() + end + rest.split(end, 1)[1]
    readme.write_text(text, encoding="utf-8")
