"""Training: figures against naive computations, what networks can learn, the command as a whole."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codefilter.cli import main
from codefilter.cli.train import _CONTROL_PACKAGE as DEFAULT_CONTROLS
from codefilter.config import Settings
from codefilter.dataset.description import Description, SourceRecord, require_description
from codefilter.dataset.exclusions import Exclusion
from codefilter.dataset.sources import find_roots, find_sources, sources_of
from codefilter.errors import DatasetError, FilterError, IntegrityError
from codefilter.filters.drafts import DRAFT_FEATURE_NAMES
from codefilter.filters.features import COMPARED_CANDIDATES, FEATURE_NAMES, network_inputs
from codefilter.filters.networks import Ensemble
from codefilter.filters.trained import WEIGHTS_FILE, check_settings, load_trained, save_trained
from codefilter.lm.fake import byte_tokenizer
from codefilter.packages import load_corpora
from codefilter.paths import cache_path, data_path
from codefilter.tokenizer import Tokenizer
from codefilter.training import adapting
from codefilter.training.adapting import auc_within_lead, is_better
from codefilter.training.classifier import folds_of, judge_out_of_fold, shuffled, train_classifier
from codefilter.training.copying import copy_gains
from codefilter.training.cross import judge_cross_out_of_fold
from codefilter.training.examples import TrainingTask, copied_tasks, elsewhere, labelled_parts
from codefilter.training.fitting import FitOptions, adapt, copy_levels, fit, logistic
from codefilter.training.judging import (
    auc,
    auc_within,
    average_precision,
    choose_threshold,
    judge_filter,
    probabilities,
    threshold_spending,
)
from codefilter.types import TaskLevel
from tests.labelled_repositories import (
    REPOSITORIES,
    SHOP_FILES,
    WEATHER_FILES,
    label_with_fake,
    write_repository,
)
from tests.tiny_models import save_tiny_model

QUICK = FitOptions(
    num_networks=2, hidden=8, epochs=30, copy_epochs=10, batch_tasks=8, learning_rate=1e-2, dropout=0.1
)
TELLING = FEATURE_NAMES.index("names.near")


def made_tasks(repositories: int, per_repository: int, seed: int = 0) -> list[TrainingTask]:
    """Tasks whose impacts follow one feature, with some noise."""
    random = np.random.default_rng(seed)
    tasks = []
    for number in range(repositories * per_repository):
        features = random.normal(size=(6, len(FEATURE_NAMES))).astype(np.float32)
        impacts = 0.3 * features[:, TELLING] + 0.05 * random.normal(size=6)
        tasks.append(
            TrainingTask(
                task_id=f"task-{seed}-{number}",
                repository=f"repository-{number % repositories}",
                level="line",
                features=features,
                impacts=impacts.astype(np.float32),
                cross_file_tokens=np.full(6, 100, np.float32),
            )
        )
    return tasks


scores_and_labels = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans()), min_size=1, max_size=30
)


@given(scores_and_labels)
def test_auc_counts_pairs(pairs: list[tuple[float, bool]]) -> None:
    scores = np.array([score for score, _ in pairs], np.float32)
    labels = np.array([label for _, label in pairs])
    compared = [
        1.0 if high > low else 0.5 if high == low else 0.0
        for high in scores[labels]
        for low in scores[~labels]
    ]
    assert auc(scores, labels) == pytest.approx(np.mean(compared) if compared else 0.5)


def test_average_precision_and_auc_within_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    labels = np.array([True, False, True, False])
    assert average_precision(scores, labels) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(scores, np.zeros(4, bool)) == 0
    one_sided = (np.array([0.1, 0.2], np.float32), np.array([True, True]))  # does not count
    assert auc_within([scores, one_sided[0]], [labels, one_sided[1]]) == pytest.approx(3 / 4)


def test_the_figures_of_a_filter_by_hand() -> None:
    features = np.zeros((4, len(FEATURE_NAMES)), np.float32)
    first = TrainingTask(
        "a", "r", "line", features, np.array([0.5, 0.0, -0.5, 0.3], np.float32), np.full(4, 10, np.float32),
        everything=0.4, floor=0.1,
    )  # fmt: skip
    second = TrainingTask(
        "b", "r", "line", features[:1], np.array([0.1], np.float32), np.full(1, 60, np.float32)
    )
    levels = (-0.2, 0.2)
    judged = [
        np.array([[0.9, 0.8], [0.9, 0.6], [0.2, 0.1], [0.9, 0.3]], np.float32),
        np.array([[0.9, 0.2]], np.float32),
    ]
    figures = judge_filter([first, second], judged, levels, 0.2, -0.2, keep_from=0.5)
    assert (figures.tasks, figures.chunks) == (2, 5)
    assert (figures.positive.precision, figures.positive.recall, figures.positive.share) == (0.5, 0.5, 0.4)
    assert (figures.negative.precision, figures.negative.recall) == (1.0, 1.0)
    assert figures.kept == pytest.approx(0.4)
    assert figures.kept_tokens == pytest.approx(20 / 100)
    assert figures.abstains == 0.5
    assert figures.negatives_kept == 0.0
    assert figures.gain == pytest.approx(0.25)
    assert figures.gain_oracle == pytest.approx(0.25)
    assert figures.gain_all == pytest.approx(0.15)
    assert figures.auc == pytest.approx(5 / 6)


def test_a_threshold_keeps_few_enough_tokens() -> None:
    tasks = made_tasks(2, 20)
    scores = [task.impacts for task in tasks]
    for share in (0.1, 0.3):
        threshold = choose_threshold(tasks, scores, share)
        kept = np.concatenate(scores) >= threshold
        assert 0 < kept.mean() <= share


def test_a_share_of_tokens_that_no_chunk_has_keeps_nothing() -> None:
    tasks = made_tasks(2, 20)
    scores = [(1 / (1 + np.exp(-task.impacts))).astype(np.float32) for task in tasks]
    for share in (0.0, 0.001):
        threshold = choose_threshold(tasks, scores, share)
        assert np.concatenate(scores).max() < threshold <= 1


def test_a_chunk_with_the_truth_gains_and_an_unrelated_one_does_not() -> None:
    before, after = "def total(order):\n    net = order.net\n", "    return net + costs\n"
    target = "    costs = shipping_costs(order.weight(), country)"
    helpful = "def quote(order):\n    costs = shipping_costs(order.weight(), country)\n    return costs"
    unrelated = "class Wind:\n    def gusts(self, speed):\n        return speed * 3"
    names_only = "country = weight\nshipping_costs = 3"
    gains = copy_gains(before, after, target, [helpful, unrelated, names_only])
    assert gains[0] > gains[2] > gains[1]
    assert gains[0] > 1.0
    assert abs(gains[1]) < 0.2
    assert copy_gains("", "", "", ["x"]) == [0.0]


def test_a_word_that_is_begun_is_gained_as_a_whole() -> None:
    chunk = "def quote():\n    return lookup_discount(customer)"
    whole = copy_gains("total = ", "", "lookup_discount(customer)", [chunk])
    assert copy_gains("total = look", "", "up_discount(customer)", [chunk]) == whole
    begun = [
        copy_gains(f"base = first\nlast = base\n{blank}", "", "x = base", ["x = base\n"])
        for blank in ("", "\n")
    ]
    assert begun[0] == begun[1]  # the word above is not begun
    assert whole[0] > 1.0


def test_levels_of_copy_gains_have_the_shares_of_the_impacts() -> None:
    labelled, copied = made_tasks(2, 50), made_tasks(2, 200, seed=1)
    copied = [replace(task, impacts=task.impacts * 7 + 3) for task in copied]
    impacts = np.concatenate([task.impacts for task in labelled])
    gains = np.concatenate([task.impacts for task in copied])
    for level, own in zip((-0.2, 0.2), copy_levels(copied, labelled, (-0.2, 0.2)), strict=True):
        assert (gains > own).mean() == pytest.approx((impacts > level).mean(), abs=0.01)


def test_networks_learn_what_can_be_learned_and_nothing_from_shuffled_labels() -> None:
    tasks = made_tasks(5, 20)
    positive = np.concatenate([task.impacts > 0.2 for task in tasks])
    column = QUICK.levels.index(0.2)

    def over_all(labelled: list[TrainingTask]) -> float:
        judged = judge_out_of_fold([], labelled, replace(QUICK, num_networks=1))
        return auc(np.concatenate([one[:, column] for one in judged]), positive)

    assert over_all(tasks) > 0.8
    assert 0.35 < over_all(shuffled(tasks, seed=1)) < 0.65


def test_copy_gains_alone_teach_the_order() -> None:
    copied, labelled = made_tasks(4, 60, seed=2), made_tasks(3, 10)
    ensemble = fit(copied, [], labelled, QUICK)
    column = QUICK.levels.index(0.2)
    scores = [probabilities(ensemble, task)[:, column] for task in labelled]
    assert auc_within(scores, [task.impacts > 0.2 for task in labelled]) > 0.85


def test_probabilities_are_calibrated_and_ordered_by_level_on_average() -> None:
    tasks = made_tasks(4, 20)
    ensemble = fit([], tasks, tasks, QUICK)
    judged = np.concatenate([probabilities(ensemble, task) for task in tasks])
    impacts = np.concatenate([task.impacts for task in tasks])
    for column, level in enumerate(QUICK.levels):
        assert judged[:, column].mean() == pytest.approx((impacts > level).mean(), abs=0.02)


def test_numpy_computes_what_torch_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    modules: list[torch.nn.Sequential] = []
    from codefilter.training import fitting

    made = fitting._module
    monkeypatch.setattr(fitting, "_module", lambda *a: modules.append(made(*a)) or modules[-1])
    tasks = made_tasks(2, 10)
    ensemble = fit([], tasks, tasks, QUICK)
    inputs = network_inputs(tasks[0].features)
    for network, module in zip(ensemble.networks, modules, strict=True):
        standardised = network.standardise(inputs)
        with torch.no_grad():
            expected = module(torch.from_numpy(standardised)).numpy()
        np.testing.assert_allclose(network.logits(standardised), expected, rtol=1e-4, atol=1e-5)


def test_adapting_learns_what_another_repository_has_of_its_own() -> None:
    ensemble = fit([], made_tasks(3, 30), made_tasks(2, 10, seed=1), QUICK)
    other = FEATURE_NAMES.index("copy.copy")
    own = [
        replace(task, impacts=(0.3 * task.features[:, other]).astype(np.float32))
        for task in made_tasks(1, 120, seed=3)
    ]
    adapted = adapt(ensemble, own[:80], own[80:100], replace(QUICK, tuning_rate=1e-2))
    column = QUICK.levels.index(0.2)
    positive = [task.impacts > 0.2 for task in own[100:]]

    def within(judge: Ensemble) -> float:
        return auc_within([probabilities(judge, task)[:, column] for task in own[100:]], positive)

    assert within(ensemble) < 0.65
    assert within(adapted) > 0.75


def test_adapting_leaves_a_network_as_it_was_where_every_epoch_is_worse() -> None:
    held = made_tasks(2, 10, seed=1)
    ensemble = fit([], made_tasks(3, 30), held, QUICK)
    wrong = [replace(task, impacts=-task.impacts) for task in made_tasks(1, 40, seed=3)]
    adapted = adapt(ensemble, wrong, held, replace(QUICK, tuning_rate=1e-2))
    for name, tensor in ensemble.tensors().items():
        np.testing.assert_array_equal(adapted.tensors()[name], tensor)


def test_logistic_is_where_the_penalised_likelihood_has_no_slope() -> None:
    random = np.random.default_rng(0)
    design = random.normal(size=(200, 4)).astype(np.float32)
    targets = (design[:, 0] + random.normal(size=200) > 0).astype(float)
    penalty = np.array([5.0, 1.0, 0.0, 100.0])
    weights = logistic(design, targets, penalty)
    slope = design.T @ (1 / (1 + np.exp(-design @ weights)) - targets) + penalty * weights
    np.testing.assert_allclose(slope, 0, atol=1e-4)
    assert weights[0] > 0.5


def test_the_cross_form_learns_from_drafts_what_the_texts_do_not_tell() -> None:
    random = np.random.default_rng(4)
    tasks = []
    for task in made_tasks(5, 20):
        drafts = random.normal(size=(6, len(DRAFT_FEATURE_NAMES))).astype(np.float32)
        tasks.append(replace(task, impacts=task.impacts + 0.4 * drafts[:, 0], drafts=drafts))
    late = judge_out_of_fold([], tasks, replace(QUICK, num_networks=1))
    positive = np.concatenate([task.impacts > 0.2 for task in tasks])
    column = QUICK.levels.index(0.2)

    def over_all(judged: list[np.ndarray]) -> float:
        return auc(np.concatenate([one[:, column] for one in judged]), positive)

    crossed = judge_cross_out_of_fold(tasks, late, QUICK.levels, folds_of(tasks))
    assert over_all(crossed) > over_all(late) + 0.1
    chances = np.concatenate(crossed)[:, column]
    assert chances.mean() == pytest.approx(positive.mean(), abs=0.03)


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.integers(1, COMPARED_CANDIDATES))
def test_a_judgement_does_not_depend_on_the_order_of_the_candidates(seed: int, count: int) -> None:
    tasks = made_tasks(1, 4)
    ensemble = fit([], tasks, [], replace(QUICK, epochs=1))
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, len(FEATURE_NAMES))).astype(np.float32)
    order = random.permutation(count)
    straight = ensemble.probabilities(network_inputs(features))
    np.testing.assert_allclose(
        ensemble.probabilities(network_inputs(features[order])), straight[order], atol=1e-5
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filter trained by the commands on labels of the fake model; the folder beside the repositories."""
    home = tmp_path_factory.mktemp("training")
    garden = {path.replace("weather", "garden"): text for path, text in WEATHER_FILES.items()}
    repositories = {**REPOSITORIES, "garden": garden}
    labels, out = label_with_fake(home, 6, repositories=repositories), home / "filter"
    train = ["train", "classifier", "--data", str(labels), "--out", str(out), "--networks", "1"]
    sources = [option for name in repositories for option in ("--source", str(home / name))]
    assert main([*train, *sources]) == 1  # not divided into parts
    assert main(["dataset", "split", str(labels), "--validation", "0.34"]) == 0
    assert main([*train, *sources, "--html", str(home / "page.html")]) == 0
    return out


def test_the_command_writes_weights_a_record_and_a_page(trained: Path) -> None:
    record = json.loads((trained / "training.json").read_text())
    assert record["out_of_fold"]["tasks"] == 18
    assert [point["label_tasks"] for point in record["curve"]] == [6, 8, 9, 12]  # of three folds of six
    assert record["manifest"]["labelled_by"] == "fake"
    assert record["cross"]["tasks"] == 18
    assert 0 <= record["manifest"]["keep_from"] <= 1
    html = (trained.parent / "page.html").read_text()
    assert html.count("<svg") == 5
    assert not any(network in html for network in ("<script", "<link", "src="))
    assert load_trained(trained).manifest.features == FEATURE_NAMES
    card = (trained / "README.md").read_text()
    assert "keep at most\n  20% of the tokens" in card
    assert card.rstrip().endswith("--max-tokens-share 0.2\n```")
    shipped = Path(__file__).parents[1] / "data" / "filters" / "classifier" / "README.md"
    [stopped] = [line for line in card.split("\n") if "networks are stopped" in line]
    assert "calibrated on those of both parts" in stopped
    assert stopped in shipped.read_text()


def divided(trained: Path, folder: Path, **parts: list[str]) -> Path:
    """The same labels, divided otherwise."""
    shutil.copytree(trained.parent / "labels", folder)
    (folder / "splits.json").write_text(json.dumps(parts))
    return folder


def train_on(labels: Path, trained: Path, others: list[Path], out: Path) -> list[str]:
    """Train up to the first network; what was done until then."""
    folders = [str(trained.parent / name) for name in ("shop", "weather", "garden")]
    done: list[str] = []

    def note(what: str) -> None:
        done.append(what)
        if what.startswith("folds"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_classifier(
            labels,
            find_sources([*folders, *map(str, others)]),
            find_roots(require_description(labels), folders),
            byte_tokenizer(),
            out,
            QUICK,
            progress=note,
        )
    return done


def test_nothing_is_learned_of_test_and_validation_repositories(trained: Path, tmp_path: Path) -> None:
    others = [write_repository(tmp_path / name, WEATHER_FILES) for name in ("attic", "cellar")]
    labels = divided(
        trained, tmp_path / "labels", train=["shop", "weather"], validation=["garden"], test=["attic"]
    )
    done = train_on(labels, trained, others, tmp_path / "out")
    copied = [what.removeprefix("copy gains of ") for what in done if what.startswith("copy")]
    assert copied == ["shop", "weather", "cellar"]  # the cellar is in no part: nothing was labelled there


def test_copy_gains_of_one_fold_are_too_few(trained: Path, tmp_path: Path) -> None:
    labels = divided(trained, tmp_path / "labels", train=["shop"], validation=["weather", "garden"], test=[])
    with pytest.raises(DatasetError, match="1 repositories in its train part"):
        train_on(labels, trained, [], tmp_path / "out")


def test_copy_gains_that_are_kept_are_of_this_text_and_this_tokenizer(tmp_path: Path) -> None:
    folder, kept = write_repository(tmp_path / "shop", SHOP_FILES), tmp_path / "kept"

    def gains(tokenizer: Tokenizer | None = None) -> list[TrainingTask]:
        [source] = find_sources([str(folder)])
        counts = {TaskLevel.LINE: 2}
        return copied_tasks(source, tokenizer or byte_tokenizer(), Settings(num_candidates=10), kept, counts)

    first = gains()
    assert first
    assert [task.task_id for task in gains()] == [task.task_id for task in first]
    assert len(list(kept.iterdir())) == 1
    other = byte_tokenizer()
    other.token_bytes[-1] = b"<|another|>"
    gains(other)
    assert len(list(kept.iterdir())) == 2
    for name in SHOP_FILES:
        (folder / name).unlink()
    write_repository(folder, WEATHER_FILES)
    assert not {task.task_id for task in gains()} & {task.task_id for task in first}


def test_completing_with_the_weights(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = trained.parent / "shop" / "shop" / "orders.py"
    complete = ["complete", str(file), "--line", "22", "--model", "fake", "--json"]
    weights = ["--filter-weights", str(trained)]
    assert main([*complete, "--filter", "classifier:0", *weights]) == 0
    kept_all = json.loads(capsys.readouterr().out)
    assert main([*complete, "--filter", "classifier:1", *weights]) == 0
    kept_none = json.loads(capsys.readouterr().out)
    assert all(chunk["keep"] for chunk in kept_all["chunks"])
    assert all(chunk["probabilities"]["positive"] == chunk["confidence"] for chunk in kept_all["chunks"])
    assert not any(chunk["keep"] for chunk in kept_none["chunks"])
    assert all("below the threshold of 100%" in chunk["reason"] for chunk in kept_none["chunks"])


def test_cross_reads_with_the_model_that_labelled(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = trained.parent / "shop" / "shop" / "orders.py"
    complete = ["complete", str(file), "--line", "22", "--model", "fake", "--json", "--filter-weights"]
    assert main([*complete, str(trained), "--filter", "cross:0"]) == 0
    chunks = json.loads(capsys.readouterr().out)["chunks"]
    assert chunks
    assert all(chunk["keep"] and "the model's own draft gains" in chunk["reason"] for chunk in chunks)
    read = load_trained(trained)
    save_trained(tmp_path / "text", read.manifest, read.ensemble)
    assert main([*complete, str(tmp_path / "text"), "--filter", "cross"]) == 1
    assert "without model features" in capsys.readouterr().err
    other = replace(read.manifest, labelled_by="other", labelled_by_sha256="0" * 64)
    save_trained(tmp_path / "other", other, read.ensemble, read.cross)
    assert main([*complete, str(tmp_path / "other"), "--filter", "cross"]) == 1
    assert "trained to read with other, not fake" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--filter", "classifier:2"], "a probability from 0 to 1"),
        (["--filter", "classifier", "--layout", "after-suffix"], "Use --layout auto"),
        (["--filter", "cross", "--layout", "files-in-prefix"], "trained with layout repository"),
        (["--filter", "classifier", "--retriever", "bm25"], "trained with retriever"),
        (["--filter", "classifier", "--filter-weights", "nowhere"], "holds no trained filter"),
    ],
)
def test_what_does_not_fit_is_an_error(
    trained: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = trained.parent / "shop" / "shop" / "orders.py"
    complete = ["complete", str(file), "--line", "22", "--model", "fake", "--filter-weights", str(trained)]
    assert main([*complete, *options]) in (1, 2)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("layout", ["auto", "files-in-prefix", "repository"])
def test_the_layout_that_auto_completes_in_fits_by_name(
    trained: Path, layout: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = trained.parent / "shop" / "shop" / "orders.py"
    complete = ["complete", str(file), "--line", "22", "--model", "fake", "--filter-weights", str(trained)]
    assert main([*complete, "--filter", "classifier", "--layout", layout]) == 0
    assert "likely to help" in capsys.readouterr().out


def test_labels_in_another_layout_need_that_layout() -> None:
    labelled = {"layout": "after-suffix", "retriever": "hybrid", "chunker": "syntax"}
    check_settings(replace(Settings(), layout="after-suffix"), **labelled)
    for layout in ("auto", "files-in-prefix"):
        with pytest.raises(FilterError, match="trained with layout after-suffix") as caught:
            check_settings(replace(Settings(), layout=layout), **labelled)
        assert "Use layout after-suffix" in caught.value.hint


def test_weights_that_changed_are_refused(trained: Path, tmp_path: Path) -> None:
    for file in trained.glob("filter.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = bytearray((tmp_path / WEIGHTS_FILE).read_bytes())
    weights[-1] ^= 1
    (tmp_path / WEIGHTS_FILE).write_bytes(weights)
    with pytest.raises(IntegrityError):
        load_trained(tmp_path)
    manifest = json.loads((tmp_path / "filter.json").read_text())
    manifest["features"] = manifest["features"][1:]
    (tmp_path / "filter.json").write_text(json.dumps(manifest))
    with pytest.raises(FilterError, match="other features"):
        load_trained(tmp_path)


def test_adapting_to_a_repository_says_whether_to_use_it(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "train",
        "classifier",
        "--repo",
        str(trained.parent / "weather"),
        "--out",
        str(tmp_path / "own"),
    ]
    others = ["--control-repo", str(trained.parent / "shop"), "--filter-weights", str(trained)]
    assert main([*command, *others, "--model", "fake", "--tasks", "30", "--seed", "3"]) == 0
    captured = capsys.readouterr()
    assert re.search(r"like the first one, 30 places take \d+ minutes", captured.err)
    assert "as it was" in captured.out
    record = json.loads(next((tmp_path / "own").rglob("training.json")).read_text())
    assert record["folder"] == str(tmp_path / "own" / "not-better")
    old, new = load_trained(trained).manifest, load_trained(Path(record["folder"])).manifest
    assert new.label_tasks > old.label_tasks
    assert new.cross_keep_from is None
    assert new.weights_sha256 != old.weights_sha256
    assert new.seed == 3
    assert record["manifest"]["weights_sha256"] == new.weights_sha256
    assert record["manifest"]["keep_from"] == record["adapted"]["keep_from"] == new.keep_from
    assert record["adapted"]["kept_tokens"] <= record["shipped"]["kept_tokens"]
    assert record["better"] is False
    assert isinstance(record["enough"], bool)
    assert record["began_with"] == old.weights_sha256
    assert (record["plan"]["per_repository"], record["plan"]["own"]) == (30, "weather")
    assert (record["options"]["seed"], record["labels"]["recipe"]["options"]["seed"]) == (3, 3)
    assert record["settings"]["model"] == "fake"
    assert record["learned_tasks"] + old.label_tasks == new.label_tasks
    assert main([*command, *others, "--data", "labels"]) == 2
    assert main(["train", "classifier", "--out", str(tmp_path / "own")]) == 2


def test_a_repository_that_was_edited_is_labelled_anew(trained: Path, tmp_path: Path) -> None:
    weather = write_repository(tmp_path / "weather", WEATHER_FILES)
    out = weather / "filters" / "own"  # what it writes there is not the repository's text
    out.mkdir(parents=True)
    command = ["train", "classifier", "--repo", str(weather), "--out", str(out), "--model", "fake"]
    others = ["--control-repo", str(trained.parent / "shop"), "--filter-weights", str(trained)]

    def labelled() -> int:
        assert main([*command, *others, "--tasks", "30"]) == 0
        return len(list((cache_path() / "labels").iterdir()))

    assert labelled() == 1
    assert labelled() == 1
    git = ["git", "-C", str(weather), "-c", "user.name=x", "-c", "user.email=x"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "no text has changed"], check=True)
    assert labelled() == 1
    for path in WEATHER_FILES:
        file = weather / path
        file.write_text(file.read_text().replace("return", "assert value\n    return"))
    assert labelled() == 2


@pytest.mark.parametrize(
    ("way", "option"),
    [
        *[
            ("--repo", option)
            for option in (
                ("--html", "page.html"),
                ("--keep-from", "0.1"),
                ("--max-tokens-share", "0.2"),
                ("--networks", "8"),
                ("--source", "folder"),
            )
        ],
        *[
            ("--data", option)
            for option in (
                ("--tasks", "60"),
                ("--control-repo", "amebo"),
                ("--filter-weights", "shipped"),
            )
        ],
    ],
)
def test_an_option_of_the_other_way_is_refused(
    way: str, option: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "classifier", way, str(tmp_path), "--out", str(tmp_path / "out"), *option]) == 2
    other = "--data" if way == "--repo" else "--repo"
    assert f"{option[0]} goes with {other} only" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("dataset split", ("--validation", "nan")),
        ("dataset split", ("--test", "nan")),
        ("dataset duplicates", ("--threshold", "nan")),
        ("dataset build --out out", ("--time-limit", "nan")),
        ("compare", ("--seed", "-1")),
        ("report", ("--seed", "-1")),
    ],
)
def test_other_commands_refuse_them_too(
    command: str, option: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command.split(), str(tmp_path), *option]) == 2
    assert f"Invalid value for '{option[0]}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option", [("--keep-from", "nan"), ("--max-tokens-share", "nan"), ("--seed", "-1"), ("--seed", "9" * 19)]
)
def test_a_number_that_makes_no_sense_is_refused_before_the_work(
    option: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "classifier", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main([*command, *option]) == 2
    assert f"Invalid value for '{option[0]}'" in capsys.readouterr().err


def test_nothing_is_replaced_by_what_is_not_better(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Path(shutil.copytree(trained, tmp_path / "used"))
    command = ["train", "classifier", "--repo", str(trained.parent / "weather"), "--out", str(out), "--json"]
    others = ["--control-repo", str(trained.parent / "shop"), "--filter-weights", str(trained)]

    def adapted() -> dict[str, Any]:
        assert main([*command, *others, "--model", "fake", "--tasks", "30"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    monkeypatch.setattr(adapting, "is_better", lambda *_: False)
    record = adapted()
    assert (record["better"], record["folder"]) == (False, str(out / "not-better"))
    for file in trained.glob("*.*"):
        assert (out / file.name).read_bytes() == file.read_bytes()
    assert (out / "README.md").exists()
    written = load_trained(out / "not-better").manifest.weights_sha256
    monkeypatch.setattr(adapting, "is_better", lambda *_: True)
    record = adapted()
    assert (record["better"], record["folder"]) == (True, str(out))
    assert load_trained(out).manifest.weights_sha256 == written
    assert not (out / "README.md").exists()  # it was of the weights that were there


def test_only_a_sure_lead_that_is_worth_as_much_is_better() -> None:
    tasks = [replace(task, task_id=f"shop/{i}.py:1-1/line") for i, task in enumerate(made_tasks(1, 20))]
    random = np.random.default_rng(0)
    noise = [random.normal(size=6).astype(np.float32) for _ in tasks]
    good = [task.impacts for task in tasks]
    lead = auc_within_lead(tasks, good, noise, 0.2, seed=0)
    assert lead is not None
    assert lead[0] > 0
    assert auc_within_lead(tasks, noise, noise, 0.2, seed=0) == (0, 0)
    assert auc_within_lead(tasks[:2], good[:2], noise[:2], 0.2, seed=0) is None
    levels = np.zeros((6, 2), np.float32)
    figures = judge_filter(tasks, [levels] * 20, (-0.2, 0.2), 0.2, -0.2, keep_from=0.5)
    assert is_better(figures, figures, lead)
    assert not is_better(figures, replace(figures, gain=figures.gain - 0.1), lead)
    assert not is_better(figures, replace(figures, auc_within=1.0), (-0.01, 0.2))
    assert not is_better(figures, figures, None)
    three = replace(figures, chunks=49, positive=replace(figures.positive, share=3 / 49))  # 2.999… of 49
    assert is_better(three, three, lead)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.35, 1.0])
def test_a_threshold_spends_what_another_filter_does(share: float) -> None:
    tasks = made_tasks(2, 20)
    scores = [task.impacts.round(1) for task in tasks]  # with ties
    threshold = threshold_spending(tasks, scores, share)
    together = np.concatenate(scores)
    assert (together >= threshold).mean() <= share
    lower = together[together < threshold]
    assert not len(lower) or (together >= lower.max()).mean() > share


def test_a_labelled_package_is_not_a_folder_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = next(pin for pin in load_corpora() if pin.role == "train")
    monkeypatch.chdir(tmp_path)
    write_repository(tmp_path / pin.name, SHOP_FILES)
    write_repository(tmp_path / "mine" / "shop", SHOP_FILES)
    recipe = require_description(data_path() / "labels" / "qwen2.5-coder-0.5b").recipe
    named = (SourceRecord(pin.name, pin.version, pin.sha256), SourceRecord("shop", "", ""))
    package, folder = sources_of(Description(recipe, named), ["mine/shop"], [pin.name, "shop"])
    assert (package.pin, package.folder) == (pin, None)
    assert folder.folder == tmp_path / "mine" / "shop"
    write_repository(tmp_path / "amebo", SHOP_FILES)
    assert find_sources([DEFAULT_CONTROLS])[0].pin is not None  # what `--repo` takes controls from


def test_copy_gains_are_of_places_without_labels() -> None:
    def at(place: str) -> TrainingTask:
        return replace(made_tasks(1, 1)[0], task_id=place)

    copied = [at(f"shop/a.py:{lines}/api") for lines in ("1-3", "4-9", "10-10", "11-12")]
    copied += [at("shop/b.py:5-5/api"), at("other/a.py:5-5/line")]
    excluded = [Exclusion("other/a.py:90-91/line", "bench/x", 0.9)]
    assert at("other/a.py:5-5/line").task_id not in {t.task_id for t in elsewhere(copied, [], excluded)}
    left = elsewhere(copied, [at("shop/a.py:3-4/line"), at("shop/a.py:10-10/chunk")])
    assert [task.task_id for task in left] == [task.task_id for task in copied[3:]]


def test_labels_in_no_part_and_parts_without_labels_are_errors(trained: Path, tmp_path: Path) -> None:
    labels = divided(trained, tmp_path / "labels", train=["shop"], validation=["weather"], test=[])
    with pytest.raises(DatasetError, match="labels of garden, in no part") as caught:
        labelled_parts(labels)
    assert "dataset split" in caught.value.hint
    parts = {"train": ["shop", "weather", "garden"], "validation": ["empty"]}
    (labels / "splits.json").write_text(json.dumps(parts))
    with pytest.raises(DatasetError, match="none to stop by"):
        train_on(labels, trained, [], tmp_path / "out")


def test_labels_of_a_server_are_learned_from_with_its_tokenizer(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = Path(shutil.copytree(trained.parent / "labels", tmp_path / "labels"))
    description = json.loads((labels / "dataset.json").read_text())
    description["recipe"]["model"]["name"] = "large (unverified)"
    (labels / "dataset.json").write_text(json.dumps(description))
    train = ["train", "classifier", "--data", str(labels), "--out", str(tmp_path / "out"), "--networks", "1"]
    train += [
        option for name in (*REPOSITORIES, "garden") for option in ("--source", str(trained.parent / name))
    ]
    assert main(train) == 2
    assert "labelled by a server, large (unverified)" in capsys.readouterr().err
    assert main([*train, "--model", "fake"]) == 0
    description["recipe"]["model"]["name"] = "large"  # of a folder: known by its weights
    (labels / "dataset.json").write_text(json.dumps(description))
    save_tiny_model(tmp_path / "other")
    assert main([*train, "--model", str(tmp_path / "other")]) == 2
    assert "labelled with other weights of large" in capsys.readouterr().err
    assert load_trained(tmp_path / "out").manifest.labelled_by == "large (unverified)"


@pytest.mark.parametrize("form", ["classifier", "generative"])
def test_without_matplotlib_nothing_is_trained_for_a_page(
    form: str,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    labels, out = str(trained.parent / "labels"), tmp_path / "out"
    command = ["train", form, "--data", labels, "--out", str(out), "--html", str(tmp_path / "page.html")]
    assert main(command) == 2
    assert "needs matplotlib" in capsys.readouterr().err


def test_a_source_that_is_not_named_is_asked_for(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def find(names: list[str]) -> list[object]:
        raise AssertionError("no name means every train package")

    monkeypatch.setattr("codefilter.dataset.sources.find_sources", find)
    labels = str(trained.parent / "labels")
    assert main(["train", "classifier", "--data", labels, "--out", str(tmp_path / "out")]) == 1
    assert "not among the repositories given" in capsys.readouterr().err


def test_a_card_says_what_is_known_and_replaces_only_a_card(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Path(shutil.copytree(trained, tmp_path / "again"))
    folders = [str(trained.parent / name) for name in ("shop", "weather", "garden")]
    command = [
        "train",
        "classifier",
        "--data",
        str(trained.parent / "labels"),
        "--out",
        str(out),
        "--networks",
        "1",
    ]
    command += [option for folder in folders for option in ("--source", folder)]
    command += ["--keep-from", "0.1", "--max-tokens-share", "0.5"]
    (out / "README.md").write_text("# My notes\n")
    assert main(command) == 2
    assert "no filter's card" in capsys.readouterr().err
    assert (out / "README.md").read_text() == "# My notes\n"
    shutil.copy(trained / "README.md", out)
    assert main(command) == 0
    record = json.loads((out / "training.json").read_text())
    assert (record["keep_from"], record["max_tokens_share"], record["languages"]) == (0.1, 0.5, ["python"])
    card = (out / "README.md").read_text()
    assert "The threshold was given (`--keep-from`); what it was chosen on is not known here." in card
    assert "The labels are of python code, by one model, fake." in card
    assert "calibrated by labels of 6 places" in card
    assert card.rstrip().endswith("--keep-from 0.1 --max-tokens-share 0.5\n```")
