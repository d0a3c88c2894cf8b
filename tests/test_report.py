"""The report: everything is on the page, nothing of it is run, and a browser shows it without a network."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from codefilter.cli import main
from codefilter.evaluation import summarise
from codefilter.evaluation.records import RECORD_FILE, write_record
from codefilter.evaluation.results import TaskError, TaskResult
from codefilter.evaluation.runs import read_run
from codefilter.evaluation.storage import RunWriter
from codefilter.report import plots
from codefilter.report.content import gather
from codefilter.report.diffs import SpanKind, diff
from codefilter.report.page import render
from tests.editors import tools
from tests.made_results import PLAN, USE, made_result, write_run

HOSTILE = "x = '</pre><script>document.title = \"owned\"</script>'"


def results() -> list[TaskResult]:
    rows = []
    for r in range(2):
        for t in range(6):
            task_id = f"r{r}/a.py:{t + 1}-{t + 1}/line"
            rows.append(made_result(task_id, "none", nats=-10.0, es=40.0, prediction=HOSTILE))
            better = made_result(
                task_id, "all", nats=-10.0 + t, es=60.0 + t, cross_file_tokens=80, chunks=[USE]
            )
            rows.append(better)
    return rows


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", results())


def test_the_command_writes_one_page_that_needs_nothing_else(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(run)]) == 0
    path = Path(capsys.readouterr().out.strip())
    text = path.read_text(encoding="utf-8")
    assert path == run / "report.html"
    assert not re.findall(r"(?:src|href)=[\"'](?!#)", text.replace('xlink:href="#', ""))
    assert "@import" not in text
    assert "12 of 12 tasks" in text


def test_of_a_record_there_are_tables_and_plots_but_no_tasks(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = read_run(run).results
    write_record(PLAN, run, summarise(rows, PLAN.arms), rows)
    record = (run / RECORD_FILE).rename(run.parent / "kept.json")
    assert main(["report", str(record)]) == 0
    page = Path(capsys.readouterr().out.strip())
    assert page == run.parent / "kept.html"
    assert "is not in a record" in page.read_text(encoding="utf-8")
    (of_record,), (of_folder,) = gather([record], None, 100).sections, gather([run], None, 100).sections
    assert [table.rows for table in of_record.tables] == [table.rows for table in of_folder.tables]
    assert of_record.tables[0].plots.keys() == of_folder.tables[0].plots.keys()
    assert of_record.tasks == ()
    for both in ([record, run], [run, record]):
        (section,) = gather(both, None, 100).sections
        assert all(arm.spans for task in section.tasks for arm in task.arms)  # the folder's texts
    assert main(["report", str(run.parent / "none.json")]) == 2
    assert "nor its record" in capsys.readouterr().err


def test_what_is_shown_is_what_was_measured(run: Path) -> None:
    (section,) = gather([run], None, 100).sections
    (table,) = section.tables
    assert table.caption.startswith("12 tasks of 2 repositories; differences from none")
    none, everything = table.rows
    similarity = table.columns.index("edit similarity, %")
    cell = everything.cells[similarity]
    assert cell is not None
    assert (cell.value, cell.difference, cell.sure, cell.better) == ("62.5", "+22.5", True, True)
    baseline = none.cells[similarity]
    assert baseline is not None
    assert baseline.difference == ""
    assert everything.outcome == "12/0/0"
    assert section.stages.stages == ("retrieve", "read", "write")
    assert section.stages.rows[0] == ("none", ("0.500", "1.000", "2.000"))
    assert set(table.plots) == {
        "edit similarity, % against prompt tokens",
        "edit similarity, % against seconds to the first token",
    }
    assert section.tasks[0].task_id.endswith("a.py:6-6/line")  # on which the arms differ most
    (chunk,) = section.tasks[0].chunks
    assert chunk.place == "lib.py:1-2"
    assert chunk.decisions == (("all", "in the prompt (positive)", "it helps"),)


def test_a_filter_that_abstains_and_a_measured_impact_are_shown(tmp_path: Path) -> None:
    rows = [
        replace(
            one,
            kept=0 if one.task_id.endswith("a.py:6-6/line") and one.arm == "all" else one.kept,
            chunks=tuple(replace(chunk, impact=0.314) for chunk in one.chunks),
        )
        for one in results()
    ]
    page = gather([write_run(tmp_path / "run", rows)], None, 100)
    (section,) = page.sections
    none, everything = section.tables[0].rows
    assert (none.notes, everything.notes) == ((), ("nothing kept in 17%",))
    assert section.tasks[0].chunks[0].impact == "+0.31 nats per token"
    assert "<b>+0.31 nats per token</b>" in render(page)


def test_how_often_nothing_was_written_is_shown(tmp_path: Path) -> None:
    rows = [
        replace(one, prediction=" \n") if one.arm == "all" and "r0" in one.task_id else one
        for one in results()
    ]
    (section,) = gather([write_run(tmp_path / "run", rows)], None, 0).sections
    none, everything = section.tables[0].rows
    assert (none.notes, everything.notes) == ((), ("nothing written in 50%",))


def test_an_arm_of_fewer_tasks_says_so(tmp_path: Path) -> None:
    fewer = [one for one in results() if one.arm == "none" or one.task_id.startswith("r0")]
    (section,) = gather([write_run(tmp_path / "run", fewer)], None, 100).sections
    table = section.tables[0]
    none, everything = table.rows
    assert (none.notes, everything.notes) == ((), ("6 tasks, against the same of none",))
    cell = everything.cells[table.columns.index("edit similarity, %")]
    assert cell is not None
    assert cell.difference == "+22.5 from 40.0"
    assert cell.method == ""  # the caption's
    assert all("all (6 tasks)" in svg and "none (" not in svg for svg in table.plots.values())


def test_an_arm_whose_intervals_are_drawn_in_another_way_says_so(tmp_path: Path) -> None:
    whole = results()
    fewer = [one for one in whole if one.arm == "all" and int(one.task_id.split(":")[1].split("-")[0]) < 4]
    rows = [*fewer, *(one for one in whole if one.arm == "none")]
    folder = write_run(tmp_path / "run", rows)
    (section,) = gather([folder], "none", 100).sections
    (table,) = section.tables
    assert table.caption == (
        "12 tasks of 2 repositories; differences from none with 95 % intervals, drawn within repositories"
    )
    everything, none = table.rows
    assert (none.notes, everything.notes) == ((), ("6 tasks, against the same of none",))
    cells = [cell for cell in everything.cells if cell is not None]
    assert {cell.method for cell in cells} == {"drawn over all tasks"}
    assert {cell.method for cell in none.cells if cell is not None} == {""}
    assert "<br>drawn over all tasks</small>" in render(gather([folder], "none", 0))


def test_the_bar_of_the_differences_is_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(plots, "to_svg", lambda figure: figures.append(figure) or "<svg/>")
    rows = [
        made_result(f"r0/{tokens}", arm, nats=nats, tokens=tokens)
        for arm, gain in (("none", 0.0), ("all", 1.0))
        for tokens, nats in ((1, -3.0 + 2 * gain), (9, -9.0 - gain))
    ]
    (section,) = gather([write_run(tmp_path / "run", rows)], None, 0).sections
    cell = section.tables[0].rows[1].cells[0]
    assert cell is not None
    bar, _ = figures[-1].axes[0].lines
    assert cell.difference == "+0.100"
    assert np.allclose(bar.get_xdata(), 0.1)  # not (2 - 1 / 9) / 2, the mean of the tasks
    assert "not that of its difference" in render(gather([tmp_path / "run"], None, 0))


def test_figures_that_are_judged_together_have_wider_intervals(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bounds = []
    for tests in (1, 2):
        (section,) = gather([run], None, 0, tests=tests).sections
        cell = section.tables[0].rows[1].cells[0]
        assert cell is not None
        low, high = map(float, cell.bounds.strip("[]").split(", "))
        bounds.append(high - low)
    assert bounds[0] < bounds[1]
    assert main(["report", str(run), "--tests", "2"]) == 0
    page = Path(capsys.readouterr().out.strip()).read_text(encoding="utf-8")
    assert "differences from none with 97.5 % intervals" in page


def test_what_failed_is_listed_until_another_run_has_done_it(tmp_path: Path) -> None:
    first = write_run(tmp_path / "1", results()[:-1])
    with RunWriter(first) as writer:
        writer.add(TaskError(results()[-1].task_id, "all", "RuntimeError", "out of memory"))
    assert "1 completions failed" in render(gather([first], None, 0))
    second = write_run(tmp_path / "2", results()[-1:])
    assert "completions failed" not in render(gather([first, second], None, 0))


def test_what_has_to_be_said_of_a_run_is_on_the_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", results(), replace(PLAN, notices=("Mind the gap.",)))
    assert "Mind the gap." in render(gather([folder], None, 0))


def test_only_so_many_tasks_are_shown_and_the_tables_are_of_all(run: Path) -> None:
    (section,) = gather([run], "all", 3).sections
    assert (len(section.tasks), section.num_tasks) == (3, 12)
    assert section.tables[0].rows[1].cells[0] is not None


def test_other_peoples_code_is_text(run: Path) -> None:
    text = render(gather([run], None, 100))
    assert "<script>document.title" not in text
    assert text.count("<script>") == 1  # the filter's


def test_a_run_without_predictions_has_a_report_too(tmp_path: Path) -> None:
    rows = [
        made_result(f"r0/{i}", arm, es=None, prediction=None) for i in range(5) for arm in ("none", "all")
    ]
    text = render(gather([write_run(tmp_path / "run", rows)], None, 10))
    assert "exact match" not in text
    assert "nats per token" in text


@given(st.text("ab (.)\n", max_size=30), st.text("ab (.)\n", max_size=30))
def test_a_diff_is_both_texts_woven_together(prediction: str, truth: str) -> None:
    spans = diff(prediction, truth)
    assert "".join(s.text for s in spans if s.kind is not SpanKind.MISSING) == prediction
    assert "".join(s.text for s in spans if s.kind is not SpanKind.EXTRA) == truth


def test_a_browser_shows_it_and_filters_the_tasks(run: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason=f"no playwright; {tools.HOW}")
    chromium = tools.chromium()
    assert main(["report", str(run)]) == 0
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        asked: list[str] = []
        problems: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto((run / "report.html").as_uri())
        assert page.title() == "CodeFilter: fresh"
        assert page.locator("table tbody tr").count() == 4  # figures and seconds of two arms
        assert page.locator("figure svg").count() == 3
        tasks = page.locator("details.task")
        page.locator("input[type=search]").fill("r1/a.py:2-2")
        assert [task.is_visible() for task in tasks.all()].count(True) == 1
        visible = page.locator("details.task:not([hidden])")
        visible.locator("summary").first.click()
        assert visible.locator("ins").first.is_visible()
        assert "document.title" in visible.inner_text()  # the hostile completion, as text
        browser.close()
    assert asked == [(run / "report.html").as_uri()]
    assert problems == []
