"""Evidence as a file to share and to take over: a JSON object a line. It writes no secrets, and believes no line."""

from __future__ import annotations

import re
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from gpuplan.data import find_gpu
from gpuplan.errors import UserError
from gpuplan.learn import anonymous, implausible
from gpuplan.model import Evidence
from gpuplan.observe.log_tail import MASK, mask_secrets
from gpuplan.world import look_at_machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gpuplan.flow.state import State
    from gpuplan.model import Gpu, Scalar

__all__ = ["Imported", "export_evidence", "import_evidence", "redacted"]

MOST_BYTES = 512 * 2**20
MOST_LINE_BYTES = 2**20
MOST_LINES = 100_000
MOST_REASON = 300
CPU_DEVICE = re.compile(r".{1,200}, [1-9]\d{0,4} threads?")
"""A share of a CPU, which each machine names by itself: `AMD EPYC, 2 threads`."""

SURE = r"pass(?:word|wd|phrase|code)|pwd|secret|credential|(?:api|access|private)[-_.]?key"
LIKELY = rf"{SURE}|pass(?![a-z])|token(?!s|i[sz])|key(?!s|board|word)|auth(?!ors?(?![a-z]))|signature|sig(?![a-z])"
SURE_NAME = re.compile(SURE, re.IGNORECASE)
LIKELY_NAME = re.compile(LIKELY, re.IGNORECASE)
END = r"[\"']?(?=[\s\"';&]|$)"
NO_SECRET = rf"[\"']?(?:(?-i:\$[A-Z_]+)|\$\{{\w+\}}|\{{\w+\}}|true|false|none|null){END}"
"""A placeholder says where a secret is, and not what it is."""
NUMBER = rf"-?\d{{1,9}}(?:\.\d*)?{END}"


def _named(words: str, *, harmless: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Values of names with these words, as in `NAME=VALUE` and in `--name VALUE`, but for what is harmless."""
    name = rf"[\w.-]{{0,200}}(?:{words})[\w.-]{{0,200}}"
    value = rf"(?!{harmless})(\"[^\"]*\"|'[^']*'|[^\s\"';&]+)"
    return (
        re.compile(rf"((?<![\w.-]){name}[\"']?\s*[=:]\s*){value}", re.IGNORECASE),
        re.compile(rf"((?<![\w.-])-{name}\s+){value}", re.IGNORECASE),
    )


SECRETS = (
    re.compile(r"(\bauthorization[\"']?\s*[=:]\s*)([^\"'\n]+)", re.IGNORECASE),
    *_named(SURE, harmless=NO_SECRET),
    *_named(LIKELY, harmless=f"{NO_SECRET}|{NUMBER}"),
    re.compile(r"(://)([^\s/]+)(?=@)"),
    re.compile(r"((?<!\S)(?:-u|--user|--login)[ =][\"']?)([^\s:\"']+:[^\s\"']+)"),
    re.compile(r"()(\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*)"),
)
"""What `mask_secrets` leaves of a command: options and their values apart, logins in addresses, signed requests."""
RANDOM = re.compile(r"(?<![\w-])(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{32,}(?![\w-])")
"""A key without a name, as `wandb login` takes it; a commit looks the same."""


class Imported(NamedTuple):
    """What came out of a file of evidence."""

    new: int
    known: int
    refused: tuple[str, ...]


class Line(NamedTuple):
    """One line of a file, or why it is not read."""

    number: int
    content: bytes
    problem: str | None = None


def export_evidence(state: State, path: Path, *, nameless: bool) -> int:
    """Write all evidence to `path`, a JSON object a line, secrets masked; `nameless` without paths and names too."""
    with state.reading() as store:
        facts = store.evidence() if store else ()
    chosen = [anonymous(redacted(fact)) if nameless else redacted(fact) for fact in facts]
    path.write_text("".join(f"{fact.model_dump_json()}\n" for fact in chosen), "utf-8")
    return len(chosen)


def import_evidence(state: State, path: Path) -> Imported:
    """Take over the evidence in `path`; what is none is named, line by line. Raises UserError, OSError."""
    _refuse_other_things(path)
    with state.reading() as store:
        gpus = look_at_machine(None, (), store=store).gpus
    facts: list[Evidence] = []
    refused: list[str] = []
    for line in _lines(path):
        found = line.problem or _fact(line.content, gpus)
        if isinstance(found, Evidence):
            facts.append(found)
        else:
            refused.append(f"{path}:{line.number}: {found[:MOST_REASON]}")
    with state.writing() as store:
        new = store.add_evidence(facts)
    return Imported(new, len(facts) - new, tuple(refused))


def redacted(fact: Evidence) -> Evidence:
    """The fact with what may be a password, a token or a key replaced by `***`, wherever texts stand in it."""
    measurement = fact.measurement.model_copy(update={"flags": tuple(map(_masked, fact.measurement.flags))})
    return fact.model_copy(
        update={
            "run": _masked(fact.run),
            "command": RANDOM.sub(MASK, _masked(fact.command)),
            "settings": {name: _setting(name, value) for name, value in fact.settings.items()},
            "versions": {name: _masked(version) for name, version in fact.versions.items()},
            "log": _masked(fact.log),
            "measurement": measurement,
        }
    )


def _setting(name: str, value: Scalar) -> Scalar:
    """A setting by its name: `password: 1234` is a secret, `max_token: 1234` is none."""
    if isinstance(value, str):
        return MASK if value and LIKELY_NAME.search(name) else RANDOM.sub(MASK, _masked(value))
    return MASK if not isinstance(value, bool) and SURE_NAME.search(name) else value


def _masked(text: str) -> str:
    text = mask_secrets(text)
    for pattern in SECRETS:
        text = pattern.sub(rf"\1{MASK}", text)
    return text


def _refuse_other_things(path: Path) -> None:
    hint = "gpuplan learn --import FILE, which gpuplan learn --export FILE has written"
    if not path.exists():
        raise UserError(f"{path} is not there", hint=hint)
    if not path.is_file():
        raise UserError(f"{path} is not a regular file", hint=hint)
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path} is larger than {MOST_BYTES // 2**20} MiB", hint="split it: split -n l/8 FILE")


def _lines(path: Path) -> Iterator[Line]:
    """The lines that are not empty, as far as the file reaches now: what has no size may be without end."""
    left = path.stat().st_size
    with path.open("rb") as file:
        for number in count(1):
            content = file.readline(min(left, MOST_LINE_BYTES + 1))
            left -= len(content)
            if not content:
                return
            if number > MOST_LINES:
                yield Line(number, b"", f"only the first {MOST_LINES:,} lines are read: split -n l/8 FILE")
                return
            if len(content) > MOST_LINE_BYTES:
                while content and left > 0 and not content.endswith(b"\n"):
                    content = file.readline(min(left, MOST_LINE_BYTES))
                    left -= len(content)
                yield Line(number, b"", f"the line is longer than {MOST_LINE_BYTES // 2**10} KiB")
            elif content.strip():
                yield Line(number, content)


def _fact(content: bytes, gpus: Mapping[str, Gpu]) -> Evidence | str:
    """The fact in a line, its GPU by our name for it; or what is wrong with it."""
    try:
        fact = Evidence.model_validate_json(content.strip().removeprefix(b"\xef\xbb\xbf"))
    except ValidationError as error:
        first = error.errors()[0]
        return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
    gpu = find_gpu(fact.gpu) or gpus.get(fact.gpu)
    if gpu is None and not CPU_DEVICE.fullmatch(fact.gpu):
        return f"gpu: {fact.gpu[:60]!r} is not known; gpuplan gpus NAME finds what it may mean"
    return implausible(fact) or fact.model_copy(update={"gpu": gpu.name if gpu else fact.gpu})
