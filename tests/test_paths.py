import errno
import hashlib
import os
import threading
from pathlib import Path

import pytest

from codefilter import paths
from codefilter.errors import CodeFilterError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_cache_is_where_the_variable_says(cache: Path) -> None:
    assert paths.cache_path() == cache


def test_without_the_variable_the_cache_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(paths.CACHE_VARIABLE)
    assert paths.cache_path().name == "codefilter"
    assert paths.cache_path().is_absolute()


def test_what_is_made_of_private_code_is_private(cache: Path) -> None:
    (cache / "index").mkdir(parents=True, mode=0o755)
    (cache / "index").chmod(0o755)  # of an older version
    for name in ("index", "evaluations"):
        folder = paths.private_cache_path(name)
        assert folder == cache / name
        assert folder.stat().st_mode & 0o777 == 0o700
    (cache / "file").write_text("in the way")
    assert paths.private_cache_path("file/index") == cache / "file" / "index"  # who writes there is told


def test_the_data_folder_has_the_manifests() -> None:
    assert {path.name for path in (paths.data_path() / "manifests").iterdir()} >= {
        "models.toml",
        "corpora.toml",
    }


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file"
    paths.write_atomically(target, "old")

    def stopped_half_way() -> None:
        with paths.atomic_file(target) as file:
            file.write(b"half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped_half_way()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert target.read_text() == "old"


def test_a_full_disk_is_an_error_with_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CodeFilterError, match="no space left") as caught:
        paths.write_atomically(tmp_path / "sub" / "file", b"bytes")
    assert caught.value.hint.startswith("Free some space")
    assert list((tmp_path / "sub").iterdir()) == []


def test_a_place_that_is_a_file_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CodeFilterError, match="cannot use") as caught:
        paths.write_atomically(tmp_path / "file" / "sub" / "new", "text")
    assert paths.CACHE_VARIABLE in caught.value.hint


def test_a_line_without_an_end_is_not_read_and_cut_off_in_place(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    assert paths.whole_lines(file) == []
    paths.cut_torn_line(file)
    assert not file.exists()
    file.write_bytes(b"one\n\xc3\xa9\r\n\ntorn \xc3")
    inode = file.stat().st_ino
    assert paths.whole_lines(file) == [b"one", b"\xc3\xa9\r", b""]
    assert file.read_bytes().endswith(b"torn \xc3")
    for _ in range(2):
        paths.cut_torn_line(file)
        assert file.read_bytes() == b"one\n\xc3\xa9\r\n\n"
    assert file.stat().st_ino == inode
    file.write_bytes(b"only torn")
    paths.cut_torn_line(file)
    assert file.read_bytes() == b""


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for content in ("one", "two"):
        with paths.atomic_folder(target) as temporary:
            (temporary / content).write_text(content)
            assert not (target / content).exists()
    assert [path.name for path in target.iterdir()] == ["two"]
    with pytest.raises(ValueError, match="stop"), paths.atomic_folder(target):
        raise ValueError("stop")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (target / "two").exists()


def test_leftovers_of_one_target_go_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / ".model.abc.tmp").mkdir()
    (tmp_path / ".model.abc.tmp" / "half").write_text("half")
    (tmp_path / ".file.abc.tmp").write_text("half")
    paths.remove_leftovers(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == [".file.abc.tmp"]
    paths.remove_leftovers(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert paths.sha256_of_file(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()


def test_a_hash_is_computed_again_only_after_a_change(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = []
    monkeypatch.setattr(
        paths,
        "sha256_of_file",
        lambda path: hashed.append(path) or hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    first = paths.remembered_sha256(file)
    assert paths.remembered_sha256(file) == first
    assert len(hashed) == 1

    file.write_bytes(b"abd")  # the same size
    os.utime(file, ns=(1, 1))
    assert paths.remembered_sha256(file) == hashlib.sha256(b"abd").hexdigest()
    assert len(hashed) == 2

    for memory in (cache / "hashes").iterdir():
        memory.write_text("damaged")
    assert paths.remembered_sha256(file) == hashlib.sha256(b"abd").hexdigest()
    assert len(hashed) == 3


def test_a_file_put_in_the_place_of_another_is_hashed_again(tmp_path: Path) -> None:
    file, other = tmp_path / "file", tmp_path / "other"
    for path, content in ((file, b"abc"), (other, b"xyz")):
        path.write_bytes(content)
        os.utime(path, ns=(10**18, 10**18))
    assert paths.remembered_sha256(file) == hashlib.sha256(b"abc").hexdigest()
    other.replace(file)  # same size and time, another inode
    assert paths.remembered_sha256(file) == hashlib.sha256(b"xyz").hexdigest()


def test_a_cache_that_cannot_be_written_to_only_forgets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(file / "not-a-folder"))
    assert paths.remembered_sha256(file) == hashlib.sha256(b"abc").hexdigest()


def test_the_second_holder_of_a_lock_waits_and_says_so() -> None:
    waiting, order = threading.Event(), []

    def second() -> None:
        with paths.exclusive("name", on_wait=waiting.set):
            order.append("second")

    thread = threading.Thread(target=second)
    with paths.exclusive("name", on_wait=lambda: order.append("must not wait")):
        thread.start()
        assert waiting.wait(timeout=10)
        order.append("first")
    thread.join(timeout=10)
    assert order == ["first", "second"]


def test_bytes_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one").write_bytes(b"123")
    (tmp_path / "a" / "b" / "two").write_bytes(b"4567")
    assert paths.folder_bytes(tmp_path) == 7
