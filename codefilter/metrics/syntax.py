"""What metrics ask of a syntax tree: whether a text parses, and where its functions are.

In: texts. Out: plain values. Notable: the released scripts call a text valid if its tree has no ERROR node,
even where the parser had to insert a missing token; `has_error_node` follows them, because their cuts depend
on it, while `is_valid_in_place`, which is our own, counts missing tokens too.
"""

from __future__ import annotations

from codefilter.languages import count_errors, parse
from codefilter.types import CompletionTask


def has_error_node(text: str, language: str) -> bool:
    """Whether the tree has an ERROR node, or there is no tree (no grammar, or the parse took too long)."""
    tree = parse(text, language)
    return tree is None or count_errors(tree, with_missing_tokens=False) > 0


def is_valid_in_place(completion: str, task: CompletionTask) -> bool | None:
    """Whether the completion, put where the target stood, brings no syntax error that the file did not have.

    None where nothing can be said: no grammar for the language, or the file itself took too long to parse.
    """
    request = task.request
    with_target = parse(request.prefix + task.target + request.suffix, request.language)
    if with_target is None:
        return None
    with_completion = parse(request.prefix + completion + request.suffix, request.language)
    return with_completion is not None and count_errors(with_completion) <= count_errors(with_target)


def function_bodies(text: str, language: str) -> list[str] | None:
    """Texts of the bodies of all Python functions, inner ones and methods too, in the order they begin.

    None where there is no tree, or a function without a body (as the released script then gives up).
    """
    tree = parse(text, language)
    if tree is None:
        return None
    bodies = []
    stack = [tree.root]
    while stack:
        node = stack.pop()
        stack += reversed(node.children)
        if node.type == "function_definition":
            body = node.children[-1]
            if body.type != "block":
                return None
            bodies.append(tree.text(body))
    return bodies
