"""Fixtures that many tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from codefilter.lm.base import LanguageModel

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


@pytest.fixture(autouse=True)
def isolated_user(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's configuration, variables and (without the fixture `user_cache`) cache out of a test."""
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    home = tmp_path_factory.mktemp("user")
    for variable in list(os.environ):
        keep = variable == "CODEFILTER_CACHE" and "user_cache" in request.fixturenames
        if variable.startswith("CODEFILTER_") and not keep:
            monkeypatch.delenv(variable)
    if "user_cache" not in request.fixturenames:
        monkeypatch.setenv("CODEFILTER_CACHE", str(home / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))


@pytest.fixture
def user_cache() -> None:
    """Let the test use the real cache, because it needs the real model."""


@pytest.fixture
def sample_repository(tmp_path: Path) -> Path:
    """A small shop in Python and TypeScript, with a secret and an ignored folder."""
    root = tmp_path / "shop-repository"
    for name, text in SAMPLE_FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def _load(name: str) -> LanguageModel:
    from codefilter.errors import ModelMissingError
    from codefilter.lm.loading import load_model

    try:
        return load_model(name)
    except ModelMissingError as error:
        pytest.skip(f"{error.message}; {error.hint}")


@pytest.fixture(scope="session")
def default_model() -> LanguageModel:
    """The real default model; skips where it was not pulled."""
    return _load("qwen2.5-coder-0.5b")


@pytest.fixture(scope="session")
def left_to_right_model() -> LanguageModel:
    """A real model without fill-in-the-middle tokens."""
    return _load("smollm2-135m")
