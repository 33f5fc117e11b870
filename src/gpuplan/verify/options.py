"""The options of a command line, and which of them say where it writes. It knows names of options, never a program."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Option", "bare", "is_output", "options", "output_options"]

WHERE = "dir|directory|folder|path|file|filename|to|as|prefix|root"
OUTPUT_NAME = re.compile(
    rf"o|out|output|outputs|save|(out|output|outputs|save|log|logs|logging|result|results|metrics?|default_root)_?({WHERE})"
)
"""`--output_dir`, `--save-to`, `-o`, `training.log_dir`; not `--save_steps`, `--logging_steps`, `--out_features`."""

NOWHERE = frozenset({"", "-", "none", "null", "false", "true", "no", "yes", "0", "1"})
REDIRECTION = re.compile(r"(?<![0-9&>])(?:1|2|&)?>{1,2}\s*([^\s;&|<>()]+)")


class Option(NamedTuple):
    """An option as it is written, and its value as the template has it; `true` for a switch."""

    name: str
    value: str


@lru_cache(maxsize=1024)
def output_options(line: tuple[str, ...]) -> tuple[Option, ...]:
    """The output options of a command line, and the redirections of a shell script in it."""
    named = (option for option in options(line) if is_output(option.name))
    return tuple(option for option in (*named, *_redirections(line)) if _is_a_place(option.value))


def options(line: tuple[str, ...]) -> Iterator[Option]:
    """`--lr 0.1`, `--lr=0.1`, `lr=0.1` and `--amp`, which is `true`; a word without a dash or `=` is no option."""
    for position, word in enumerate(line):
        name, equals, value = word.partition("=")
        if equals:
            yield Option(name, value)
        elif word.startswith("-"):
            following = line[position + 1] if position + 1 < len(line) else "-"
            yield Option(name, "true" if following.startswith("-") else following)


def is_output(name: str) -> bool:
    """Whether an option or a setting of this name says where to write."""
    return OUTPUT_NAME.fullmatch(bare(name)) is not None


def bare(name: str) -> str:
    """`--Output-Dir`, `+training.output_dir` -> `output_dir`."""
    return name.lstrip("-+").rpartition(".")[2].replace("-", "_").lower()


def _redirections(line: tuple[str, ...]) -> Iterator[Option]:
    if "-c" in line[:-1]:
        script = line[line.index("-c") + 1]
        yield from (Option(">", match[1]) for match in REDIRECTION.finditer(script))


def _is_a_place(value: str) -> bool:
    return value.lower() not in NOWHERE and not value.startswith("/dev/")
