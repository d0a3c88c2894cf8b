"""What the README says is what is there: its map, its commands, its figures."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from codefilter.cli import app
from tests.readme_results import PARTS, marks

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAPPED = re.findall(r"^\| `([^`]+)` \|", README.split("## Map")[1].split("\n## ")[0], re.MULTILINE)

SHOWN = re.findall(r"^codefilter ([a-z].*)", README, re.MULTILINE)
SHOWN += re.findall(r"`codefilter ([a-z][^`]*)`", README)


def test_every_place_of_the_map_is_there() -> None:
    assert [place for place in MAPPED if not (ROOT / place).exists()] == []


def test_every_module_is_on_the_map() -> None:
    top = {
        f"codefilter/{path.name}" + "/" * path.is_dir()
        for path in (ROOT / "codefilter").iterdir()
        if not path.name.startswith(("_", ".")) and path.name != "py.typed"
    }
    assert top - set(MAPPED) == set()


def test_every_command_and_option_of_the_readme_exists() -> None:
    assert SHOWN
    for line in SHOWN:
        command, words = get_command(app), line.split()
        while words and (children := getattr(command, "commands", {})):
            assert words[0] in children, line
            command = children[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z][a-z-]*", line)) <= {*known, "--help"}, line  # comments name some, too


@pytest.mark.parametrize("name", re.findall(r"data/results/[\w.-]+", README))
def test_every_result_that_is_named_is_there(name: str) -> None:
    assert (ROOT / name).exists()


@pytest.mark.parametrize("name", PARTS)
def test_the_figures_are_those_of_the_records(name: str) -> None:
    begin, end = marks(name)
    assert README.split(begin)[1].split(end)[0] == PARTS[name]()


def test_the_session_shown_is_the_recorded_one() -> None:
    shown = README.split("<!-- demo: data/results/demo.txt -->\n```text\n")[1].split("```")[0]
    assert shown == (ROOT / "data" / "results" / "demo.txt").read_text(encoding="utf-8")
