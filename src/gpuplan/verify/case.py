"""What every check is given, and the words that findings share. It never decides what is wrong."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from gpuplan.expand import Shape, shape_of
from gpuplan.model import Finding
from gpuplan.verify.wanted import at_launch, filled, inputs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

    from gpuplan.model import Estimate, Experiment, Run, SourceFact, SourceKind, World
    from gpuplan.verify.wanted import FilledInput

__all__ = ["MOST", "Case", "Check", "case_of", "groups", "listed", "near", "ranks_at", "role_at", "setting_at", "who"]

Severity: TypeAlias = Literal["error", "warning", "note"]
Group = TypeVar("Group", bound="Hashable")

SHOWN_RUNS = 3

MOST = 10**15
"""No training has more rows or steps; arithmetic with larger figures would only overflow."""

UNKNOWN_SHAPE = Shape(
    batch=None,
    micro_batch=None,
    accumulation=1,
    sequence=None,
    steps=None,
    epochs=None,
    train_rows=None,
    eval_rows=None,
    warmup_steps=None,
    precision=None,
    threads=None,
)


@dataclass(frozen=True, slots=True)
class Case:
    """The experiment, its runs with their shapes and inputs, what is known of them, and which are still to do."""

    experiment: Experiment
    runs: tuple[Run, ...]
    shapes: tuple[Shape, ...]
    world: World
    estimates: dict[str, tuple[Estimate, ...]]
    todo: tuple[Run, ...]
    inputs: tuple[FilledInput, ...]

    def finding(
        self,
        severity: Severity,
        check: str,
        *,
        message: str,
        because: str,
        fix: str,
        at: str = "",
        runs: Sequence[Run] = (),
    ) -> Finding:
        """A finding on `runs` (of none in particular if empty), placed at the spec's key `at` or else at a run."""
        place = self.located(at) if at or not runs else runs[0].name
        if runs:
            message = f"{who(runs, total=len(self.runs))}: {message}"
        return Finding(severity=severity, check=check, message=message, place=place, because=because, fix=fix)

    def located(self, at: str) -> str:
        """`file:line:column` of a key path or of the nearest key above it; the path itself if the spec is no file."""
        key = at
        while key:
            if key in self.world.places:
                return self.world.places[key]
            key = key.rpartition(".")[0]
        return at or self.experiment.name

    def sources(self, kind: SourceKind) -> Iterator[SourceFact]:
        """The files of this kind that the runs read."""
        return (source for source in self.world.sources if source.kind == kind)

    def configs_of(self, run: Run) -> Iterator[SourceFact]:
        """The configurations that the command of `run` names."""
        command = filled(run.command, at_launch(run)) or ""
        return (source for source in self.sources("config") if source.path in command)


Check: TypeAlias = "Callable[[Case], Iterator[Finding]]"


def case_of(experiment: Experiment, runs: Sequence[Run], *, world: World, estimates: Iterable[Estimate]) -> Case:
    """Everything in one value, with what several checks need worked out once."""
    finished = {past.key for past in world.history if past.state == "finished"}
    by_run: dict[str, list[Estimate]] = {}
    for estimate in estimates:
        by_run.setdefault(estimate.run, []).append(estimate)
    return Case(
        experiment=experiment,
        runs=tuple(runs),
        shapes=tuple(_bounded(shape_of(run, experiment)) for run in runs),
        world=world,
        estimates={name: tuple(of_run) for name, of_run in by_run.items()},
        todo=tuple(run for run in runs if run.key not in finished),
        inputs=inputs_of(experiment, runs),
    )


def groups(case: Case, of: Callable[[Run, Shape], Group | None]) -> dict[Group, list[Run]]:
    """The runs that have the same trouble with the same figures together; None is no trouble."""
    found: dict[Group, list[Run]] = {}
    for run, shape in zip(case.runs, case.shapes, strict=True):
        trouble = of(run, shape)
        if trouble is not None:
            found.setdefault(trouble, []).append(run)
    return found


def who(runs: Sequence[Run], *, total: int) -> str:
    """`a`, `2 runs (a, b)`, `all 10 runs (a, b, c, ...)`."""
    if len(runs) == 1:
        return runs[0].name
    count = f"all {total} runs" if len(runs) == total else f"{len(runs):,} runs"
    return f"{count} ({listed([run.name for run in runs])})"


def listed(names: Iterable[str], *, shown: int = SHOWN_RUNS) -> str:
    """The first names, and dots where there are more."""
    names = list(names)
    return ", ".join([*names[:shown], "..."] if len(names) > shown else names)


def near(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` most resembles, if any does."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), None)


def setting_at(experiment: Experiment, name: str) -> str:
    """The key path where a setting gets its value: where it varies before where it is fixed."""
    sections: dict[str, Mapping[str, object]] = {
        "vary": experiment.vary,
        "zip": experiment.zip,
        **{f"points.{i}": point for i, point in enumerate(experiment.points)},
        "settings": experiment.settings,
        **{f"stages.{i}.settings": stage.settings for i, stage in enumerate(experiment.stages)},
        **{f"controls.{i}.settings": control.settings for i, control in enumerate(experiment.controls)},
    }
    section = next((section for section, names in sections.items() if name in names), "settings")
    return f"{section}.{name}"


def role_at(experiment: Experiment, *roles: str) -> str:
    """The key path behind the first of `roles` that the spec gives."""
    for role in roles:
        value = getattr(experiment.roles, role)
        if value is not None:
            return setting_at(experiment, value) if isinstance(value, str) else f"roles.{role}"
    return "roles"


def ranks_at(experiment: Experiment) -> str:
    """The key path where the ranks of the runs are given."""
    sections = {"vary": experiment.vary, "zip": experiment.zip}
    return next((f"{section}.ranks" for section, names in sections.items() if "ranks" in names), "ranks")


def _bounded(shape: Shape) -> Shape:
    """The shape, or an unknown one if it has figures that no training has; `role_values` reports them."""
    is_absurd = any(isinstance(value, int | float) and value > MOST for value in shape)
    return UNKNOWN_SHAPE if is_absurd else shape
