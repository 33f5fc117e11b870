"""Which measured facts of the world speak about a run, and how closely. It never changes a number.

A fact speaks about a run of the same program: an equal command, or without a command an equal experiment name.
It is of the *same* cost class if gpu, ranks and threads are equal (threads count on a CPU only: by the setting of
their role if there is one, else as recorded, and not recorded counts as equal) and all settings are, but for those
that cannot change what a step costs:

* seeds: `seed`, `..._seed`;
* the setting of the role learning_rate, and numbers with the names in NEUTRAL, if both are zero or neither is
  (a weight decay of zero saves kernels, one of 0.1 and one of 0.01 cost the same);
* the settings of the roles steps, epochs, train_rows, eval_rows and warmup_steps: they say how many steps there are.

Any other difference makes it *near*: a setting called `shuffle_labels` may change nothing, but nobody can know.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from gpuplan.estimate.case import Case, case_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuplan.model import Evidence, Gpu, Measurement, Roles, Scalar

__all__ = ["NEUTRAL", "Clue", "Clues", "clues_of", "equally_long", "mean_step_s"]

NEUTRAL = frozenset({
    "lr", "learning_rate", "min_lr", "max_lr", "min_learning_rate", "max_learning_rate", "weight_decay", "wd",
    "momentum", "beta1", "beta2", "adam_beta1", "adam_beta2", "eps", "epsilon", "adam_epsilon", "label_smoothing",
    "temperature", "max_grad_norm", "grad_clip", "gradient_clip", "warmup_ratio", "dropout", "gamma",
})  # fmt: skip


MOST = 16
"""How many near facts are looked at, so that a long history does not slow a plan down."""


class Clue(NamedTuple):
    """A measured fact, the case it was measured in, and how it stands to the run in question."""

    evidence: Evidence
    case: Case
    relation: Literal["same", "near", "elsewhere"]
    differs: tuple[str, ...]


class Clues(NamedTuple):
    """All that is measured of a run's program: on this GPU in the same or a near cost class, and on others."""

    same: tuple[Clue, ...]
    near: tuple[Clue, ...]
    elsewhere: tuple[Clue, ...]


class _Fact(NamedTuple):
    evidence: Evidence
    gpu: Gpu
    here: bool
    differs: tuple[str, ...]


def clues_of(case: Case) -> Clues:
    """The facts that speak about `case`: the same class undoubted and newest first, the others nearest first."""
    facts = _by_trust(_facts(case))
    same = tuple(Clue(fact.evidence, case, "same", ()) for fact in facts if fact.here and not fact.differs)
    near = [fact for fact in facts if fact.here and fact.differs]
    elsewhere = [fact for fact in facts if not fact.here]
    return Clues(same, _nearest(case, near, "near"), _nearest(case, elsewhere, "elsewhere"))


def equally_long(clue: Clue, case: Case) -> bool:
    """Whether what was measured is a whole run, with as many steps and rows as `case` has, as far as it says."""
    names = _length_names(case.experiment.roles)
    settings, measured = case.run.settings, clue.evidence.settings
    steps = clue.evidence.measurement.steps
    return (
        clue.evidence.kind != "probe"
        and all(settings.get(name) == measured.get(name) for name in names)
        and (not steps or case.steps in (None, steps))
    )


def mean_step_s(measurement: Measurement) -> float | None:
    """The mean seconds of a step: of whole epochs, else from the percentiles of single steps, else the median."""
    steps = _steps_of_an_epoch(measurement)
    if measurement.epoch_s and steps:
        return measurement.epoch_s / steps
    low, middle, high = measurement.step_p10_s, measurement.step_s, measurement.step_p90_s
    if low and middle and high:
        return 0.3 * low + 0.4 * middle + 0.3 * high  # Swanson's rule: slow steps pull the mean above the median
    return middle


def _steps_of_an_epoch(measurement: Measurement) -> float | None:
    """From the rows of a rank: the steps of the record may end within an epoch, as those of a probe do."""
    by_rank, batch = measurement.samples_per_epoch_by_rank, measurement.batch_size
    return by_rank[0] * measurement.world_size / batch if by_rank and batch else None


def _facts(case: Case) -> Iterator[_Fact]:
    for evidence in case.world.evidence:
        here = evidence.gpu == case.gpu.name
        gpu = case.gpu if here else case.world.gpus.get(evidence.gpu)
        if gpu is None or not _same_program(case, evidence):
            continue
        if gpu.kind == case.gpu.kind:
            yield _Fact(evidence, gpu, here, tuple(_differences(case, evidence)))


def _by_trust(facts: Iterator[_Fact]) -> list[_Fact]:
    ordered = sorted(facts, key=lambda fact: fact.evidence.id)
    ordered.sort(key=lambda fact: fact.evidence.taken, reverse=True)
    return sorted(ordered, key=lambda fact: len(fact.evidence.measurement.flags))


def _nearest(case: Case, facts: list[_Fact], relation: Literal["near", "elsewhere"]) -> tuple[Clue, ...]:
    nearest = sorted(facts, key=lambda fact: _distance(case, fact))[:MOST]
    return tuple(Clue(fact.evidence, _as_measured(case, fact), relation, fact.differs) for fact in nearest)


def _distance(case: Case, fact: _Fact) -> float:
    """Doublings between what differs; one for what is not a number."""
    now = {**case.run.settings, "ranks": case.run.ranks, "threads": case.threads}
    then = {**fact.evidence.settings, "ranks": fact.evidence.ranks, "threads": fact.evidence.threads or 1}
    return sum(_doublings(now.get(name), then.get(name)) for name in fact.differs)


def _doublings(now: Scalar | None, then: Scalar | None) -> float:
    if isinstance(now, int | float) and isinstance(then, int | float) and now > 0 and then > 0:
        return abs(math.log2(now) - math.log2(then))
    return 1.0


def _as_measured(case: Case, fact: _Fact) -> Case:
    """The case that was measured. A traced footprint is a line in the batch: it holds for no other difference."""
    evidence, roles = fact.evidence, case.experiment.roles
    batch = (roles.batch, roles.micro_batch, roles.accumulation, roles.threads, "ranks", "threads")
    key = case.run.key if all(name in batch for name in fact.differs) else ""
    run = case.run.model_copy(update={"settings": evidence.settings, "ranks": evidence.ranks, "key": key})
    return case_of(run, case.experiment, gpu=fact.gpu, world=case.world, threads=evidence.threads)


def _same_program(case: Case, evidence: Evidence) -> bool:
    if evidence.command:
        return evidence.command == case.run.command
    return evidence.experiment == case.experiment.name


def _differences(case: Case, evidence: Evidence) -> Iterator[str]:
    yield from _settings_that_differ(case, evidence)
    if evidence.ranks != case.run.ranks:
        yield "ranks"
    by_setting = isinstance(case.experiment.roles.threads, str)  # then the settings have said it
    if case.gpu.kind == "cpu" and not by_setting and evidence.threads not in (None, case.threads):
        yield "threads"


def _settings_that_differ(case: Case, evidence: Evidence) -> Iterator[str]:
    roles, settings = case.experiment.roles, case.run.settings
    irrelevant = {roles.threads} if case.gpu.kind == "gpu" else set()
    for name in sorted({*settings, *evidence.settings} - irrelevant):
        now, then = settings.get(name), evidence.settings.get(name)
        if now != then and not _is_neutral(name, roles, now=now, then=then):
            yield name


def _is_neutral(name: str, roles: Roles, *, now: Scalar | None, then: Scalar | None) -> bool:
    if name == "seed" or name.endswith("_seed") or name in (*_length_names(roles), roles.learning_rate):
        return True
    numbers = isinstance(now, int | float) and isinstance(then, int | float)
    return name in NEUTRAL and numbers and bool(now) == bool(then)


def _length_names(roles: Roles) -> tuple[str, ...]:
    given = (roles.steps, roles.epochs, roles.train_rows, roles.eval_rows, roles.warmup_steps)
    return tuple(name for name in given if isinstance(name, str))
