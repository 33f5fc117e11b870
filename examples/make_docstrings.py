"""Writes a CSV of real text that every machine has: docstrings and comments of Python's standard library, by topic.

    python make_docstrings.py docstrings.csv

Columns: label (0 to 3, see TOPICS) and text; as many rows of each topic, in an order that does not depend on the
file system.
"""

from __future__ import annotations

import ast
import csv
import os
import random
import re
import sys
import sysconfig
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TOPICS = {
    "mail and web": "email html http mailbox smtplib urllib wsgiref xml xmlrpc webbrowser imaplib poplib ftplib cgi",
    "concurrency": "asyncio concurrent multiprocessing queue sched selectors socket socketserver subprocess threading",
    "numbers and dates": "_pydecimal calendar colorsys datetime fractions heapq ipaddress numbers random statistics",
    "language": "abc ast dataclasses dis enum functools importlib inspect pickle pickletools pydoc typing unittest",
}
FEWEST_WORDS = 5
SEED = 20
WRITTEN = re.compile(r"^[#\s:]+")


def main(path: Path) -> None:
    """Write the rows to `path`, complete or not at all."""
    library = Path(sysconfig.get_paths()["stdlib"])
    topics = [sorted({text for name in names.split() for text in texts(library, name)}) for names in TOPICS.values()]
    rows_per_topic = min(map(len, topics))
    shuffle = random.Random(SEED)
    rows = [(label, text) for label, found in enumerate(topics) for text in shuffle.sample(found, rows_per_topic)]
    shuffle.shuffle(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("label", "text"), *rows])
    unfinished.replace(path)
    print(f"{path}: {len(rows):,} rows, {rows_per_topic:,} of each topic: {', '.join(TOPICS)}")


def texts(library: Path, name: str) -> Iterator[str]:
    """Docstrings and comments of at least a few words in one module or package of the library."""
    module = library / f"{name}.py"
    files = [module] if module.is_file() else sorted((library / name).rglob("*.py"))
    for file in files:
        if "test" in file.parts or "tests" in file.parts:
            continue
        source = file.read_text(encoding="utf-8", errors="replace")
        for text in (*docstrings(source), *comments(file)):
            plain = " ".join(WRITTEN.sub("", text).split())
            if len(plain.split()) >= FEWEST_WORDS:
                yield plain


def docstrings(source: str) -> Iterator[str]:
    """The docstrings of a module, its classes and functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def comments(file: Path) -> Iterator[str]:
    """The comments of a file, each line apart."""
    with tokenize.open(file) as stream:
        for token in tokenize.generate_tokens(stream.readline):
            if token.type == tokenize.COMMENT:
                yield token.string


if __name__ == "__main__":
    main(Path(sys.argv[1]))
