"""Fixtures that many tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import hypothesis
import pytest

from codefilter.config import Settings
from codefilter.errors import ModelMissingError
from codefilter.lm.base import LanguageModel
from codefilter.paths import CACHE_VARIABLE, cache_path

# a machine that is busy is not a failure: speed is measured by benchmarks
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")

FETCHED = ("downloads", "hashes", "int8", "locks", "models", "packages", "playground")  # folders of the cache
SAMPLE_FILES = {
    "pyproject.toml": '[project]\nname = "shop"\n',
    ".gitignore": "build/\n*.log\n",
    "README.md": "# Shop\n\nOrders and prices.\n",
    "shop/__init__.py": "",
    "shop/orders.py": '''"""Orders."""

from dataclasses import dataclass


@dataclass
class Order:
    """What a customer wants."""

    customer: str
    amounts: list[float]

    def total_amount(self) -> float:
        """Sum of all amounts."""
        return sum(self.amounts)


def find_order(orders: list[Order], customer: str) -> Order | None:
    """The first order of a customer."""
    for order in orders:
        if order.customer == customer:
            return order
    return None
''',
    "shop/pricing.py": '''"""Prices."""

VAT_RATE = 0.19


def price_with_tax(net_price: float) -> float:
    """Add value added tax."""
    return net_price * (1 + VAT_RATE)


def price_with_discount(net_price: float, percent: float) -> float:
    """Take a discount off."""
    return net_price * (1 - percent / 100)
''',
    "shop/report.py": '''"""Reports."""

from shop.orders import Order
from shop.pricing import price_with_tax


def print_report(orders: list[Order]) -> None:
    """One line per order."""
    for order in orders:
        print(order.customer, price_with_tax(order.total_amount()))
''',
    "web/format.ts": """export function formatPrice(price: number): string {
  return price.toFixed(2) + " EUR";
}
""",
    "build/generated.py": "GENERATED = True\n",
    ".env": "SECRET_TOKEN=do-not-index\n",
}


@pytest.fixture(scope="session", autouse=True)
def users_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the user out of fixtures that many tests share, too; this is where their cache really is."""
    users = cache_path()
    with pytest.MonkeyPatch.context() as patch:
        _isolate(patch, tmp_path_factory.mktemp("session"))
        yield users


@pytest.fixture(autouse=True)
def isolated_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's configuration, variables and cache out of a test."""
    with pytest.MonkeyPatch.context() as patch:
        _isolate(patch, tmp_path_factory.mktemp("user"))
        yield


def _isolate(patch: pytest.MonkeyPatch, home: Path) -> None:
    for variable in list(os.environ):
        if variable.startswith("CODEFILTER_"):
            patch.delenv(variable)
    patch.setenv(CACHE_VARIABLE, str(home / "cache"))
    patch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    patch.setenv("XDG_DATA_HOME", str(home / "data"))


@pytest.fixture
def user_cache(isolated_user: None, users_cache: Path) -> Iterator[None]:
    """Share the user's models and packages, and add to them what is fetched; all else stays temporary."""
    with sharing(users_cache):
        yield


@contextmanager
def sharing(users_cache: Path) -> Iterator[None]:
    """Put a cache's folders into this test's own; folders that were made and stay empty go again."""
    cache_path().mkdir(parents=True, exist_ok=True)
    folders = [users_cache / name for name in FETCHED]
    made = [folder for folder in folders if not folder.exists()]
    for folder in folders:
        with suppress(OSError):  # nobody may write there: what is fetched stays temporary, too
            folder.mkdir(parents=True, exist_ok=True)
        if folder.is_dir():
            (cache_path() / folder.name).symlink_to(folder)
    yield
    for folder in made:
        with suppress(OSError):  # something was fetched
            folder.rmdir()


@pytest.fixture
def default_model_pulled(user_cache: None) -> None:
    """For a test whose server loads the default model; skips where it was not pulled."""
    from codefilter import models

    try:
        models.resolve(Settings().model)
    except ModelMissingError as error:
        pytest.skip(f"{error.message}; {error.hint}")


@pytest.fixture
def sample_repository(tmp_path: Path) -> Path:
    """A small shop in Python and TypeScript, with a secret and an ignored folder."""
    root = tmp_path / "shop-repository"
    for name, text in SAMPLE_FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def _load(name: str, users_cache: Path) -> LanguageModel:
    from codefilter.lm.loading import load_model

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(users_cache))
        try:
            return load_model(name)
        except ModelMissingError as error:
            pytest.skip(f"{error.message}; {error.hint}")


@pytest.fixture(scope="session")
def default_model(users_cache: Path) -> LanguageModel:
    """The real default model; skips where it was not pulled."""
    return _load("qwen2.5-coder-0.5b", users_cache)


@pytest.fixture(scope="session")
def left_to_right_model(users_cache: Path) -> LanguageModel:
    """A real model without fill-in-the-middle tokens."""
    return _load("smollm2-135m", users_cache)
