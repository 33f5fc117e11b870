"""Lists of what is to be installed, read as ranges of versions: requirements.txt, pyproject.toml, `pip install` lines.

What has a condition (`; python_version < "3.8"`), an address or a file behind it is no plain requirement and left out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Requirement", "Version", "admitted", "is_open_list", "requirements_in", "version_of"]

Version = tuple[int, ...]

NAME = r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?"
BOUND = r"(?:===?|~=|!=|<=?|>=?)\s*[\w.*+!-]+"
PLAIN = re.compile(rf"({NAME})\s*(?:\[[\w\s,.-]*\])?\s*((?:{BOUND})(?:\s*,\s*{BOUND})*)?")
ONE_BOUND = re.compile(r"(===?|~=|!=|<=?|>=?)\s*([\w.*+!-]+)")
PIP = re.compile(r"(?:^|[\s;&|(`])(?:uv\s+)?pip3?(?:\.\d+)?\s+install\s+([^;&|`\n]*)")
BUILD = re.compile(r"\+cu(\d{2,3})|/whl/cu(\d{2,3})")
QUOTED = re.compile(r"""["']([^"']+)["']""")
TAKES_VALUE = frozenset({"-r", "--requirement", "-c", "--constraint", "-i", "--index-url", "--extra-index-url", "-f",
                         "--find-links", "-t", "--target", "--prefix", "-e", "--editable", "--python"})  # fmt: skip
OPENS = re.compile(r"(?:^|\s)(?:-e|--editable|-r|--requirement)\s|\bgit\+|://|(?:^|\s)\.(?:\[|\s|$)")
LARGEST: Version = (10**6,)


class Requirement(NamedTuple):
    """One library: the range of versions that are asked for, as it is written, and where."""

    name: str
    words: str
    place: str
    low: Version = ()
    high: Version = LARGEST
    """The first version that is too high; `LARGEST` where none is."""
    cuda: int | None = None
    """Of a build for CUDA: 118 of `+cu118`, or of the address that it is installed from."""

    @property
    def is_bounded(self) -> bool:
        """Whether there is a version that is too high, so that pip does not take the newest."""
        return self.high != LARGEST


def version_of(text: str) -> Version:
    """The four numbers of a release: (4, 30, 2, 0) of `4.30.2`, (2, 0, 1, 0) of `2.0.1+cu118`; none of other texts."""
    return _padded(_numbers(text))


def requirements_in(text: str, path: str) -> Iterator[Requirement]:
    """What a file asks for, by how it is called."""
    name = path.rpartition("/")[2]
    if name.endswith(".toml"):
        yield from _of_project(text, path)
    elif name.endswith(".txt"):
        for number, line in enumerate(text.splitlines(), start=1):
            yield from _of_words([line.partition(" #")[0].strip()], f"{path}:{number}:1")
    else:
        yield from _of_commands(text, path)


def is_open_list(text: str) -> bool:
    """Whether more is installed than is listed: from another list, an address, or the folder itself."""
    return any(OPENS.search(line) for line in text.splitlines() if not line.lstrip().startswith("#"))


def admitted(requirements: Iterable[Requirement]) -> Requirement | None:
    """What all of them together leave of one library, in the words of the tightest; None of an empty range."""
    found = list(requirements)
    low, high = max(one.low for one in found), min(one.high for one in found)
    if low >= high:
        return None
    tightest = min(found, key=lambda one: (one.high, [-number for number in one.low]))
    cuda = next((one.cuda for one in found if one.cuda), None)
    return tightest._replace(low=low, high=high, cuda=cuda)


def _of_commands(text: str, path: str) -> Iterator[Requirement]:
    """The libraries behind `pip install`, on one line or on several that end in a backslash."""
    joined = text.replace("\\\n", "\0\0")
    for match in PIP.finditer(joined):
        number = joined.count("\n", 0, match.start(1)) + joined.count("\0\0", 0, match.start(1)) + 1
        build = BUILD.search(match[1])
        for one in _of_words(_arguments(match[1].replace("\0\0", " ")), f"{path}:{number}:1"):
            is_torch = one.name in {"torch", "torchvision", "torchaudio"}
            yield one._replace(cuda=int(build[1] or build[2])) if build and is_torch else one


def _arguments(line: str) -> list[str]:
    words = [word.strip("\"'") for word in line.split()]
    after = {index + 1 for index, word in enumerate(words) if word in TAKES_VALUE}
    return [word for index, word in enumerate(words) if index not in after and not word.startswith("-")]


def _of_project(text: str, path: str) -> Iterator[Requirement]:
    """The strings of `dependencies = [...]` in the project's table."""
    table, inside = "", False
    for number, line in enumerate(text.splitlines(), start=1):
        heading = re.match(r"\s*\[([\w.-]+)\]\s*$", line)
        table = heading[1] if heading else table
        starts = table == "project" and re.match(r"\s*dependencies\s*=\s*\[", line)
        inside = inside or bool(starts)
        if inside:
            yield from _of_words(QUOTED.findall(line.partition(" #")[0]), f"{path}:{number}:1")
        inside = inside and not re.search(r"\]\s*(?:#.*)?$", line)


def _of_words(words: Iterable[str], place: str) -> Iterator[Requirement]:
    for word in words:
        match = PLAIN.fullmatch(word)
        if match:
            low, high = _range(match[2] or "")
            build = BUILD.search(word)
            name = re.sub(r"[-_.]+", "-", match[1]).lower()
            yield Requirement(name, word, place, low, high, int(build[1] or build[2]) if build else None)


def _range(bounds: str) -> tuple[Version, Version]:
    """From the lowest version to the first that is too high; `!=` leaves out a version and no range."""
    low: Version = ()
    high: Version = LARGEST
    for sign, text in ONE_BOUND.findall(bounds):
        version, numbers = version_of(text), _numbers(text)
        if not version or sign == "!=":
            continue
        if sign in ("==", "===", "~=", ">="):
            low = max(low, version)
        elif sign == ">":
            low = max(low, _after(version))
        if sign in ("==", "===") and not text.endswith("*"):
            high = min(high, _after(version))
        elif sign in ("==", "~="):
            high = min(high, _next(numbers[:-1] if sign == "~=" and len(numbers) > 1 else numbers))
        elif sign == "<":
            high = min(high, version)
        elif sign == "<=":
            high = min(high, _after(version))
    return low, high


def _numbers(text: str) -> Version:
    match = re.match(r"v?(\d{1,9}(?:\.\d{1,9}){0,3})", text.strip())
    return tuple(map(int, match[1].split("."))) if match else ()


def _padded(numbers: Version) -> Version:
    return (*numbers, *[0] * (4 - len(numbers))) if numbers else ()


def _after(version: Version) -> Version:
    """What stands right behind a version, before any other."""
    return (*version, 1)


def _next(numbers: Version) -> Version:
    return _padded((*numbers[:-1], numbers[-1] + 1))
