"""The text of a Python script as a tree. It runs nothing and follows no import."""

from __future__ import annotations

import ast

__all__ = ["last_name", "tree_of", "unconditional"]


def tree_of(text: str) -> ast.Module | None:
    """The tree of a script; None of what is no Python."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def unconditional(tree: ast.Module) -> list[ast.AST]:
    """All nodes but those in an `if` or a `try`, which may be there for another version or machine."""
    nodes = list(ast.walk(tree))
    guarded = {id(inner) for node in nodes if isinstance(node, ast.If | ast.Try) for inner in ast.walk(node)}
    return [node for node in nodes if id(node) not in guarded]


def last_name(node: ast.expr) -> str:
    """`TrainingArguments` of `transformers.TrainingArguments`."""
    return ast.unparse(node).rpartition(".")[2]
