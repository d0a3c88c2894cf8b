"""`codefilter explain`: which chunk helped which tokens, measured; what was dropped, and why."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codefilter.attribution import attribute
from codefilter.cli import main
from codefilter.completion import Completer
from codefilter.config import Settings
from codefilter.dataset.storage import read_examples
from codefilter.feedback import FeedbackRecord, FeedbackStore, Outcome
from codefilter.index import RepositoryIndex
from codefilter.lm.base import Continuation, LanguageModel
from codefilter.lm.fake import FakeLanguageModel, byte_tokenizer_spec
from codefilter.types import CompletionRequest, FilterDecision
from tests.labelled_repositories import label_with_fake
from tests.remote_servers import TextDouble

SETTINGS = Settings(model="fake", filter="all")
SHOWN = FeedbackRecord(
    "1", 1.0, "/shop", "shop/new.py", "python", "", "", "", Outcome.SHOWN, 0, None, "fake", "all", 1, 1
)


def explained(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    code = main(["explain", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    result: dict[str, Any] = json.loads(captured.out)
    return result


@pytest.fixture
def new_file(sample_repository: Path) -> Path:
    """A line that the fake model goes on with as ``shop/pricing.py`` does."""
    file = sample_repository / "shop" / "new.py"
    file.write_text("price = price_with_d")
    return file


def by_path(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The best chunk of every file."""
    chunks = sorted(result["chunks"], key=lambda chunk: chunk["impact_nats"])
    return {chunk["path"]: chunk for chunk in chunks}


def test_the_chunk_that_was_copied_is_what_helped(capsys: pytest.CaptureFixture[str], new_file: Path) -> None:
    result = explained(capsys, new_file, "--line", 1, "--model", "fake", "--filter", "all")
    assert result["text"].startswith("iscount(")
    assert not result["given"]
    assert result["place"] == "shop/new.py:1:21"
    best = by_path(result)["shop/pricing.py"]
    assert best["impact_nats"] == max(chunk["impact_nats"] for chunk in result["chunks"]) > 1
    assert "".join(best["helped"]).startswith("iscount(")
    others = [chunk for chunk in result["chunks"] if chunk["path"] != "shop/pricing.py"]
    assert others
    assert all(abs(chunk["impact_nats"]) < 0.5 for chunk in others)
    assert result["together"]["impact_nats"] > 1
    for chunk in result["chunks"]:
        assert len(chunk["gains"]) == len(result["tokens"])
        assert chunk["impact_nats"] == pytest.approx(sum(chunk["gains"]) / len(chunk["gains"]))


def test_a_gain_is_the_likelihood_with_the_chunk_less_the_one_without(new_file: Path) -> None:
    model = FakeLanguageModel()
    index = RepositoryIndex.open(new_file.parents[1])
    completer = Completer(index, model, SETTINGS)
    request = CompletionRequest("shop/new.py", "price = price_with_d", "", "python")
    decisions = completer.prepare(request).decisions
    readings: list[int] = []
    found = attribute(completer, model, request, "iscount(1)", decisions, on_read=lambda: readings.append(1))
    assert len(readings) == 2 + len(decisions)
    in_file = completer.cut_in_file(request)

    def mean_nats(kept: Sequence[FilterDecision]) -> float:
        chunks = [decision.candidate for decision in kept]
        prompt = completer.measuring_prompt(request, in_file, chunks)
        ids = tuple((prompt.healed_text + "iscount(1)").encode())
        return model.log_likelihoods(prompt.token_ids, [Continuation(ids, len("iscount(1)"))])[0].mean_nats

    for effect in found.effects:
        assert effect.impact_nats == pytest.approx(mean_nats([effect.decision]) - mean_nats([]))
    assert found.together_nats == pytest.approx(mean_nats(decisions) - mean_nats([]))
    nothing = [replace(decision, keep=False) for decision in decisions]
    assert attribute(completer, model, request, "iscount(1)", nothing).together_nats == 0


def test_a_given_text_is_explained_in_the_place_of_the_models(
    capsys: pytest.CaptureFixture[str], new_file: Path
) -> None:
    place = (new_file, "--line", 1, "--model", "fake")
    result = explained(capsys, *place, "--text", "iscount(zebra_quagga)")
    assert result["given"]
    assert "".join(result["tokens"]) == "iscount(zebra_quagga)"
    helped = "".join(by_path(result)["shop/pricing.py"]["helped"])
    assert helped.startswith("iscount(")
    assert "quagga" not in helped


def test_dropped_chunks_are_measured_too_and_say_why(
    capsys: pytest.CaptureFixture[str], new_file: Path
) -> None:
    result = explained(capsys, new_file, "--line", 1, "--model", "fake", "--filter", "top-k:1")
    verdicts = {(chunk["in_prompt"], chunk["reason"]) for chunk in result["chunks"]}
    assert (True, "rank 1, 1 are kept") in verdicts
    assert (False, "rank 2, 1 are kept") in verdicts
    everything = explained(capsys, new_file, "--line", 1, "--model", "fake", "--text", result["text"])
    alone = {(c["path"], c["start_line"]): c["impact_nats"] for c in everything["chunks"]}
    for chunk in result["chunks"]:  # what a chunk alone does is not the filter's
        assert chunk["impact_nats"] == pytest.approx(alone[chunk["path"], chunk["start_line"]])


def test_a_chunk_over_the_whole_budget_is_not_measured(
    capsys: pytest.CaptureFixture[str], new_file: Path
) -> None:
    (new_file.parents[1] / "codefilter.toml").write_text("cross_file_tokens = 20\n")
    result = explained(capsys, new_file, "--line", 1, "--model", "fake", "--filter", "all")
    assert {(c["gains"], c["reason"]) for c in result["chunks"]} == {
        (None, "kept, but over the token budget")
    }
    assert result["together"]["impact_nats"] == 0


def test_people_get_a_table_and_a_page(
    capsys: pytest.CaptureFixture[str], new_file: Path, tmp_path: Path
) -> None:
    place = ["explain", str(new_file), "--line", "1", "--model", "fake", "--filter", "top-k:2"]
    assert main(place) == 0
    printed = capsys.readouterr().out
    assert "price = price_with_discount(" in printed  # what was typed is not said twice
    for part in ("nats/token", "shop/pricing.py", "kept", "dropped", "filter top-k:2"):
        assert part in printed
    page = tmp_path / "page.html"
    assert main([*place, "--html", str(page)]) == 0
    assert capsys.readouterr().out == ""
    html = page.read_text()
    assert "rgba(0,140,60" in html
    in_prompt, dropped = html.split("<h2>In the prompt</h2>")[1].split("<h2>Dropped</h2>")
    assert in_prompt.count("<details") == 2
    assert dropped.count("<details") >= 1
    assert not any(network in html for network in ("<script", "<link", "src="))


def test_where_the_model_writes_nothing_there_is_nothing_to_be_likely(
    capsys: pytest.CaptureFixture[str], new_file: Path
) -> None:
    result = explained(capsys, new_file, "--line", 1, "--model", "fake", "--text", "")
    assert result["tokens"] == []
    assert any("empty" in notice for notice in result["notices"])
    assert all(chunk["impact_nats"] == 0 for chunk in result["chunks"])


def test_characters_of_several_tokens_stay_whole_and_commands_to_the_terminal_do_not_reach_it(
    capsys: pytest.CaptureFixture[str], new_file: Path
) -> None:
    new_file.write_text("prüce = price_with_dü")
    place = (new_file, "--line", 1, "--model", "fake", "--text", "iscöunt(\x1b[31m€)")
    result = explained(capsys, *place)
    assert "".join(result["tokens"]).endswith("iscöunt(\x1b[31m€)")
    assert "\ufffd" not in json.dumps(result["tokens"], ensure_ascii=False)
    assert len(result["tokens"]) == len(result["nats_without_chunks"])
    assert all(token for chunk in result["chunks"] for token in chunk["helped"] + chunk["harmed"])
    assert main(["explain", *map(str, place)]) == 0
    printed = capsys.readouterr().out
    assert "prüce = price_with_düiscöunt( [31m€)" in printed
    assert "\x1b" not in printed


@pytest.fixture
def labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    out = label_with_fake(tmp_path, 3, "--levels", "line")
    capsys.readouterr()
    return out


def test_an_example_of_labels_is_explained_as_it_was_labelled(
    capsys: pytest.CaptureFixture[str], labels: Path
) -> None:
    record = next(r for r in read_examples(labels) if r.repository == "shop")
    repos = ("--repo", labels.parent / "shop", "--repo", labels.parent / "weather")
    result = explained(capsys, "--data", labels, "--id", record.example_id, *repos, "--filter", "top-k:1")
    found = {(c["path"], c["start_line"]): c for c in result["chunks"]}
    assert [c["in_prompt"] for c in result["chunks"]] == [True, False, False]
    for chunk in record.chunks:
        measured = found[chunk.path, chunk.start_line + 1]
        assert measured["impact_nats"] == pytest.approx(chunk.impact, abs=1e-3)
        gains = [a - b for a, b in zip(chunk.reading.target_nats, record.baseline.target_nats, strict=True)]
        assert measured["gains"] == pytest.approx(gains, abs=2e-3)


@pytest.mark.parametrize(
    "option",
    [("--layout", "after-suffix"), ("--retriever", "bm25"), ("--column", "3"), ("--max-lines", "2")],
)
def test_what_the_labels_say_is_not_chosen(capsys: pytest.CaptureFixture[str], option: Sequence[str]) -> None:
    assert main(["explain", "--data", "labels", "--id", "1", *option]) == 2
    assert f"{option[0]} does not go with --data" in capsys.readouterr().err


def test_what_an_editor_showed_is_explained(capsys: pytest.CaptureFixture[str], new_file: Path) -> None:
    place = (new_file, "--line", 1, "--model", "fake", "--filter", "all")
    assert main(["explain", *map(str, place), "--id", "ab"]) == 2
    assert "no completions are kept" in capsys.readouterr().err
    store = FeedbackStore()
    for record_id, text in (("abc1", "iscount(amount)"), ("abd2", "elivery()")):
        store.put(replace(SHOWN, record_id=record_id, text=text))
    store.close()
    assert explained(capsys, *place, "--id", "abd")["text"] == "elivery()"
    for wanted, count in (("ab", 2), ("x", 0)):
        assert main(["explain", *map(str, place), "--id", wanted]) == 2
        assert f"{count} of the completions that are kept" in capsys.readouterr().err


@pytest.fixture
def text_server() -> Iterator[TextDouble]:
    server = TextDouble()
    yield server
    server.close()


def test_a_server_without_likelihoods_is_a_clear_error(
    capsys: pytest.CaptureFixture[str], new_file: Path, text_server: TextDouble, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(byte_tokenizer_spec()))
    name = f"remote:{text_server.url}?tokenizer={tmp_path}"
    assert main(["explain", str(new_file), "--line", "1", "--model", name]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "cannot score text" in captured.err
    assert "hint: vLLM" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to explain"),
        (("shop/new.py",), "nothing to explain"),
        (("--data", "labels"), "nothing to explain"),
        (("shop/new.py", "--line", "1", "--data", "labels", "--id", "1"), "nothing to explain"),
        (("shop/new.py", "--line", "1", "--text", "a", "--id", "1"), "nothing to explain"),
        (("shop/new.py", "--line", "1", "--repo", ".", "--repo", ".."), "one repository"),
        (("shop/new.py", "--line", "99", "--model", "fake"), "line 99 is not there"),
        (("shop/new.py", "--line", "1", "--model", "fake", "--filter", "magic"), "unknown filter"),
        (("shop/new.py", "--line", "1", "--model", "fake", "--filter", "oracle"), "needs truth"),
    ],
)
def test_mistakes_say_what_to_do(
    capsys: pytest.CaptureFixture[str],
    new_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: Sequence[str],
    message: str,
) -> None:
    monkeypatch.chdir(new_file.parents[1])
    assert main(["explain", *arguments]) in (1, 2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert "hint: " in captured.err


@pytest.mark.slow
def test_the_real_model_names_the_file_that_it_needs(
    default_model: LanguageModel, sample_repository: Path
) -> None:
    text = (sample_repository / "shop" / "report.py").read_text()
    at = text.index("price_with_tax(order.") + len("price_with_tax(order.")
    request = CompletionRequest("shop/report.py", text[:at], "\n", "python")
    completer = Completer(RepositoryIndex.open(sample_repository), default_model, Settings(filter="all"))
    decisions = completer.prepare(request).decisions
    found = attribute(completer, default_model, request, "total_amount()))", decisions)
    best = max(found.effects, key=lambda effect: effect.impact_nats)
    assert best.decision.candidate.chunk.path == "shop/orders.py"
    assert best.decision.candidate.chunk.symbol == "Order"
    assert best.impact_nats > 1
    assert best.gains is not None
    gains = dict(zip(found.tokens, best.gains, strict=True))
    assert gains["_amount"] > 1  # only that file tells how the name goes on after "total"
    assert "".join(found.tokens).endswith("total_amount()))")
