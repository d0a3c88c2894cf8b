"""From a place that a person names to a request."""

from pathlib import Path

import pytest

from codefilter.errors import SourceError, UsageError
from codefilter.request import Hole, find_repository, parse_place, read_request

TEXT = "one = 1\ntwo = 2 + é\nthree = 3\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "src").mkdir()
    path = tmp_path / "src" / "a.py"
    path.write_text(TEXT)
    return path


def test_the_default_column_is_the_end_of_the_line(file: Path) -> None:
    placed = read_request(file, Hole(2))
    assert placed.request.prefix == "one = 1\ntwo = 2 + é"
    assert placed.request.suffix == "\nthree = 3\n"
    assert placed.request.path == "src/a.py"
    assert placed.repository == file.parent.parent == find_repository(file)
    assert placed.truth is None


@pytest.mark.parametrize("place", ["home", "temporary"])
def test_a_folder_that_holds_anything_is_no_repository_unless_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    folder = tmp_path / place
    (folder / "notes").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (folder / "a.py").write_text(TEXT)
    placed = read_request(folder / "a.py", Hole(2))
    assert (placed.repository, placed.request.path) == (None, "a.py")
    assert read_request(folder / "a.py", Hole(2), repository=folder).repository == folder
    assert find_repository(Path("/a.py")) is None
    assert find_repository(folder / "notes" / "a.py") == folder / "notes"
    (folder / "pyproject.toml").write_text("")
    assert find_repository(folder / "a.py") == folder


def test_a_hole_is_taken_out_and_kept_as_the_truth(file: Path) -> None:
    placed = read_request(file, Hole(1, 5, 2, 6), max_lines=9)
    assert placed.truth == "= 1\ntwo ="
    assert placed.request.prefix + placed.truth + placed.request.suffix == TEXT
    assert placed.request.max_lines == 2


@pytest.mark.parametrize(
    ("hole", "message"),
    [
        (Hole(9), "line 9 is not there: the file has 4 lines"),
        (Hole(0), "line 0 is not there"),
        (Hole(1, 99), "column 99 is not there: line 1 has 7 characters"),
        (Hole(2, 3, 1, 1), "ends before it begins"),
    ],
)
def test_places_that_are_not_there(file: Path, hole: Hole, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read_request(file, hole)
    assert caught.value.hint


def test_files_that_cannot_be_completed(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(UsageError, match="no file"):
        read_request(tmp_path / "missing.py", Hole(1))
    with pytest.raises(UsageError, match="is a folder"):
        read_request(tmp_path, Hole(1))
    with pytest.raises(UsageError, match="outside the repository"):
        read_request(file, Hole(1), repository=other)
    (tmp_path / "image.py").write_bytes(b"\x00\x01" * 50)
    with pytest.raises(SourceError, match="binary"):
        read_request(tmp_path / "image.py", Hole(1))
    (tmp_path / ".env").write_text("KEY=1\n")
    with pytest.raises(SourceError, match="secret"):
        read_request(tmp_path / ".env", Hole(1))
    (tmp_path / "settings.txt").symlink_to(".env")
    with pytest.raises(SourceError, match=r"\.env cannot be completed: may hold secrets"):
        read_request(tmp_path / "settings.txt", Hole(1))


def test_places_are_written_line_colon_column() -> None:
    assert parse_place("12:5") == (12, 5)
    assert parse_place("12") == (12, None)
    for wrong in ("", "x", "1:", "1:x", "-1:2", "1:2:3", "9" * 5000, f"1:{'9' * 5000}"):
        with pytest.raises(UsageError, match=r"^.{,50} is not a place$"):
            parse_place(wrong)
