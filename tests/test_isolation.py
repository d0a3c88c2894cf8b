"""Nothing of the user reaches a test, and nothing of a test the user; but what is fetched is shared."""

from pathlib import Path

import pytest

from codefilter.config import user_config_file
from codefilter.paths import cache_path
from tests.conftest import FETCHED


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
    for name in FETCHED:
        assert (cache_path() / name).samefile(users_cache / name)
    for name in ("index", "explanations", "labels"):
        assert not (cache_path() / name).exists()
