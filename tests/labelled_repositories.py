"""Small repositories for labels: one that holds an answer to copy, and one that has nothing to do with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from codefilter.cli import main
from codefilter.types import SourceFile, content_hash

ORDERS = '''"""Orders."""

from shop.pricing import shipping_costs


class Order:
    """What a customer wants."""

    def __init__(self, customer, amounts):
        self.customer = customer
        self.amounts = list(amounts)

    def weight(self):
        total_weight = sum(amount.weight for amount in self.amounts)
        return total_weight


def price_of(order, country):
    net = sum(amount.price for amount in order.amounts)
    costs = shipping_costs(order.weight(), country, express=False)
    return net + costs


def count(order):
    return len(order.amounts)
'''
# The lines after "net = ..." are those of `price_of`, under another name, followed by something else.
HELPFUL = '''"""Quotes: the same sum, before anything is ordered."""


def quote_of(order, country):
    net = sum(amount.price for amount in order.amounts)
    costs = shipping_costs(order.weight(), country, express=False)
    discount = lookup_discount(order.customer, country)
    return net + costs - discount


def describe(order):
    words = [order.customer, str(len(order.amounts))]
    return " ".join(words)
'''
MISLEADING = '''"""Refunds: they begin alike and go on otherwise."""


def refund_of(order, country):
    net = sum(amount.price for amount in order.amounts)
    wrong = zebra_quagga(country, order.customer, 12345)
    return net - wrong


def reason(order):
    words = [str(order.customer), "returned"]
    return ", ".join(words)
'''


def _filler(name: str, words: list[str]) -> str:
    lines = [f'"""{name}."""', "", "import math", ""]
    for number, word in enumerate(words):
        lines += [
            f"def {word}_{name}(value, factor={number}):",
            f"    scaled_{word} = value * factor + {number}",
            f"    return math.floor(scaled_{word}, {number})",
            "",
        ]
    return "\n".join(lines)


SHOP_FILES = {
    "shop/__init__.py": "",
    "shop/orders.py": ORDERS,
    "shop/quotes.py": HELPFUL,
    "shop/refunds.py": MISLEADING,
    "shop/pricing.py": _filler("pricing", ["shipping_costs", "taxes", "fees", "rebates", "duties"]),
    "shop/stock.py": _filler("stock", ["count", "order", "store", "remove", "search"]),
}
WEATHER_FILES = {
    f"weather/{name}.py": _filler(name, words)
    for name, words in {
        "wind": ["gusts", "speed", "direction", "chill", "storm", "lull"],
        "rain": ["drops", "amount", "drizzle", "flood", "cloud", "gauge"],
        "sun": ["hours", "angle", "rise", "fall", "glare", "noon"],
        "snow": ["depth", "flakes", "melt", "drift", "ice", "crystal"],
        "fog": ["range", "lift", "bank", "dew", "mist", "haze"],
    }.items()
}


REPOSITORIES = {"shop": SHOP_FILES, "weather": WEATHER_FILES}
SMALL = ("--prefix-tokens", "120", "--suffix-tokens", "40", "--k", "3", "--model", "fake")


def write_repository(root: Path, files: dict[str, str]) -> Path:
    """Write the files below a folder."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def label_with_fake(
    home: Path, per_repo: int, *options: str, repositories: Mapping[str, dict[str, str]] = REPOSITORIES
) -> Path:
    """Write repositories below a folder and label them with the fake model; returns the labels' folder."""
    folders = [str(write_repository(home / name, files)) for name, files in repositories.items()]
    build = ["dataset", "build", *folders, "--out", str(home / "labels"), "--levels", "line,chunk"]
    assert main([*build, "--per-repo", str(per_repo), *SMALL, *options]) == 0
    return home / "labels"


def sources(files: dict[str, str]) -> tuple[SourceFile, ...]:
    """The files as they are read."""
    return tuple(SourceFile(path, text, "python", content_hash(text)) for path, text in files.items())
