"""Rows of time_scaling.csv predicted by the product's own formulas. It never looks at the row's own value.

A model is held out whole: its rows have no part in the constants, in what is known of a host or in the intervals.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from scaling_fit import SHIPPED, Residual, fit_class, fit_links, fit_spreads, plain_links

from gpuplan.data.links import links
from gpuplan.estimate.communication import (
    Measured,
    Topology,
    calibrated,
    corrected,
    data_parallel,
    link_of,
    network_of,
    probability_above,
    slow_down,
    width_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scaling_fit import Spreads
    from scaling_rows import Question

    from gpuplan.data.links import Link
    from gpuplan.estimate.communication import Strategy

__all__ = ["WORTH", "Answer", "clean", "held_out", "residuals", "shipped", "with_two"]

WORTH = 0.75
"""Efficiency from which more GPUs are worth it: the bar of the reference (time.md)."""
DOUBT = 0.4
"""More GPUs are called not worth it from this chance that they are not: slow-downs are missed more often than
invented, as the tail of slow hosts is long."""
MOST_OF_A_NODE = 16
TRAIN_EXPONENT = 0.15
"""Time to train falls by n^-0.85: linear was 26 % short at the median (time.md, MLPerf 4.0), as more samples and
a smaller share of each GPU are needed."""
OTHER_BATCH = 1.15
WIDE = {"data_parallel": 1.35, "sharded": 1.15, "model_parallel": 1.5, "time_to_train": 1.45}
"""Factors of the interval, each way, where nothing of the kind is fitted: by the spread that time.md tells."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One question answered: how many times as long a step takes, with its 80 % interval."""

    question: Question
    slow: float
    low: float
    high: float
    doubt: float
    how: str

    @property
    def error_pct(self) -> float:
        """Of the step time, signed, in percent of the measured one."""
        return 100 * (self.slow / self.question.slow - 1)

    @property
    def covered(self) -> bool:
        """Whether the measured slow-down lies within the interval."""
        return self.low <= self.question.slow <= self.high

    @property
    def is_low(self) -> bool:
        """Whether the measured efficiency is below what is worth it."""
        return 1 / self.question.slow < WORTH

    @property
    def said_low(self) -> bool:
        """Whether more GPUs are said not to be worth it."""
        return self.doubt > DOUBT


class _World(NamedTuple):
    """What a prediction may look at: constants of the links, how wide, and runs of other models by host and link."""

    links: dict[str, Link]
    around: Spreads
    hosts: dict[tuple[str, str], list[Measured]]
    found: dict[tuple[str, str, int], Link]
    """Links as calibrated on a host's other models for a count of GPUs, kept as many rows share them."""


def held_out(questions: Sequence[Question], *, hosts: bool = True) -> list[Answer]:
    """Each model predicted from the others, in the order of `questions`."""
    families = sorted({question.row.family for question in questions})
    all_links = fit_links(clean(questions))
    worlds = {family: _world_without(family, questions, all_links, hosts=hosts) for family in families}
    first = [_answer(question, worlds[question.row.family]) for question in questions]
    around = {family: fit_spreads(residuals(first, without=family)) for family in families}
    return [
        _answer(question, worlds[question.row.family]._replace(around=around[question.row.family]))
        for question in questions
    ]


def shipped(questions: Sequence[Question]) -> list[Answer]:
    """By the constants of links.toml as they are, nothing else."""
    return [_answer(question, _World(links(), SHIPPED, {}, {})) for question in questions]


def with_two(questions: Sequence[Question], answers: Sequence[Answer]) -> list[Answer]:
    """Those on more than two GPUs whose own run on two of the same host and rows is known too."""
    twos = {
        (question.row.key, question.row.batch, question.row.host): question
        for question in questions
        if question.row.gpus == 2 and question.base.gpus == 1
    }
    found = []
    for answer in answers:
        row, base = answer.question.row, answer.question.base
        two = twos.get((row.key, row.batch, row.host))
        if two and row.gpus > 2 and base.gpus == 1 and answer.question.same_batch:
            at_two = next(each for each in answers if each.question is two)
            found.append(_from_two(answer, at_two))
    return found


def _from_two(answer: Answer, at_two: Answer) -> Answer:
    slow = corrected(answer.slow, predicted=at_two.slow, measured=at_two.question.slow)
    ratio = slow / answer.slow
    return replace(answer, slow=slow, low=answer.low * ratio, high=answer.high * ratio, how="two-GPU log")


# ---------------------------------------------------------------- one model left out


def _world_without(family: str, questions: Sequence[Question], all_links: dict[str, Link], *, hosts: bool) -> _World:
    others = [question for question in clean(questions) if question.row.family != family]
    plain, kept = plain_links(), dict(all_links)
    for name in {_class(question) for question in clean(questions) if question.row.family == family}:
        kept[name] = fit_class(plain[name], [question for question in others if _class(question) == name])
    return _World(kept, SHIPPED, _by_host(others) if hosts else {}, {})


def clean(questions: Iterable[Question]) -> list[Question]:
    """DDP from one GPU at the same rows: like with like."""
    return [
        question
        for question in questions
        if question.row.kind == "ddp" and question.base.gpus == 1 and question.same_batch and question.row.gpu
    ]


def _class(question: Question) -> str:
    return link_of(question.row.gpu, question.row.link).name if question.row.gpu else ""


def _by_host(questions: Iterable[Question]) -> dict[tuple[str, str], list[Measured]]:
    found: dict[tuple[str, str], list[Measured]] = defaultdict(list)
    for question in questions:
        if question.row.host:
            found[question.row.host, _class(question)].append(
                Measured(question.row.gpus, question.alone_s or 1.0, (question.alone_s or 1.0) * question.slow,
                         question.row.size_bytes if question.alone_s else None)
            )  # fmt: skip
    return found


def residuals(answers: Iterable[Answer], *, without: str = "") -> list[Residual]:
    """How far the answers on like with like are off, those of one model left out."""
    return [
        Residual(answer.slow, math.log(answer.question.slow / answer.slow), blind=is_blind(answer.question))
        for answer in answers
        if answer.question.row.family != without and answer.question.row.kind == "ddp" and answer.question.same_batch
        and answer.question.base.gpus == 1
    ]  # fmt: skip


# ---------------------------------------------------------------- one question


def _answer(question: Question, world: _World) -> Answer:
    row, base = question.row, question.base
    if row.kind == "data_parallel":
        slow, how = data_parallel(row.gpus) / data_parallel(base.gpus), "nn.DataParallel"
    elif row.kind == "time_to_train":
        slow, how = (row.gpus / base.gpus) ** TRAIN_EXPONENT, "time to train"
    else:
        slow, how = _slow(question, world), "class of link" if is_blind(question) else "ring"
    around = world.around.blind if is_blind(question) else world.around.known
    width = width_of(slow, around=around)
    wide = WIDE.get(row.kind, 1.0) * (1.0 if question.same_batch else OTHER_BATCH)
    doubt = probability_above(slow, 1 / WORTH, around=around)
    return Answer(question, slow, slow * width.low / wide, slow * width.high * wide, doubt, how)


def is_blind(question: Question) -> bool:
    """Whether the bytes or the seconds of a step are not known."""
    return not (question.alone_s and question.row.size_bytes)


def _slow(question: Question, world: _World) -> float:
    row, base = question.row, question.base
    size = row.size_bytes if question.alone_s else None
    over = _over(question, world)
    strategy: Strategy = "fsdp" if row.kind == "sharded" else "ddp"
    at_base = slow_down(question.alone_s, over._replace(ranks=base.gpus), size_bytes=size, strategy=strategy)
    alone = question.alone_s / at_base if question.alone_s else None
    return slow_down(alone, over, size_bytes=size, strategy=strategy) / at_base


def _over(question: Question, world: _World) -> Topology:
    row = question.row
    if row.gpu is None:
        raise ValueError(row.id)
    name = link_of(row.gpu, row.link).name
    place = (row.host, name, row.gpus)
    if place not in world.found:
        world.found[place] = calibrated(world.links[name], world.hosts.get((row.host, name), []), ranks=row.gpus)
    within = world.found[place]
    several = "node" in row.link.lower() or row.gpus > MOST_OF_A_NODE
    return Topology(row.gpus, within, world.links[network_of(row.link).name] if several else None)
