"""Runs that cost the same on every GPU: one estimate stands for all of them. It estimates nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuplan.estimate.evidence import NEUTRAL

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from gpuplan.model import Experiment, Run, Scalar

__all__ = ["classes_of"]


def classes_of(runs: Iterable[Run], experiment: Experiment) -> tuple[tuple[Run, ...], ...]:
    """The runs by cost class, in the order of their first runs.

    Equal are the command, the gang, and all settings but those that `estimate.evidence` knows to cost nothing: seeds,
    and the learning rate and its like, if both are zero or neither is.
    """
    classes: dict[Hashable, list[Run]] = {}
    for run in runs:
        classes.setdefault(_cost_of(run, experiment), []).append(run)
    return tuple(map(tuple, classes.values()))


def _cost_of(run: Run, experiment: Experiment) -> Hashable:
    learning_rate = experiment.roles.learning_rate
    settings = tuple(
        (name, _told(value) if name in NEUTRAL or name == learning_rate else repr(value))
        for name, value in sorted(run.settings.items())
        if name != "seed" and not name.endswith("_seed")
    )
    return (run.command, run.ranks, run.copies, run.train, settings)


def _told(value: Scalar) -> str:
    """Of a neutral number only whether it is zero; a text may mean anything."""
    return repr(value) if isinstance(value, str) else repr(bool(value))
