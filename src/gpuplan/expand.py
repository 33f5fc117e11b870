"""Experiment -> runs: the product, zipped and listed points, seeds, controls, stages. Never looks at the world."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.command import fields, fill, values_of
from gpuplan.model import PRECISION_NAMES, Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gpuplan.model import Control, Experiment, Scalar, Settings, Stage

__all__ = ["GANG_AXES", "Count", "Shape", "axes", "count", "expand", "shape_of"]

GANG_AXES = ("ranks", "copies")
"""Names in `vary`, `zip`, `points`, controls and stages that are not settings of the program."""

UNSAFE = re.compile(r"[^A-Za-z0-9._=+-]+")
MAX_NAME = 100
LARGEST_COUNT = 10**15
"""Rows or steps; more than any program ever counted."""
COMPILE = ("compile", "torch_compile")
SAY_NO = frozenset({"", "0", "false", "no", "off", "none", "null"})


class Count(NamedTuple):
    """How many runs, and of what they are made."""

    points: int
    seeds: int
    controls: int
    waves: int
    runs: int

    def __str__(self) -> str:
        parts = [f"{self.points} point{'s' * (self.points != 1)}"]
        if self.seeds > 1:
            parts.append(f"{self.seeds} seeds")
        if self.waves > 1:
            parts.append(f"{self.waves} waves")
        text = " x ".join(parts)
        if self.controls:
            text += f" + {self.controls} control{'s' * (self.controls != 1)}"
        return f"{text} = {self.runs} run{'s' * (self.runs != 1)}"


class Shape(NamedTuple):
    """What the roles say about one run's steps; None where nothing says it."""

    batch: int | None
    micro_batch: int | None
    accumulation: int
    sequence: int | None
    steps: int | None
    epochs: float | None
    train_rows: int | None
    eval_rows: int | None
    warmup_steps: int | None
    precision: str | None
    threads: int | None
    workers: int | None = None
    load_s: float | None = None
    """CPU seconds to load a row."""
    compiles: bool = False
    image: int | None = None
    """Edge of an image in pixels."""


def count(experiment: Experiment) -> Count:
    """The number of runs, by arithmetic alone, so that it is known before anything else."""
    grid = math.prod(len(values) for values in experiment.vary.values()) * _zip_length(experiment)
    has_grid = bool(experiment.vary or experiment.zip) or not experiment.points
    points = (grid if has_grid else 0) + len(experiment.points)
    seeds = max(1, len(experiment.seeds))
    waves = sum(stage.repeats for stage in experiment.stages) or 1
    controls = len(experiment.controls)
    return Count(points, seeds, controls, waves, points * seeds * waves + controls)


def expand(experiment: Experiment) -> tuple[Run, ...]:
    """Every run, in the order of the spec: stages, points, seeds; then the controls, once each."""
    points = list(_points(experiment))
    seeds: list[int | None] = list(experiment.seeds) or [None]
    runs = [
        _run(experiment, point, seed=seed, stage=stage, repeat=repeat)
        for stage, repeat in _waves(experiment)
        for point in points
        for seed in seeds
    ]
    runs += [_run(experiment, {}, seed=seeds[0], control=control) for control in experiment.controls]
    return tuple(runs)


def axes(experiment: Experiment) -> tuple[str, ...]:
    """The names that vary, in the order of the spec, without the seed."""
    names = [*experiment.vary, *experiment.zip, *(name for point in experiment.points for name in point)]
    return tuple(dict.fromkeys(names))


def shape_of(run: Run, experiment: Experiment) -> Shape:
    """The run's batch, sequence and length by its roles; what follows from the others is filled in."""
    roles = experiment.roles
    accumulation = _whole(run.value_of(roles.accumulation)) or 1
    micro, batch = _whole(run.value_of(roles.micro_batch)), _whole(run.value_of(roles.batch))
    if batch is None and micro is not None:
        batch = micro * run.ranks * accumulation
    elif micro is None and batch is not None:
        micro = max(1, math.ceil(batch / run.ranks / accumulation))
    epochs = _number(run.value_of(roles.epochs))
    train_rows = _whole(run.value_of(roles.train_rows)) or None  # no row means all, and nobody said how many that is
    steps = _whole(run.value_of(roles.steps))
    if steps is None and batch and train_rows and epochs:
        steps = math.ceil(math.ceil(train_rows / batch) * epochs)
    precision = run.value_of(roles.precision)
    if precision is None and roles.precision in PRECISION_NAMES:
        precision = roles.precision
    return Shape(
        batch=batch,
        micro_batch=micro,
        accumulation=accumulation,
        sequence=_whole(run.value_of(roles.sequence)),
        steps=steps if run.train else 0,
        epochs=epochs,
        train_rows=train_rows,
        eval_rows=_whole(run.value_of(roles.eval_rows)),
        warmup_steps=_whole(run.value_of(roles.warmup_steps)),
        precision=str(precision) if precision is not None else None,
        image=_whole(run.value_of(roles.image)),
        threads=_whole(run.value_of(roles.threads)),
        workers=_whole(run.value_of(roles.workers)),
        load_s=_number(run.value_of(roles.load_s)),
        compiles=_compiles(run, roles.compile),
    )


def _number(value: Scalar | None) -> float | None:
    """A count that a role can mean; text, negative and absurd values mean nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LARGEST_COUNT:
        return None
    return float(value)


def _whole(value: Scalar | None) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number == int(number) else None


def _compiles(run: Run, role: str | bool | None) -> bool:
    """By its role, else by a setting with the usual name: true, or the name of a mode such as `max-autotune`."""
    names = [role] if role is not None else [name for name in COMPILE if name in run.settings]
    value = run.value_of(names[0]) if names else None
    return value.strip().lower() not in SAY_NO if isinstance(value, str) else bool(value)


def _zip_length(experiment: Experiment) -> int:
    return min((len(values) for values in experiment.zip.values()), default=1)


def _points(experiment: Experiment) -> Iterator[Settings]:
    if experiment.vary or experiment.zip or not experiment.points:
        zipped = [dict(zip(experiment.zip, row, strict=False)) for row in zip(*experiment.zip.values(), strict=False)]
        for values in itertools.product(*experiment.vary.values()):
            grid_point = dict(zip(experiment.vary, values, strict=True))
            yield from (grid_point | row for row in zipped or [{}])
    yield from experiment.points


def _waves(experiment: Experiment) -> Iterator[tuple[Stage | None, int]]:
    if not experiment.stages:
        yield None, 1
    for stage in experiment.stages:
        yield from ((stage, repeat) for repeat in range(1, stage.repeats + 1))


def _run(
    experiment: Experiment,
    point: Settings,
    *,
    seed: int | None,
    stage: Stage | None = None,
    repeat: int = 1,
    control: Control | None = None,
) -> Run:
    override = (stage.settings if stage else {}) | point | (control.settings if control else {})
    gang = {"ranks": experiment.ranks, "copies": experiment.copies} | _only(override, GANG_AXES)
    run = Run(
        name="unnamed",
        key="",
        settings=experiment.settings | {name: value for name, value in override.items() if name not in GANG_AXES},
        point=point,
        seed=seed,
        ranks=_gang_size(gang["ranks"]),
        copies=_gang_size(gang["copies"]),
        stage=stage.name if stage else None,
        control=control.name if control else None,
        train=control.train if control else True,
        command=(control.command if control else None) or experiment.command or "",
    )
    name = control.name if control else _name(experiment, run, repeat=repeat)
    return run.model_copy(update={"name": name, "key": _key(experiment, run, repeat)})


def _only(settings: Settings, names: Iterable[str]) -> Settings:
    return {name: settings[name] for name in names if name in settings}


def _gang_size(value: Scalar) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 1 else 1


def _key(experiment: Experiment, run: Run, repeat: int) -> str:
    program = run.command if run.command != experiment.command else experiment.workload or run.command
    identity = {
        "program": program,
        "settings": run.settings,
        "seed": run.seed,
        "gang": [run.ranks, run.copies],
        "wave": [run.stage, repeat],
        "train": run.train,
        "python": experiment.environment.python,
        "variables": experiment.environment.variables,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _name(experiment: Experiment, run: Run, *, repeat: int) -> str:
    if experiment.names:
        values = values_of(run)
        known: Mapping[str, Scalar] = {name: values.get(name, "") for name in fields(experiment.names)}
        return _safe(fill(experiment.names, known))
    parts = [run.stage] if run.stage else []
    parts += _point_words(run.point)
    parts += [f"s{run.seed}"] if run.seed is not None else []
    parts += [f"r{repeat}"] if repeat > 1 else []
    return _safe("-".join(parts) or experiment.name)


def _point_words(point: Settings) -> list[str]:
    short = {name: _abbreviation(name) for name in point}
    if len(set(short.values())) < len(short):
        short = {name: name for name in point}
    return [_word(short[name], value) for name, value in point.items()]


def _abbreviation(name: str) -> str:
    """`learning_rate` -> `lr`, `ranks` -> `ranks`."""
    parts = [part for part in name.split("_") if part]
    return "".join(part[0] for part in parts) if len(parts) > 1 else name


def _word(name: str, value: Scalar) -> str:
    if isinstance(value, bool):
        return name if value else f"no-{name}"
    return value if isinstance(value, str) else f"{name}{value}"


def _safe(text: str) -> str:
    """A name that is one folder and one word: no separators, no leading dot or dash; long ones end in a hash."""
    name = UNSAFE.sub("-", text).lstrip(".-_=+").rstrip("-") or "run"
    if len(name) <= MAX_NAME:
        return name
    return f"{name[: MAX_NAME - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
