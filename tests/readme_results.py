"""The README's figures, made from data/results/: ``python -m tests.readme_results`` prints the section.

In: the records that `codefilter evaluate` and `codefilter speed` wrote. Out: Markdown. `test_readme` checks
that the README holds exactly this.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codefilter.comparison import ALL_LEVELS, compare
from codefilter.dataset.cost import corpus_cost
from codefilter.dataset.description import RunRecord
from codefilter.dataset.figures import LabelFigures
from codefilter.evaluation.results import TaskResult
from tests import readme_editor, readme_speed

RESULTS = Path(__file__).parents[1] / "data" / "results"


def read(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def arms(name: str) -> list[str]:
    rows = []
    for arm in read(name)["arms"]:
        match = (
            "" if arm["exact_match"] is None else f"{arm['exact_match']:.1f} / {arm['edit_similarity']:.1f}"
        )
        rows.append(
            f"| `{arm['arm']}` | {match} | {arm['nats_per_token']:.3f} | {100 * arm['worse_than_first']:.0f} % "
            f"| {arm['prompt_tokens']:.0f} | {arm['cross_file_tokens']:.0f} |"
        )
    return rows


def differences(record: Any, baseline: str, arms: Sequence[str]) -> list[str]:
    """Arms against a baseline: nats per token and edit similarity, with 95 % intervals."""
    results = [TaskResult(prediction="", target="", chunks=(), **row) for row in record["results"]]
    compared = compare(results, baseline, record["benchmark"], ("nats", "es"))
    found = {(row.arm, row.metric): row for row in compared if row.level == ALL_LEVELS}
    rows = []
    for arm in arms:
        nats, similarity = found[arm, "nats"], found[arm, "es"]
        rows.append(
            f"| `{arm}` against `{baseline}` | {nats.difference.show_signed(3)} | {similarity.difference.show_signed(1)} "
            f"| {nats.wins} / {nats.ties} / {nats.losses} |"
        )
    return rows


def evaluation() -> str:
    record = read("fresh-core.json")
    repositories = len({result["repository"] for result in record["results"]})
    return "\n".join(
        [
            f"**Completing** {record['tasks']} places of {repositories} benchmark packages ({record['levels']}; packages "
            f"of 2026, of which no training label was made; {record['model']['name']}; RepoCoder metrics; "
            "`fresh-core.json`):",
            "",
            "| arm | EM / ES | nats per token | worse than `none` | prompt tokens | of other files |",
            "|---|---|---|---|---|---|",
            *arms("fresh-core.json"),
            "",
            "`classifier` is at the threshold of 0.20 that labels on short in-file contexts gave and that was declared before; "
            "the other two were run afterwards, to see the curve. With full in-file contexts 0.20 keeps a third of the tokens it "
            f"was meant to, so the threshold that ships, 0.1, was chosen anew, on {read('choose-threshold.json')['tasks']} places of "
            "the train packages (`choose-threshold.json`): nats per token "
            + ", ".join(
                f"`{arm['arm']}` {arm['nats_per_token']:.3f} with {arm['cross_file_tokens']:.0f} tokens of other files"
                for arm in read("choose-threshold.json")["arms"]
            )
            + ". Differences on Fresh with 95 % intervals, drawn by repository; wins, ties and losses in nats per token:",
            "",
            "| | nats per token | ES | win / tie / loss |",
            "|---|---|---|---|",
            *differences(record, "none", ["all", "top-k:1", "classifier", "classifier:0.1"]),
            *differences(record, "top-k:1", ["classifier", "classifier:0.1"]),
            *differences(record, "all", ["classifier", "classifier:0.1"]),
        ]
    )


def trained_filter() -> str:
    record = read("filter-classifier.json")
    figures, none = record["out_of_fold"], record["curve"][0]
    return "\n".join(
        [
            f"**The filter** `classifier`, judged on {figures['chunks']:,} labelled chunks by networks that saw nothing "
            "of the chunk's repository (`filter-classifier.json`; AUC of positive against the rest):",
            "",
            "| judged by | over all chunks | within a task |",
            "|---|---|---|",
            f"| the filter | {figures['auc']:.3f} | {figures['auc_within']:.3f} |",
            f"| copy gains alone, no labels | {none['auc']:.3f} | {none['auc_within']:.3f} |",
            f"| the retriever's score | {record['retriever_auc']:.3f} | {record['retriever_auc_within']:.3f} |",
            f"| shuffled labels | {record['shuffled_auc']:.3f} | {record['shuffled_auc_within']:.3f} |",
            "",
            f"It keeps {100 * figures['kept_tokens']:.0f} % of the tokens, {100 * figures['positive']['recall']:.0f} % of the "
            f"positive chunks among them (precision {100 * figures['positive']['precision']:.0f} %), and nothing in "
            f"{100 * figures['abstains']:.0f} % of the tasks.",
        ]
    )


def choice() -> str:
    record = read("choose-layout.json")
    head = "| arm | | nats per token | worse than `none` | prompt tokens | of other files |"
    return "\n".join(
        [
            f"**Choosing** layout, order and retriever on {record['tasks']} places of the train packages, by the "
            "likelihood of the truth (`choose-layout.json`):",
            "",
            head,
            "|---|---|---|---|---|---|",
            *arms("choose-layout.json"),
        ]
    )


def cost_of_a_corpus(record: Any) -> str:
    description = record["description"]
    recipe = description["recipe"]
    prompts = recipe["num_candidates"] + recipe["options"]["num_controls"]
    runs = [RunRecord(**run) for run in description["runs"]]
    return corpus_cost(LabelFigures(**record["whole"]), runs, prompts).sentence


def labels() -> str:
    record = read("labels.json")
    whole = record["whole"]
    return "\n".join(
        [
            f"**Impact labels** of {whole['examples']} places and {whole['chunks']} chunks of the train packages "
            "(`labels.json`, `data/labels/`; they grow by the same command):",
            "",
            f"- {100 * whole['positive']:.1f} % of the retrieved chunks help by more than 0.2 nats per token above "
            f"unrelated chunks, {100 * whole['negative']:.1f} % harm; of the unrelated ones themselves "
            f"{100 * whole['control_positive']:.1f} % seem to help. Impacts spread {whole['signal_to_noise']:.1f} "
            "times as wide as those of unrelated chunks.",
            f"- The truth has {whole['nats_none']:.1f} nats without chunks, {whole['nats_all']:.1f} with all ten, "
            f"{whole['nats_best_chunk']:.1f} with the best one alone; all ten make it less likely in "
            f"{100 * whole['all_worse_than_none']:.0f} % of the places.",
            f"- Labelled on two cores, which other work shared. {cost_of_a_corpus(record)}",
        ]
    )


def engines() -> str:
    rows = [
        f"| {row['engine'].replace(', http://127.0.0.1:18099', '')} | {row['prompt_tokens_per_second']:.0f} "
        f"| {row['new_tokens_per_second']:.1f} | {row['drafted_tokens_per_second']:.1f} "
        f"| {row['mean_difference_nats']:.3f} |"
        for row in read("speed-engines.json")["rows"]
    ]
    plain, drafted = read("speed-drafts.json")["rows"]
    return "\n".join(
        [
            "**Engines** on two cores, 1,024 tokens of prompt, the same token ids, tokens per second "
            "(`speed-engines.json`):",
            "",
            "| engine | prompt | written | with drafts | nats per token from the first |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"Drafts from the prompt give {drafted['tokens_per_pass']:.1f} tokens per pass on {drafted['prompts']} "
            f"places of Fresh, and are {drafted['ratio']:.2f} times as fast; {drafted['same_text']} of "
            f"{plain['prompts']} texts are the same to the letter (`speed-drafts.json`).",
        ]
    )


def speed() -> str:
    cancellation = read("speed-cancellation.json")["rows"][0]
    return "\n".join(
        [
            "**Speed** on two cores (AMD EPYC, AVX-512):",
            "",
            readme_speed.indexes(),
            readme_speed.likelihoods(),
            readme_speed.agreement(),
            f"- A cancelled request stops after {1000 * cancellation['median_seconds']:.0f} ms, at worst "
            f"{1000 * cancellation['worst_seconds']:.0f} ms, in the middle of a prompt that takes "
            f"{cancellation['whole_prompt_seconds']:.1f} s (`speed-cancellation.json`).",
        ]
    )


def render() -> str:
    return f"{labels()}\n\n{trained_filter()}\n\n{evaluation()}\n\n{choice()}\n\n{engines()}\n\n{readme_speed.requests()}\n\n{readme_editor.in_the_editor()}\n\n{speed()}\n"


if __name__ == "__main__":
    print(render(), end="")
