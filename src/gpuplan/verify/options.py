"""Which words of a command say where it writes. It knows names of options, never a program."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Option", "output_options"]

WHERE = "dir|directory|folder|path|file|filename|to|as|prefix|root"
OUTPUT_NAME = re.compile(
    rf"o|out|output|outputs|save|(out|output|outputs|save|log|logs|logging|result|results|metrics?|default_root)_?({WHERE})"
)
"""`--output_dir`, `--save-to`, `-o`, `training.log_dir`; not `--save_steps`, `--logging_steps`, `--out_features`."""

NOWHERE = frozenset({"", "-", "none", "null", "false", "true", "no", "yes", "0", "1"})
REDIRECTION = re.compile(r"(?<![0-9&>])(?:1|2|&)?>{1,2}\s*([^\s;&|<>()]+)")


class Option(NamedTuple):
    """An option that names a place to write to, and its value as the template has it."""

    name: str
    value: str


@lru_cache(maxsize=1024)
def output_options(line: tuple[str, ...]) -> tuple[Option, ...]:
    """The output options of a command line, and the redirections of a shell script in it."""
    return tuple(option for option in (*_options(line), *_redirections(line)) if _is_a_place(option.value))


def _options(line: tuple[str, ...]) -> Iterator[Option]:
    for position, word in enumerate(line):
        name, equals, value = word.partition("=")
        if not OUTPUT_NAME.fullmatch(_bare(name)):
            continue
        if equals:
            yield Option(name, value)
        elif word.startswith("-") and position + 1 < len(line) and not line[position + 1].startswith("-"):
            yield Option(name, line[position + 1])


def _redirections(line: tuple[str, ...]) -> Iterator[Option]:
    if "-c" in line[:-1]:
        script = line[line.index("-c") + 1]
        yield from (Option(">", match[1]) for match in REDIRECTION.finditer(script))


def _bare(name: str) -> str:
    """`--Output-Dir`, `+training.output_dir` -> `output_dir`."""
    return name.lstrip("-+").rpartition(".")[2].replace("-", "_").lower()


def _is_a_place(value: str) -> bool:
    return value.lower() not in NOWHERE and not value.startswith("/dev/")
