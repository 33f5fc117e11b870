"""Which precision a logged run was asked to train in: by its settings, its command or its name. It judges nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.command import fields, render
from gpuplan.expand import SAY_NO
from gpuplan.footprint.dimensions import precision_of
from gpuplan.verify.options import Option, bare, options
from gpuplan.verify.wanted import filled, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.footprint.dimensions import PrecisionName
    from gpuplan.model import LoggedRun

__all__ = ["HALVES", "Asked", "asked_of", "precision_settings", "without_precision"]

HALVES = frozenset({"fp16", "bf16"})

OWNERS = "use|enable|with|mixed|train|trainer|training|model|torch|compute|autocast|amp|args|config|cfg|accelerator"
SWITCHES = "fp16|bf16|fp32|tf32|amp|float16|bfloat16|float32"
SETTING = re.compile(
    rf"(?:(?:{OWNERS})_)*(?P<off>no_|disable_)?(?:(?P<switch>{SWITCHES})(?:_run|_enabled|_training)?|precision|dtype)"
)
"""`fp16`, `use_amp`, `no_amp`, `mixed_precision`, `trainer_precision`; not `fp16_full_eval`, `bnb_4bit_compute_dtype`,
`half_precision_backend`, `val_precision`."""

WORD = re.compile(
    r"(?P<off>no[-_ ]?)?(?P<name>bfloat16|float16|float32|[bf][fp]16|fp32|tf32|(?<![a-z])amp(?![a-z]))(?!\d)"
)
"""A precision in a text: `bert-fp16`, `no-amp`; not `sample`, not `16`."""

SAY_YES = frozenset({"1", "true", "yes", "on"})


class Asked(NamedTuple):
    """A precision, None where it is none of `PRECISIONS`, and what asks for it; nothing does where `by` is empty."""

    precision: PrecisionName | None
    by: str = ""


class _Told(NamedTuple):
    name: str
    value: str
    by: str


def asked_of(log: LoggedRun) -> Asked:
    """What its settings ask for, else its command, else its name; 16 bits if any of them does, 32 if none says."""
    told = list(_by_settings(log)) or list(_by_command(log)) or list(_by_name(log))
    asked = [Asked(_meant(one), one.by) for one in told]
    return min(asked, key=_rank, default=Asked(precision_of(None)))


def precision_settings(log: LoggedRun) -> frozenset[str]:
    """The names of its settings that say a precision, by what they are called or by the option they are passed to."""
    named = {name for name in log.settings if SETTING.fullmatch(name.lower())}
    return frozenset(named.union(*(fields(option.value) for option in _precision_options(log))))


def without_precision(text: str) -> str:
    """The text in lower case without the names of precisions in it."""
    return WORD.sub(" ", text.lower())


def _by_settings(log: LoggedRun) -> Iterator[_Told]:
    for name, value in log.settings.items():
        if SETTING.fullmatch(name.lower()):
            yield _Told(name.lower(), render(value), f"`{name}: {render(value)}`")


def _by_command(log: LoggedRun) -> Iterator[_Told]:
    for option in _precision_options(log):
        value = filled(option.value, log.settings)
        if value is not None:
            yield _Told(bare(option.name), value, f"`{option.name}`" if value == "true" else f"`{option.name} {value}`")


def _by_name(log: LoggedRun) -> Iterator[_Told]:
    """The last such word: folders above a run's own may be named after the whole study."""
    for match in list(WORD.finditer(f"{log.path} {log.name}".lower()))[-1:]:
        yield _Told(match["name"], "false" if match["off"] else "true", "by its name")


def _precision_options(log: LoggedRun) -> list[Option]:
    return [option for option in options(words_of(log.command)) if SETTING.fullmatch(bare(option.name))]


def _meant(told: _Told) -> PrecisionName | None:
    match, value = SETTING.fullmatch(told.name), told.value.strip().lower().removeprefix("torch.")
    switch = (match and match["switch"]) or "amp"
    is_off = bool(match and match["off"])
    if value in SAY_NO or value in SAY_YES:
        return precision_of(switch) if (value in SAY_YES) != is_off else "fp32"
    return precision_of(value) or precision_of(value.removesuffix("-true"))


def _rank(asked: Asked) -> int:
    """16 bits before what is unknown, and that before 32: a run may have several such settings."""
    return 0 if asked.precision in HALVES else 1 if asked.precision is None else 2
