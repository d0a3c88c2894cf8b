"""What is installed: the wheel holds code, data and weights, the source archive all that it is built from."""

from __future__ import annotations

import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from codefilter import __version__

ROOT = Path(__file__).parents[1]
DATA = ("manifests", "fresh", "filters")


def files_below(folder: Path, place: str) -> set[str]:
    """The names that the files of a folder have at a place of the wheel."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return {f"{place}/{path.relative_to(folder).as_posix()}" for path in files}


def test_the_wheel_is_told_to_take_the_data() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    taken = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert taken == {f"data/{name}": f"codefilter/_data/{name}" for name in DATA}
    assert (ROOT / "data" / "filters" / "classifier" / "filter.safetensors").stat().st_size > 100_000


def build_wheel(root: Path, folder: Path) -> set[str]:
    from hatchling.builders.wheel import WheelBuilder

    [wheel] = WheelBuilder(str(root)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_code_data_and_weights_and_the_source_archive_gives_the_same(tmp_path: Path) -> None:
    sdist = pytest.importorskip("hatchling.builders.sdist", reason="no hatchling (extra dev)")
    names = build_wheel(ROOT, tmp_path / "from-checkout")
    for name in DATA:
        assert files_below(ROOT / "data" / name, f"codefilter/_data/{name}") <= names
    assert files_below(ROOT / "codefilter", "codefilter") <= names
    assert files_below(ROOT / "lsp" / "codefilter_lsp", "codefilter_lsp") <= names
    described = f"codefilter-{__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"codefilter", "codefilter_lsp", described}
    assert {f"{described}/licenses/{name}" for name in ("LICENSE", "NOTICE")} <= names

    [archive] = sdist.SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with tarfile.open(archive) as file:
        file.extractall(tmp_path / "unpacked", filter="data")
    [unpacked] = (tmp_path / "unpacked").iterdir()
    assert not (unpacked / "tests").exists()  # they import data and scripts that are not in it
    assert build_wheel(unpacked, tmp_path / "from-archive") == names
