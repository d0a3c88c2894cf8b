"""Sets of chunks: Shapley's axioms, redundancy in the surrogate, and what is measured on the model."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codefilter.cli import main
from codefilter.coalitions import CoalitionLabel, TriedSet, shapley_values, surrogate_values
from codefilter.dataset.coalitions import COALITIONS_FILE, coalition_figures, read_coalitions
from codefilter.dataset.exclusions import Compared, Exclusion, write_exclusions
from codefilter.lm.fake import FakeLanguageModel
from tests.labelled_repositories import REPOSITORIES, label_with_fake

games = st.integers(1, 5).flatmap(
    lambda n: st.lists(st.floats(-5, 5), min_size=2**n - 1, max_size=2**n - 1).map(lambda v: [0.0, *v])
)
gain_tables = st.tuples(st.integers(1, 5), st.integers(1, 4)).flatmap(
    lambda shape: st.lists(
        st.lists(st.floats(-3, 3), min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
    )
)


@given(game=games)
def test_shapley_values_are_means_over_all_orders(game: list[float]) -> None:
    players = len(game).bit_length() - 1
    found = shapley_values(np.array(game))
    expected = np.zeros(players)
    for order in itertools.permutations(range(players)):
        before = 0
        for player in order:
            expected[player] += game[before | 1 << player] - game[before]
            before |= 1 << player
    assert found == pytest.approx(expected / math.factorial(players), abs=1e-9)
    assert found.sum() == pytest.approx(game[-1])


@given(table=gain_tables)
def test_the_surrogate_agrees_with_single_chunks_and_counts_no_token_twice(table: list[list[float]]) -> None:
    gains = np.array(table)
    values = surrogate_values(gains)
    assert len(values) == 2 ** len(gains)
    assert values[0] == 0
    for chunk, row in enumerate(gains):
        assert values[1 << chunk] == pytest.approx(row.sum())
    twice = surrogate_values(np.vstack([gains, gains[:1]]))  # a copy of the first chunk
    assert twice[len(values) :][1] == pytest.approx(values[1])
    assert shapley_values(twice)[0] == pytest.approx(shapley_values(twice)[-1])


def test_chunks_that_help_different_tokens_add_up_and_equal_ones_share() -> None:
    gains = np.array([[2.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
    values = surrogate_values(gains)
    assert values[0b011] == 3.0
    assert values[0b101] == 2.0
    assert shapley_values(values) == pytest.approx([1.0, 1.0, 1.0])


def test_coalitions_of_a_dataset_are_measured_once_and_never_worse_than_one_chunk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = label_with_fake(tmp_path, 6, "--levels", "line", "--k", "4")
    repos = [str(tmp_path / name) for name in REPOSITORIES]
    assert main(["dataset", "coalitions", str(out), *repos, "--limit", "4"]) == 0
    labels = read_coalitions(out)
    assert 0 < len(labels) <= 4
    for label in labels:
        assert {"none", "all"} <= {one.name for one in label.sets}
        assert label.best.nats >= max(one.nats for one in label.sets if len(one.ranks) <= 1)
        assert label.best.edit_similarity is not None
        assert len({one.ranks for one in label.sets}) == len(label.sets)
        assert len(label.shapley_nats) == len(label.ranks) == 4
    figures = coalition_figures(labels)
    assert figures.nats_best_set >= figures.nats_best_single >= figures.nats_none
    before = (out / COALITIONS_FILE).read_bytes()
    (out / COALITIONS_FILE).write_bytes(before[:-10])  # torn by a kill
    assert read_coalitions(out) == labels[:-1]
    assert (out / COALITIONS_FILE).read_bytes() == before[:-10]  # who only reads changes nothing
    record = tmp_path / "coalitions.json"
    assert main(["dataset", "coalitions", str(out), *repos, "--limit", "4", "--record", str(record)]) == 0
    assert (out / COALITIONS_FILE).read_bytes() == before
    made, model = json.loads(record.read_text()), FakeLanguageModel()
    assert (made["model"]["sha256"], made["engine"]) == (model.identity.sha256, model.description)
    assert made["nats_best_set"] == figures.nats_best_set


def test_edit_similarities_are_of_the_same_tasks() -> None:
    def tried(ranks: tuple[int, ...], nats: float, similarity: float | None) -> TriedSet:
        return TriedSet("greedy", ranks, nats, None, similarity)

    best = tried((0, 1), -1.0, 90.0)
    written = (tried((), -9.0, 10.0), tried((0,), -5.0, 20.0), tried((0, 1, 2), -4.0, 30.0), best)
    half = (tried((), -9.0, 70.0), tried((0,), -5.0, None), tried((0, 1, 2), -4.0, 80.0), best)
    figures = coalition_figures(
        CoalitionLabel(name, (0, 1, 2), (), sets) for name, sets in (("a", written), ("b", half))
    )
    assert (figures.examples, figures.written_examples) == (2, 1)
    assert (
        figures.edit_similarity_none,
        figures.edit_similarity_best_single,
        figures.edit_similarity_all,
        figures.edit_similarity_best_set,
    ) == (10, 20, 30, 90)
    assert coalition_figures([]).written_examples == 0


def test_sets_of_examples_that_are_left_out_count_nowhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = label_with_fake(tmp_path, 6, "--levels", "line", "--k", "2")
    repos = [str(tmp_path / name) for name in REPOSITORIES]
    coalitions = ["dataset", "coalitions", str(out), *repos, "--limit", "3"]
    assert main(coalitions) == 0
    first, second, _ = read_coalitions(out)
    write_exclusions(out, [Exclusion(first.example_id, "bench/x", 0.9)], Compared(12, ("bench",)))
    capsys.readouterr()
    assert main([*coalitions[:-1], "1"]) == 0  # nothing is missing
    figures = json.loads(capsys.readouterr().out)
    assert figures["examples"] == 2
    assert main(["dataset", "stats", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["coalitions"] == figures
    write_exclusions(out, [], Compared(12, ("bench",)))
    assert read_coalitions(out)[:2] == [first, second]
