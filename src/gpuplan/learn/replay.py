"""History played again: each fact predicted from those before it, and held against what it measured.

It never changes the history, and never lets a prediction see what it is judged by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.estimate import estimate
from gpuplan.estimate.evidence import mean_step_s
from gpuplan.learn.residuals import Pair, backtest
from gpuplan.model import Experiment, Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuplan.learn.residuals import Backtest
    from gpuplan.model import Estimate, Evidence, Measurement, Quantity, World

__all__ = ["FIGURES", "Replayed", "judged", "replay"]

FIGURES = ("step_s", "device_bytes", "allocated_bytes", "reserved_bytes")
"""What a fact may measure and an estimate predicts, in the units of the names."""


class Replayed(NamedTuple):
    """One figure of one fact: what the facts before it predicted, and what it measured."""

    run: str
    gpu: str
    figure: str
    pair: Pair


def replay(world: World, experiments: Mapping[str, Experiment]) -> tuple[Replayed, ...]:
    """Every fact of `world`, oldest first, predicted from the older ones.

    `experiments` are the specs that are known, by name, for their roles and footprints. A fact whose GPU is not among
    the world's is left out.
    """
    facts = [fact for fact in world.evidence if fact.gpu in world.gpus]
    found: list[Replayed] = []
    for position, fact in enumerate(facts):
        earlier = world.model_copy(update={"evidence": tuple(facts[:position])})
        experiment = experiments.get(fact.experiment) or _bare(fact)
        predicted = estimate(_run(fact), experiment, world.gpus[fact.gpu], earlier)
        found += _pairs(fact, predicted)
    return tuple(found)


def judged(replayed: Iterable[Replayed], figure: str) -> Backtest | None:
    """How far the predictions of one figure were off; guesses, with nothing known before, do not count."""
    pairs = [one.pair for one in replayed if one.figure == figure and one.pair.predicted.source != "assumed"]
    return backtest(pairs)


def _bare(fact: Evidence) -> Experiment:
    """A spec that says no more than the fact: its command and settings, and no roles."""
    return Experiment(name=fact.experiment, command=fact.command or "unknown", settings=fact.settings)


def _run(fact: Evidence) -> Run:
    return Run(
        name="replayed",
        key="",
        settings=fact.settings,
        point={},
        ranks=fact.ranks,
        command=fact.command or "unknown",
    )


def _pairs(fact: Evidence, predicted: Estimate) -> Sequence[Replayed]:
    by_figure = _predicted(predicted)
    measured = _measured(fact.measurement)
    return [
        Replayed(fact.run, fact.gpu, figure, Pair(by_figure[figure], value))
        for figure, value in measured.items()
        if value
    ]


def _predicted(one: Estimate) -> dict[str, Quantity]:
    return {
        "step_s": one.step_s,
        "device_bytes": one.memory.device_bytes,
        "allocated_bytes": one.memory.allocated_bytes,
        "reserved_bytes": one.memory.reserved_bytes,
    }


def _measured(measurement: Measurement) -> dict[str, float | None]:
    return {
        "step_s": mean_step_s(measurement),
        "device_bytes": measurement.peak_device_bytes or measurement.peak_host_bytes,
        "allocated_bytes": measurement.peak_allocated_bytes,
        "reserved_bytes": measurement.peak_reserved_bytes,
    }
