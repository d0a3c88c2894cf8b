"""Nothing of the user reaches a test, and nothing of a test the user; but what is fetched is shared."""

from pathlib import Path

import pytest

from codefilter import models
from codefilter.config import user_config_file
from codefilter.errors import IntegrityError
from codefilter.paths import cache_path
from tests.conftest import FETCHED, sharing


@pytest.fixture(scope="module")
def places_of_a_shared_fixture() -> tuple[Path, Path]:
    return cache_path(), user_config_file()


def test_shared_fixtures_do_not_know_the_user(
    places_of_a_shared_fixture: tuple[Path, Path], users_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    temporary = tmp_path_factory.getbasetemp()
    for place in (*places_of_a_shared_fixture, cache_path(), user_config_file()):
        assert place.is_relative_to(temporary)
    assert not users_cache.is_relative_to(temporary)


def test_a_test_with_the_users_models_writes_its_indexes_elsewhere(
    user_cache: None, users_cache: Path
) -> None:
    for name in filter(lambda name: (users_cache / name).is_dir(), FETCHED):
        assert (cache_path() / name).samefile(users_cache / name)
    for name in ("index", "explanations", "labels"):
        assert not (cache_path() / name).exists()


def test_only_what_was_fetched_stays_in_the_users_cache(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with sharing(tmp_path):
        for name in FETCHED:
            assert (cache_path() / name).samefile(tmp_path / name)
        (cache_path() / "packages" / "fetched").touch()
    assert sorted(tmp_path.rglob("*")) == [
        tmp_path / name for name in ("models", "packages", "packages/fetched")
    ]


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "no-folder").touch()
    with sharing(tmp_path / "no-folder"):
        assert list(cache_path().iterdir()) == []


def test_a_broken_model_is_no_missing_model(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(name: str) -> None:
        raise IntegrityError(f"{name} is broken")

    monkeypatch.setattr(models, "resolve", resolve)
    with pytest.raises((IntegrityError, pytest.skip.Exception)) as raised:
        request.getfixturevalue("default_model_pulled")
    assert raised.type is IntegrityError
