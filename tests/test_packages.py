import hashlib
import importlib.metadata
import os
import shutil
import stat
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from codefilter import packages, paths
from codefilter.errors import CodeFilterError, DownloadError, IntegrityError, UsageError
from codefilter.packages import PackagePin

FILES = {"toy/__init__.py": "", "toy/core.py": "def answer():\n    return 42\n"}


def make_wheel(
    folder: Path, wheel: str = "toy-1.0-py3-none-any.whl", files: dict[str, str] | None = None
) -> str:
    """Write a wheel that pip accepts and return its sha256."""
    folder.mkdir(parents=True, exist_ok=True)
    name, version, *tags = wheel.removesuffix(".whl").split("-")
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / wheel, "w") as archive:
        for path, text in (FILES if files is None else files).items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        tag = "-".join(tags)
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")
    return hashlib.sha256((folder / wheel).read_bytes()).hexdigest()


def pin_of(sha256: str) -> PackagePin:
    return PackagePin("toy", "1.0", "toy-1.0-py3-none-any.whl", sha256, "benchmark", python_files=2, lines=2)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the whole package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_a_package_is_fetched_by_pip_and_unpacked_once(index: Path, cache: Path) -> None:
    pin = pin_of(make_wheel(index))
    heard: list[str] = []
    folder = packages.fetch_package(pin, lambda what, done, total: heard.append(what))
    assert folder.name == "toy"
    assert {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*.py")} == FILES
    assert not list(folder.glob("*.dist-info"))
    assert (folder.parent / "toy-1.0.dist-info" / "METADATA").is_file()
    assert list((cache / "downloads").iterdir()) == []
    (index / pin.wheel).unlink()
    assert packages.fetch_package(pin) == folder


def test_a_wheel_for_another_platform_is_fetched_all_the_same(index: Path, tmp_path: Path) -> None:
    wheel = "toy-1.0-cp39-cp39-win_arm64.whl"
    sha256 = make_wheel(index, wheel)
    assert packages.fetch_wheel(wheel, sha256, tmp_path / "out").name == wheel


def test_a_package_with_another_hash_is_refused_and_nothing_stays(index: Path, cache: Path) -> None:
    make_wheel(index)
    with pytest.raises(IntegrityError, match=r"toy-1.0-py3-none-any.whl .* promised sha256"):
        packages.fetch_package(pin_of("0" * 64))
    assert list((cache / "downloads").iterdir()) == []
    assert not list((cache / "packages").glob("*"))


def test_a_package_that_is_not_there_is_one_line_with_a_hint(index: Path) -> None:
    with pytest.raises(DownloadError, match=r"No matching distribution found for toy==1\.0") as caught:
        packages.fetch_package(pin_of("0" * 64))
    assert "\n" not in caught.value.message
    assert "pip config list" in caught.value.hint


def test_a_full_disk_in_pip_is_no_matter_of_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = (1, "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device")
    monkeypatch.setattr(packages, "_run_watched", lambda *_: full)
    with pytest.raises(CodeFilterError, match="no space left") as caught:
        packages.fetch_wheel("toy-1.0-py3-none-any.whl", "0" * 64, tmp_path)
    assert caught.value.hint.startswith("Free some space")


def test_a_download_that_breaks_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = make_wheel(tmp_path / "index")
    calls: list[list[str]] = []

    def breaks_twice(command: list[str], folder: Path, on_bytes: object) -> tuple[int, str]:
        calls.append(command)
        if len(calls) < 3:
            return 1, "ERROR: Connection broken"
        make_wheel(folder)
        return 0, ""

    monkeypatch.setattr(packages, "_run_watched", breaks_twice)
    assert packages.fetch_wheel("toy-1.0-py3-none-any.whl", sha256, tmp_path / "out").is_file()
    assert len(calls) == 3


def test_a_fetched_wheel_is_used_again_and_a_damaged_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = make_wheel(tmp_path)
    wheel = tmp_path / "toy-1.0-py3-none-any.whl"
    fetches: list[Path] = []

    def fetch(name: str, folder: Path, on_bytes: object) -> Path:
        fetches.append(folder)
        make_wheel(folder)
        return folder / name

    monkeypatch.setattr(packages, "download_wheel", fetch)
    assert packages.fetch_wheel(wheel.name, sha256, tmp_path) == wheel
    assert not fetches
    wheel.write_bytes(b"damaged")
    assert packages.fetch_wheel(wheel.name, sha256, tmp_path) == wheel
    assert len(fetches) == 1
    assert paths.sha256_of_file(wheel) == sha256


def test_progress_bears_that_pip_deletes_folders_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip-download-1").mkdir()
    (tmp_path / "part").write_bytes(bytes(1000))
    scandir = os.scandir

    def gone(path: str | Path) -> object:
        if Path(path).name == "pip-download-1":
            raise FileNotFoundError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", gone)
    seen: list[int] = []
    command = [sys.executable, "-c", "import time; time.sleep(0.5)"]
    assert packages._run_watched(command, tmp_path, seen.append) == (0, "")
    assert set(seen) == {1000}


def test_progress_follows_what_pip_writes(tmp_path: Path) -> None:
    script = (
        "import os, time, pathlib\n"
        "pathlib.Path(os.environ['TMPDIR'], 'part').write_bytes(bytes(1000))\n"
        "time.sleep(0.6)\n"
    )
    seen: list[int] = []
    status, _ = packages._run_watched([sys.executable, "-c", script], tmp_path, seen.append)
    assert status == 0
    assert seen[-1] == 1000


def test_without_pip_the_hint_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> str:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(DownloadError, match="no pip") as caught:
        packages.fetch_wheel("toy-1.0-py3-none-any.whl", "0" * 64, tmp_path)
    assert "-m ensurepip" in caught.value.hint


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (
            "WARNING: Retrying (Retry(total=4 ...\nERROR: No matching distribution found for toy",
            "the package index cannot be reached",
        ),
        ("WARNING: x\nERROR: one\nERROR: two\n", "two"),
        (
            "Could not find an activated virtualenv (required).\n",
            "Could not find an activated virtualenv (required).",
        ),
        ("", "pip gave no reason"),
    ],
)
def test_the_reason_is_one_line(output: str, reason: str) -> None:
    assert packages._reason(output) == reason


@pytest.mark.parametrize("version", ["25.1", "26.0.1"])
def test_newer_pips_go_on_with_broken_downloads(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    assert "--resume-retries" in packages._pip_command("toy-1.0-py3-none-any.whl", tmp_path)


def test_older_pips_do_not_know_that_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "23.2.1")
    assert "--resume-retries" not in packages._pip_command("toy-1.0-py3-none-any.whl", tmp_path)


@pytest.mark.parametrize("path", ["../evil.py", "/evil.py", "toy/../../evil.py", "C:/evil.py", "..\\evil.py"])
def test_a_member_that_leaves_the_folder_is_refused(path: str, tmp_path: Path) -> None:
    make_wheel(tmp_path, files={path: "evil"})
    with pytest.raises(IntegrityError, match="outside its folder"):
        packages.unpack_wheel(tmp_path / "toy-1.0-py3-none-any.whl", tmp_path / "out")
    assert not list(tmp_path.rglob("evil.py"))


def test_a_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("toy/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "toy.whl", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(IntegrityError, match="outside its folder"):
        packages.unpack_wheel(tmp_path / "toy.whl", tmp_path / "out")


def test_one_member_is_read_without_unpacking(tmp_path: Path) -> None:
    make_wheel(tmp_path)
    with packages.wheel_member(tmp_path / "toy-1.0-py3-none-any.whl", "toy/core.py") as file:
        assert file.read().decode() == FILES["toy/core.py"]
    with (
        pytest.raises(IntegrityError, match="no readable"),
        packages.wheel_member(tmp_path / "toy-1.0-py3-none-any.whl", "toy/other.py"),
    ):
        pass


def test_the_manifest_of_corpora() -> None:
    pins = packages.load_corpora()
    assert Counter(pin.role for pin in pins) == {"train": 31, "benchmark": 10, "repoeval": 3, "demo": 1}
    assert len({pin.name for pin in pins}) == len({pin.sha256 for pin in pins}) == len(pins)
    for pin in pins:
        assert pin.wheel.startswith(f"{pin.name.replace('-', '_')}-{pin.version}-")
        assert len(bytes.fromhex(pin.sha256)) == 32
        assert pin.lines > pin.python_files > 0


PINNED = f"""
name = "toy"
version = "1.0"
wheel = "toy-1.0-py3-none-any.whl"
sha256 = "{"a1" * 32}"
"""


@pytest.mark.parametrize("text", [f'[[package]]{PINNED}role = "train"', f"[[train]]{PINNED}"])
def test_a_manifest_names_the_role_in_the_package_or_by_the_table(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8-sig")
    expected = PackagePin("toy", "1.0", "toy-1.0-py3-none-any.whl", "a1" * 32, "train")
    assert packages.read_manifest(tmp_path / "mine.toml") == (expected,)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[train]", "cannot be read"),
        ("", "names no packages"),
        ("package = 3", "package is no list of packages"),
        ("package = [3]", "package is no list of packages"),
        (f"[[package]]{PINNED}", "toy has no role"),
        (f"[[benchmarks]]{PINNED}", "role is 'benchmarks', none of train, benchmark"),
        (f"[[train]]{PINNED}[[train]]{PINNED}", "names a package twice"),
        (f"[[train]]{PINNED}[[train]]{PINNED.replace('toy', 'other')}", "names a package twice"),
        (f"[[train]]{PINNED}role = 'benchmark'", "a package under train has another role"),
        (f"[[train]]{PINNED}lines = {'9' * 5000}", "cannot be read"),
        (f"[[train]]{PINNED}lines = {'[' * 5000}", "cannot be read"),
        (f"[[train]]{PINNED}".replace("toy-1.0-py3-none-any", "toy"), "wheel is 'toy.whl', not NAME-VERSION"),
        (f"[[train]]{PINNED}".replace("toy-1.0", "other-1.0"), "is no wheel of toy 1.0"),
        (f"[[train]]{PINNED}".replace("toy-1.0", "toy-9.0"), "is no wheel of toy 1.0"),
        (f"[[train]]{PINNED}url = 'x'", "toy has 'url', which means nothing here"),
        (f"[[train]]{PINNED}lines = 'many'", "toy: lines is 'many'"),
        (f"[[train]]{PINNED}".replace('"toy"', '"../toy"'), "name is '../toy'"),
        (f"[[train]]{PINNED}".replace("toy-1.0-py3", "/etc/toy-1.0"), "wheel is '/etc/toy"),
        (f"[[train]]{PINNED}".replace("a1a1", "a1"), "64 lower-case hexadecimal digits"),
        (f"[[train]]{PINNED}".replace('"1.0"', "1.0"), "version is 1.0"),
    ],
)
def test_a_manifest_that_pins_nothing_says_why(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UsageError, match=problem) as raised:
        packages.read_manifest(tmp_path / "mine.toml")
    assert "mine.toml" in str(raised.value)
    assert "[[package]]" in raised.value.hint or "twice" in problem


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        packages.read_manifest(tmp_path / "mine.toml")


def test_a_package_that_is_here_needs_no_lock(
    index: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = pin_of(make_wheel(index))
    folder = packages.fetch_package(pin)
    shutil.rmtree(cache / "locks")
    (cache / "locks").touch()  # no place for a lock, as in a cache that may only be read
    assert packages.fetch_package(pin) == folder
