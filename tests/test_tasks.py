"""Completion tasks: what they ask for, what they leave out, and that they repeat."""

from collections.abc import Mapping

import pytest

from codefilter.languages import language_of
from codefilter.reach import Reach
from codefilter.tasks import LineSpan, TaskFile, TaskRepository, make_task, sample_levels, sample_tasks
from codefilter.types import SourceFile, TaskLevel, content_hash


def source(path: str, text: str) -> SourceFile:
    return SourceFile(path, text, language_of(path), content_hash(text))


LIBRARY = '''"""Prices."""


def price_with_tax(net_price, rate):
    """Add tax."""
    gross = net_price * (1 + rate)
    rounded = round(gross, 2)
    return rounded


def pair(first, second):
    return first, second
'''
APP = '''"""The app."""

import os

from shop.library import price_with_tax

TABLE = [
    "one, two, three, four",
    1, 2, 3, 4, 5, 6,
]


class Order:
    """What a customer wants."""

    def __init__(self, amounts, rate):
        # a comment with more than five words in it
        self.amounts = sorted(amounts, key=abs)
        self.rate = rate

    def total(self):
        """Sum of all prices."""
        prices = [price_with_tax(amount, self.rate) for amount in self.amounts]
        total = sum(prices) + len(prices) * 0.5
        return total

    def path(self):
        return os.path.join("orders", str(self.rate))
'''


def repository(files: Mapping[str, str]) -> TaskRepository:
    padding = {f"shop/m{n}.py": f"def unique_{n}(a):\n    return a + {n}\n" for n in range(5)}
    return TaskRepository("shop", "1.0", tuple(source(p, t) for p, t in {**padding, **files}.items()))


VALUES = "".join(f"value_{n} = first_{n}(second_{n}) + {n}\n" for n in range(30))
SHOP = repository({"shop/library.py": LIBRARY, "shop/app.py": APP, "shop/values.py": VALUES})


def targets(level: TaskLevel, of: TaskRepository = SHOP, path: str = "shop/app.py") -> list[str]:
    return [t.target.strip() for t in sample_tasks(of, level, 1000) if t.request.path == path]


def test_line_tasks_are_code_with_at_least_five_tokens() -> None:
    found = targets(TaskLevel.LINE)
    assert "total = sum(prices) + len(prices) * 0.5" in found
    for trivial in ("return total", "import os", "1, 2, 3, 4, 5, 6,"):
        assert trivial not in found
    assert not any(line.startswith(("#", '"')) or "customer wants" in line for line in found)


def test_api_tasks_call_something_of_another_file() -> None:
    assert targets(TaskLevel.API) == [
        "prices = [price_with_tax(amount, self.rate) for amount in self.amounts]"
    ]


def test_api_tasks_are_found_below_src_too() -> None:
    files = {"shop/library.py": LIBRARY, "shop/app.py": APP, "shop/values.py": VALUES}
    below = repository({f"src/{path}": text for path, text in files.items()})
    assert targets(TaskLevel.API, below, "src/shop/app.py") == targets(TaskLevel.API)


def test_function_tasks_are_bodies_without_the_docstring() -> None:
    total = (
        "prices = [price_with_tax(amount, self.rate) for amount in self.amounts]\n"
        "        total = sum(prices) + len(prices) * 0.5\n        return total"
    )
    found = targets(TaskLevel.FUNCTION)
    assert total in found
    assert not any("os.path" in body for body in found)  # one line is no function task


def test_chunk_tasks_have_one_to_ten_lines() -> None:
    found = targets(TaskLevel.CHUNK)
    assert found
    assert all(1 <= target.count("\n") + 1 <= 10 for target in found)


@pytest.mark.parametrize("level", TaskLevel)
def test_tasks_put_together_give_the_file_back(level: TaskLevel) -> None:
    texts = {s.path: s.text for s in SHOP.sources}
    tasks = sample_tasks(SHOP, level, 1000)
    assert tasks
    for task in tasks:
        request, provenance = task.request, task.provenance
        text = texts[request.path]
        assert request.prefix + task.target + request.suffix == text
        assert request.prefix == "" or request.prefix.endswith("\n")
        assert request.suffix == "" or request.suffix.startswith("\n")
        lines = text.split("\n")[provenance.start_line : provenance.end_line]
        assert "\n".join(lines) == task.target
        assert provenance.content_hash == content_hash(text)
    spans = [
        (t.request.path, n) for t in tasks for n in range(t.provenance.start_line, t.provenance.end_line)
    ]
    assert len(spans) == len(set(spans))


def test_the_same_seed_gives_the_same_tasks_and_a_larger_count_more() -> None:
    few = sample_tasks(SHOP, TaskLevel.LINE, 4, seed=3)
    assert few == sample_tasks(SHOP, TaskLevel.LINE, 9, seed=3)[:4]
    assert few != sample_tasks(SHOP, TaskLevel.LINE, 4, seed=4)
    assert len({task.request.path for task in few}) > 1


def test_a_target_that_stands_elsewhere_with_a_neighbour_is_no_task() -> None:
    copied = "        prices = [price_with_tax(amount, self.rate) for amount in self.amounts]\n"
    copy = "class Copy:\n    def total(self):\n" + copied + "        total = sum(prices) + 1\n" + "\n" * 20
    after = repository({"shop/app.py": APP, "shop/copy.py": copy})
    assert copied.strip() in targets(TaskLevel.LINE)
    before_differs = TaskFile(source("shop/app.py", APP))
    line = APP.split("\n").index(copied.rstrip("\n"))
    assert not after.stands_elsewhere(before_differs, LineSpan(line, line + 1))
    twin = repository({"shop/app.py": APP, "shop/copy.py": copy.replace("+ 1", "+ len(prices) * 0.5")})
    assert twin.stands_elsewhere(before_differs, LineSpan(line, line + 1))


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, None),
        ({f"shop/m{n}.py": "x = 1\n" for n in range(5)}, "copies"),
        ({f"shop/b{n}.py": "def (:\n" for n in range(5)}, "parse"),
    ],
)
def test_unfit_repositories_say_why_and_give_no_tasks(files: Mapping[str, str], reason: str | None) -> None:
    made = repository(files)
    if reason is None:
        assert made.problem is None
    else:
        assert reason in (made.problem or "")
        assert sample_levels(made, {TaskLevel.LINE: 5}) == []
    assert TaskRepository("tiny", "1", (source("a.py", APP),)).problem == "only 1 source files"


def test_generated_files_are_left_out() -> None:
    made = repository({"shop/app.py": "# Generated by protoc. DO NOT EDIT.\n" + APP})
    assert targets(TaskLevel.LINE, made) == []


def test_a_task_asks_for_as_many_lines_as_the_target_has() -> None:
    task = make_task("shop", "1", source("a.py", "a = 1\n\nb = 2\nc = 3\n"), LineSpan(0, 3), TaskLevel.CHUNK)
    assert task.target == "a = 1\n\nb = 2"
    assert task.request.max_lines == 2


# One file that calls others in each way that its language has, and calls that must not count: of the
# standard library, of other projects, of methods, its own; something else has the same name each time.
CALLING = {
    "java": (
        {
            "src/main/java/org/shop/tax/Rates.java": "package org.shop.tax;\npublic class Rates {\n"
            "    public static double reduced(double net) {\n        return net * 0.07;\n    }\n}\n",
            "src/main/java/org/shop/Customer.java": "package org.shop;\nclass Customer {\n    int age;\n}\n",
            "src/main/java/org/shop/Node.java": "package org.shop;\nclass Node {\n    int age;\n}\n",
            "src/main/java/org/shop/util/Base64.java": "package org.shop.util;\nclass Base64 {\n}\n",
        },
        "src/test/java/org/shop/AppTest.java",
        """package org.shop;

import java.util.*;
import org.shop.tax.Rates;
import static org.shop.tax.Rates.reduced;

class AppTest {
    static class Node {
        int value = 1 + 2;
    }
    double total(List<Double> prices) {
        double first = Rates.reduced(prices.get(0));
        double second = reduced(prices.get(1)) + 1;
        Customer buyer = new Customer(first, second);
        Object other = Base64.getEncoder(prices, 1);
        Node node = new Node(first + second);
        return total(prices, buyer, first + second);
    }
}
""",
        {"Rates.reduced", "= reduced", "new Customer"},
    ),
    "go": (
        {
            "go.mod": "module example.com/shop\n\ngo 1.22\n",
            "client.go": "package shop\n\nfunc Connect(a int) int {\n\treturn a + 1\n}\n",
            "tax/rates.go": "package tax\n\nfunc Reduced(net float64) float64 {\n\treturn net * 0.07\n}\n",
            "http/serve.go": "package http\n\nfunc Get() {\n}\n",
            "cmd/app/flags.go": "package main\n\nfunc Parse(age int) int {\n\treturn age + 1\n}\n"
            "\nfunc New() int {\n\treturn 1\n}\n",
        },
        "cmd/app/main.go",
        """package main

import (
	"errors"
	"net/http"
	"example.com/shop"
	"example.com/shop/tax"
)

func own(value float64) float64 {
	return value * 2
}

func main() {
	first := tax.Reduced(3.5 + 1)
	second := Parse(int(first))
	third := shop.Connect(second + 1)
	answer, err := http.Get("http" + "://x")
	fourth := own(first + 1)
	fifth := errors.New("a" + "b")
	sixth := answer.Parse(third + 1)
}
""",
        {"tax.Reduced", ":= Parse", "shop.Connect"},
    ),
    "rust": (
        {
            "Cargo.toml": '[package]\nname = "shop"\n',
            "crates/my-core/Cargo.toml": '[package]\nname = "my-core"\n',
            "crates/my-core/src/lib.rs": "pub fn run(net: f64) -> f64 {\n    net * 0.07\n}\n",
            "src/tax.rs": "pub fn reduced(net: f64) -> f64 {\n    net * 0.07\n}\n",
            "src/fmt.rs": "pub fn format(net: f64) -> f64 {\n    net * 0.07\n}\n",
            "src/error.rs": "pub fn error(net: f64) -> f64 {\n    net * 0.07\n}\n",
            "src/people/customer.rs": "pub struct Customer;\nimpl Customer {\n"
            "    pub fn new(age: u8) -> Self {\n        Customer\n    }\n}\n",
            "src/config.rs": "pub fn load(age: u8) -> u8 {\n    age\n}\n",
        },
        "src/main.rs",
        """use std::fmt;
use log::error;
use my_core::run;
use crate::config;
use crate::people::customer::Customer;

pub mod tax;

fn own(value: f64) -> f64 {
    value * 2.0
}

fn main() {
    let first = tax::reduced(3.5 + 1.0);
    let again = crate::tax::reduced(3.5 + 2.0);
    let buyer = Customer::new(first as u8);
    let loaded = config::load(first as u8);
    let value = run(first + 1.0);
    let shown = fmt::format(first + 1.0);
    error!("failed: {} {}", first, 2);
    let fourth = own(first + 1.0);
}
""",
        {"= tax::reduced", "crate::tax", "Customer::new", "config::load", "run("},
    ),
    "cpp": (
        {
            "include/shop/all.h": '#include "tax.h"\n',
            "include/shop/tax.h": "namespace shop {\ndouble reduced(double net);\nint max(int a);\n"
            "int size(int a);\n}\n",
            "src/unseen.cpp": "double hidden(double net) {\n    return net * 2;\n}\n",
        },
        "src/main.cpp",
        """#include <vector>
#include <shop/all.h>

double own(double value) {
    return value * 2;
}

int main() {
    double first = shop::reduced(3.5 + 1);
    double second = hidden(first + 1);
    double third = own(first + 1);
    double fourth = std::max(first, third);
    int fifth = values.size(1) + pointer->size(2);
    return 0;
}
""",
        {"shop::reduced"},
    ),
    "csharp": (
        {
            "src/Shop.Tax/Rates.cs": "namespace Shop.Tax\n{\n    public static class Rates\n    {\n"
            "        public static double Reduced(double net) { return net * 0.07; }\n    }\n}\n",
            "src/Shop/Customer.cs": "namespace Shop;\n\npublic class Customer { }\n",
            "src/Shop.Other/Unseen.cs": "namespace Shop.Other\n{\n    public class Unseen { }\n}\n",
        },
        "src/Shop.App/App.cs",
        """using System;
using Shop.Tax;

namespace Shop.App
{
    public class App
    {
        public double Total(double net)
        {
            double first = Rates.Reduced(net + 1);
            Customer buyer = new Customer(first, 2);
            Unseen other = new Unseen(first, 2);
            double root = Math.Sqrt(first + 1);
            return Total(first + root);
        }
    }
}
""",
        {"Rates.Reduced", "new Customer"},
    ),
}


@pytest.mark.parametrize("language", CALLING)
def test_api_tasks_in_languages_that_do_not_import_every_name(language: str) -> None:
    others, path, text, expected = CALLING[language]
    files = {name: content + "\n" * 20 for name, content in others.items()} | {path: text + "\n" * 20}
    found = targets(TaskLevel.API, repository(files), path)
    assert all(any(call in target for target in found) for call in expected), found
    assert len(found) == len(expected), found


def test_languages_without_rules_have_no_api_tasks() -> None:
    assert Reach([source("notes.txt", "price_with_tax(1, 2)")]).names(source("notes.txt", "")) == set()
