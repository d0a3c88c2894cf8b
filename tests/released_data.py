"""Small benchmarks in their folder layouts, for tests to read and to damage.

RepoEval: ``datasets/*.jsonl`` and ``repositories/*/owner_name``; a prompt is what stands before the target,
its first line cut somewhere. CrossCodeEval: ``LANGUAGE/line_completion*.jsonl``, prompts that end within a
line.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codefilter.types import content_hash

STORE = '''"""What is in store."""

import json


class Store:
    """Articles by name."""

    def __init__(self, path):
        self.path = path
        self.articles = {}

    def load(self):
        """Read all articles."""
        with open(self.path) as file:
            self.articles = json.load(file)
        return len(self.articles)

    def price(self, name, amount=1):
        """Price of some articles."""
        article = self.articles[name]
        total = article["price"] * amount

        return round(total, 2)
'''

CART = '''"""What a customer takes."""

from acme.store import Store


def fill(path, names):
    """Put articles into a cart."""
    store = Store(path)
    store.load()
    cart = []
    for name in names:
        cart.append((name, store.price(
            name,
            amount=1,
        )))
    return cart
'''

FILES = {"acme/__init__.py": "", "acme/store.py": STORE, "acme/cart.py": CART}
REPOSITORY = "owner_shop"


def repoeval_record(
    text: str, path: str, lines: tuple[int, int], *, number: int = 0, context_start: int = 0, cut: int = 0
) -> dict[str, Any]:
    """A record as released for lines [start, end) of a file; `cut` characters are missing from the prompt."""
    start, end = lines
    split = text.splitlines()
    target = "\n".join(split[start:end])
    function = "def " in split[start - 1] or '"""' in split[start - 1]
    metadata: dict[str, Any] = {
        "task_id": "owner--shop/idx" if function else f"{REPOSITORY}/{number}",
        "ground_truth": target + "\n" if function else target,
        "fpath_tuple": [REPOSITORY, *path.split("/")],
        "context_start_lineno": context_start,
        "lineno" if function else "line_no": start,
    }
    if function:
        metadata["function_name"] = "name"
    return {"prompt": "\n".join(split[context_start:start])[cut:], "metadata": metadata}


def line_records() -> list[dict[str, Any]]:
    """Two line tasks."""
    return [
        repoeval_record(STORE, "acme/store.py", (21, 22), number=0),
        repoeval_record(CART, "acme/cart.py", (8, 9), number=1, context_start=2, cut=5),
    ]


def api_records() -> list[dict[str, Any]]:
    """One task of four lines; its number is also a line task's."""
    return [repoeval_record(CART, "acme/cart.py", (11, 15), number=0)]


def function_records() -> list[dict[str, Any]]:
    """Two function bodies with the same id, as released."""
    return [
        repoeval_record(STORE, "acme/store.py", (14, 17)),
        repoeval_record(STORE, "acme/store.py", (20, 24), context_start=8, cut=3),
    ]


def write_files(root: Path, files: dict[str, str]) -> None:
    """Write files by their path below a folder."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def write_jsonl(path: Path, records: Sequence[object]) -> None:
    """Write records; text stands as it is, so that a line can be broken."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def task_file(folder: Path, level: str, variant: str = "2k_context_codex") -> Path:
    """Where the release has the tasks of a level."""
    return folder / "datasets" / f"{level}_level_completion_{variant}.test.jsonl"


def write_repoeval(folder: Path) -> Path:
    """A whole RepoEval of one repository and five tasks."""
    write_files(folder / "repositories" / "line_and_api_level" / REPOSITORY, FILES)
    write_jsonl(task_file(folder, "line"), line_records())
    write_jsonl(task_file(folder, "api"), api_records())
    write_jsonl(task_file(folder, "function"), function_records())
    return folder


def fresh_line(path: str, lines: tuple[int, int]) -> dict[str, Any]:
    """A line of Fresh's task list."""
    return {
        "package": REPOSITORY,
        "version": "1.0",
        "path": path,
        "start_line": lines[0],
        "end_line": lines[1],
        "sha256": content_hash(FILES[path]),
    }


def write_fresh(folder: Path) -> Path:
    """A task list of one package that lies beside it."""
    write_files(folder / "repositories" / REPOSITORY, FILES)
    write_jsonl(folder / "line.jsonl", [fresh_line("acme/store.py", (21, 22))])
    write_jsonl(folder / "function.jsonl", [fresh_line("acme/store.py", (20, 24))])
    return folder


SOURCES = {
    "python": ("acme/store.py", STORE, 'article["price"] * amount'),
    "java": (
        "src/Cart.java",
        "class Cart {\n  int size(Store s) {\n    int n = s.count();\n    return n;\n  }\n}\n",
        "s.count();",
    ),
    "typescript": (
        "src/cart.ts",
        "export function size(store: Store): number {\n  const n = store.count();\n  return n;\n}\n",
        "store.count();",
    ),
    "csharp": (
        "Cart.cs",
        "class Cart {\n  int Size(Store s) {\n    return s.Count();\n  }\n}\n",
        "s.Count();",
    ),
}


def crosscode_record(language: str, *, prompt_lines: int | None = None, number: int = 0) -> dict[str, Any]:
    """A record as released: the prompt ends where the target begins, within a line."""
    path, text, target = SOURCES[language]
    start = text.index(target)
    row = text.count("\n", 0, start)
    first = 0 if prompt_lines is None else row - prompt_lines
    prompt = "\n".join(text[:start].split("\n")[first:])
    return {
        "prompt": prompt,
        "groundtruth": target,
        "right_context": text[start + len(target) :],
        "metadata": {
            "task_id": f"project_cc_{language}/{number}",
            "repository": f"owner-shop-{language}-a544085",
            "file": path,
            "context_start_lineno": first,
            "groundtruth_start_lineno": row,
            "right_context_start_lineno": row + 1,
        },
        "crossfile_context": {"text": "", "list": []},
    }


def write_crosscodeeval(folder: Path, *, with_repositories: bool = False) -> Path:
    """A task in each of the four languages."""
    for language, (path, text, _) in SOURCES.items():
        write_jsonl(folder / language / "line_completion.jsonl", [crosscode_record(language, prompt_lines=1)])
        write_jsonl(folder / language / "line_completion_oracle_bm25.jsonl", ["one that knows the truth"])
        if with_repositories:
            write_files(folder / "crosscodeeval_rawdata" / f"owner-shop-{language}-a544085", {path: text})
    return folder


def with_fragments(record: dict[str, Any], **texts: str) -> dict[str, Any]:
    """A record with what a retriever found in other files, by name without ``.py``."""
    found = [
        {"retrieved_chunk": text, "filename": f"acme/{name}.py", "score": 9.5 - rank}
        for rank, (name, text) in enumerate(texts.items())
    ]
    return record | {"crossfile_context": {"text": "# Here are some relevant code fragments", "list": found}}


def write_crosscodelongeval(folder: Path) -> Path:
    """A chunk task and a function task with the same released id."""
    for level in ("chunk", "function"):
        write_jsonl(folder / f"python_{level}_completion_sparse_rg1.jsonl", [crosscode_record("python")])
    return folder
