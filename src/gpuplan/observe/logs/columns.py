"""Columns of tables that programs write their own way: what a name means, in which unit, and how cells write numbers.

A unit stands in the name (`step_time_ms`, `Time/step (ms)`) or in the cell (`500 ms`, `0:01:30`). A cell that ought to
be a figure and is none is said; a number is never read in a way that its own file contradicts.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from gpuplan.observe.logs.machine import moment
from gpuplan.observe.records import MAX_NAME, number
from gpuplan.observe.tables import PLACES, ROLES
from gpuplan.observe.timing import CLOCKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gpuplan.observe.records import Doubts

__all__ = ["Cells", "Role", "role_of", "uses_decimal_comma"]

TIME_UNITS = {
    **dict.fromkeys(("us", "µs", "usec", "microseconds"), 1e-6),
    **dict.fromkeys(("ms", "msec", "msecs", "millis", "milliseconds"), 1e-3),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
}
"""Seconds of one unit."""


class Time(NamedTuple):
    """A kind of time: what its column is called here without a unit, and in seconds."""

    unitless: str
    in_seconds: str


OF_A_STEP = Time("step_time", "step_time_s")
OF_AN_EPOCH = Time("epoch_time", "epoch_time_s")
SINCE_START = Time("elapsed", "elapsed_s")
TIMES = {
    **dict.fromkeys(("step_time", "time_per_step", "time/step", "step_duration", "train_step_time"), OF_A_STEP),
    **dict.fromkeys(("train/step_time", "iter_time", "iteration_time", "time_per_iter", "time/iter"), OF_A_STEP),
    **dict.fromkeys(("time_per_iteration", "batch_time", "time_per_batch", "time/batch", "dt"), OF_A_STEP),
    **dict.fromkeys(("train_time", "epoch_time", "time_per_epoch", "time/epoch", "epoch_duration"), OF_AN_EPOCH),
    **dict.fromkeys(("elapsed", "elapsed_time", "time_elapsed", "time_since_start"), SINCE_START),
}
TIMES_IF_SECONDS = {**dict.fromkeys(("step", "iter", "iteration", "batch"), OF_A_STEP), "epoch": OF_AN_EPOCH}
"""Names that are a time only with a unit of time, as in `epoch (s)`."""
WHEN = frozenset({"time", "date", "datetime", "ts", "created_at", "logged_at"})
"""Names of a clock, or of something else: a clock where the cell is a date, or as large as seconds since 1970."""
STEPS = frozenset({"current_steps", "num_updates", "train_step", "training_step", "optimizer_step"})
PER_SECOND = r"(?:_per_|/)(?:s|sec|second)"
RATES = (
    (re.compile(rf"(?:train_)?(?:tokens?|toks?){PER_SECOND}(?:_per_|/)(?:gpu|device)"), "tokens_per_second_per_gpu"),
    (re.compile(rf"(?:train_)?(?:tokens?|toks?){PER_SECOND}"), "tokens_per_second"),
    (re.compile(rf"(?:train_)?(?:samples|examples|images|imgs|sequences|seqs){PER_SECOND}"), "samples_per_second"),
    (re.compile(rf"(?:train_)?(?:steps|it|iters|iterations|batches){PER_SECOND}"), "steps_per_second"),
)
RATE = frozenset({"throughput", "speed", "rate", "train_throughput"})
SPACE = re.compile(r"[\s-]+")
BRACKETED = re.compile(r"(.*?) *[(\[] *([^()\[\]]{1,20}?) *[)\]]")
SUFFIXED = re.compile(rf"(.*?)_(?:in_)?({'|'.join(TIME_UNITS)})")
WITH_UNIT = re.compile(r"([-+\d.,]{1,40}) ?([A-Za-zµ%][A-Za-zµ/%]{0,12})")
CLOCK_TEXT = re.compile(r"(?:(\d{1,4}):)?(\d{1,3}):(\d{1,2}(?:\.\d{1,6})?)")
DECIMAL_COMMA = re.compile(r"[-+]?\d{1,3}(?:\.\d{3})+,\d+|[-+]?\d+,(?:\d{1,2}|\d{4,})(?:[eE][-+]?\d+)?|[-+]?0\d*,\d+")
ANY_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?")
POINT = re.compile(r"[-+]?\d*\.\d+(?:[eE][-+]?\d+)?")
DOTTED = re.compile(r"[-+]?[1-9]\d{0,2}(?:\.\d{3})+(?:,\d+)?")
THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
GROUPS = frozenset(
    {"train", "training", "trainer", "perf", "performance", "timing", "time", "speed", "stats", "metrics"}
)
"""What stands before names that mean the same without it; `eval/samples_per_second` means something else."""
TIMED = ROLES - PLACES
EMPTY = frozenset({"", "-", "--", "na", "n/a", "none", "null", "nil", "[n/a]"})
SINCE_1970_S = 1e9
MOST_SAID = 40
MOST_COLUMNS = 64


class Role(NamedTuple):
    """What the figures of a column are called here, and what one of them has to be multiplied with."""

    name: str
    factor: float = 1.0


class Cells:
    """Reads the cells of the table `name`; `comma`: a comma stands before the decimals."""

    def __init__(self, name: str, doubts: Doubts, *, comma: bool = False) -> None:
        self._name = name
        self._doubts = doubts
        self._comma = comma
        self._said: set[str] = set()

    def numbers(self, cells: Mapping[str, Any]) -> dict[str, float]:
        """The figures of a row by what they mean; of very many the first 64."""
        found: dict[str, float] = {}
        for name, value in cells.items():
            if not name:
                continue  # an index, as pandas writes it
            if len(name) > MAX_NAME or not name.isprintable():
                self._say(f"a column of the name {name[:50]!a}, which is left out", name)
                continue
            role, figure = self._figure(name, value)
            if figure is None:
                self._unread(name, role, value)
            elif len(found) < MOST_COLUMNS and role.name not in found:
                found[role.name] = figure * role.factor
        return found

    def _figure(self, name: str, value: Any) -> tuple[Role, float | None]:
        figure = number(self._plain(value) if type(value) is str else value)
        if figure is not None:
            return role_of(name, "", since_1970=figure >= SINCE_1970_S), figure
        if type(value) is not str or len(value) > MAX_NAME:
            return role_of(name), None
        text = value.strip()
        united = WITH_UNIT.fullmatch(text)
        if united is not None:
            return role_of(name, united.group(2).lower()), number(self._plain(united.group(1)))
        clock = CLOCK_TEXT.fullmatch(text)
        if clock is not None:
            hours, minutes, seconds = (float(part or 0) for part in clock.groups())
            return role_of(name, "s"), (hours * 60 + minutes) * 60 + seconds
        when = moment(text)
        return role_of(name, "", since_1970=True), when.timestamp() if when else None

    def _plain(self, text: str) -> str:
        """The number as programs without a language write it; what has two readings stays as it is, and is none."""
        text = text.strip()
        if self._comma:
            if DOTTED.fullmatch(text):
                text = text.replace(".", "")
            return text.replace(",", ".") if text.count(",") == 1 else text
        return text.replace(",", "") if THOUSANDS.fullmatch(text) else text

    def _unread(self, name: str, role: Role, value: Any) -> None:
        """A cell of a column that says where or how fast has to be a figure, or empty."""
        if role.name in ROLES and isinstance(value, str) and value.strip().lower() not in EMPTY:
            self._say(f"{name} holds {value.strip()[:30]!a}, which is no number; left out", name)

    def _say(self, what: str, column: str) -> None:
        """Once for each column, with the first cell that was met."""
        if column not in self._said and len(self._said) < MOST_SAID:
            self._said.add(column)
            self._doubts[f"{self._name}: {what}"] += 1


@lru_cache(maxsize=4096)
def role_of(name: str, unit: str = "", *, since_1970: bool = False) -> Role:
    """What a column of this name holds, if its cells have this unit; its own name in lower case where that is unknown.

    `since_1970`: its figures are dates, or as large as seconds since 1970.
    """
    own = name.strip().lower()
    if own in ROLES and not unit:
        return Role(own)
    group, _, inner = own.rpartition("/")
    if group in GROUPS and (role := role_of(inner, unit)).name in TIMED:
        return role
    base, stated = _parts(own)
    rate = _rate((unit or stated) if base in RATE else base)
    if rate is not None:
        return Role(rate)
    seconds = TIME_UNITS.get(unit or stated)
    time = TIMES.get(base) or (TIMES_IF_SECONDS.get(base) if seconds else None)
    if time is not None:
        return Role(time.in_seconds, seconds) if seconds else Role(time.unitless)
    known = "timestamp" if base in WHEN and since_1970 else "step" if base in STEPS else base
    if known in ROLES:
        return Role(known, seconds if seconds and base in CLOCKS else 1.0)
    return Role(f"{own} ({unit})" if unit and not stated else own)


def _parts(name: str) -> tuple[str, str]:
    """A name without its unit, and the unit: of `time/step (ms)` and of `epoch_time_min`."""
    bracketed = BRACKETED.fullmatch(name)
    if bracketed is not None:
        return SPACE.sub("_", bracketed.group(1)), bracketed.group(2)
    base = SPACE.sub("_", name)
    suffixed = SUFFIXED.fullmatch(base)
    return (suffixed.group(1), suffixed.group(2)) if suffixed is not None else (base, "")


def _rate(text: str) -> str | None:
    return next((role for pattern, role in RATES if pattern.fullmatch(text)), None)


def uses_decimal_comma(rows: Iterable[Iterable[str]], delimiter: str) -> bool:
    """Whether cells like these have a comma before their decimals, as 0,5 surely has.

    12,345 has where it is not commas that part the cells, and no other cell has a point before its decimals.
    """
    cells = [cell for cell in chain.from_iterable(rows) if "," in cell or "." in cell]
    texts = [united.group(1) if (united := WITH_UNIT.fullmatch(cell)) else cell for cell in cells]
    if any(DECIMAL_COMMA.fullmatch(text) for text in texts):
        return True
    has_points = any(POINT.fullmatch(text) and not DOTTED.fullmatch(text) for text in texts)
    return delimiter != "," and not has_points and any(ANY_COMMA.fullmatch(text) for text in texts)
