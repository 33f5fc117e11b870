"""What to do about a run that does not fit: remedies in the order that hurts least, each estimated again.

It never guesses: a remedy whose effect on this run no closed form gives says so.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal, NamedTuple

from gpuplan.data import gpus
from gpuplan.estimate.case import case_of
from gpuplan.estimate.evidence import clues_of
from gpuplan.estimate.memory import memory
from gpuplan.estimate.setups import Outlook, Setup, outlook, setup_of
from gpuplan.footprint import Unknown
from gpuplan.footprint.dimensions import precision_of
from gpuplan.model import PRECISION_NAMES
from gpuplan.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gpuplan.model import Experiment, Gpu, MemoryEstimate, Run, World

__all__ = ["Ladder", "Remedy", "remedies"]

Keeps = Literal["same result", "rounding differs", "same result, more hardware", "another experiment"]
SEVERITY: tuple[Keeps, ...] = ("same result", "rounding differs", "same result, more hardware", "another experiment")
"""From what hurts least. A different order of summation counts as the same result."""
MOST_RANKS = 8
"""GPUs of one machine."""
MOST_PARTS = 4096
"""Micro-batches to a step; beyond it a step takes longer than anyone waits."""
PER_PAIR = 64
"""Setups of one pair that are looked at."""
ONE_MORE_FORWARD = "activations are computed again: one more forward pass (Chen et al. 2016, arXiv 1604.06174)"
SAME_SAMPLES = "the samples of a step stay the same, but statistics over a micro-batch, as of BatchNorm, do not"
LORA_TRAINS = "frozen weights have no gradients and no states; the time still counts their gradients, so it is the most"
TRACED = "the trace is of the program as it is; with this in the program, `gpuplan trace` says what it needs"


class Remedy(NamedTuple):
    """One change: what stays the same, what to write, the memory then, and the step's time as a multiple of today's.

    Without `memory` it could not be estimated for this run, and `because` says why.
    """

    name: str
    keeps: Keeps
    change: str
    memory: MemoryEstimate | None
    step_ratio: float | None
    because: str


class Ladder(NamedTuple):
    """The remedies of one run on one GPU, in the order that hurts least.

    `pair` is two of them together, where that fits and hurts less than any single one that does. `unknown` is why
    there are none at all, if so.
    """

    gpu: str
    memory: MemoryEstimate
    remedies: tuple[Remedy, ...]
    pair: Remedy | None = None
    unknown: str = ""

    @property
    def first(self) -> Remedy | None:
        """What hurts least of all that fit safely; else, for a run that does not fit, of those that may."""
        found = [*self.remedies, *([self.pair] if self.pair else [])]
        wanted = ["OK", "TIGHT"] if self.memory.fits == "NO FIT" else ["OK"]
        return next((one for fits in wanted if (one := _mildest(found, fits)) is not None), None)


def remedies(
    run: Run, experiment: Experiment, gpu: Gpu, *, world: World, cards: Sequence[Gpu] | None = None
) -> Ladder | None:
    """What makes `run` fit on `gpu`, where it does not or hardly does; None where it does, or nothing is known.

    `cards` are the larger ones to choose from, all that are known by default.
    """
    case = case_of(run, experiment, gpu=gpu, world=world)
    own = memory(case, clues_of(case)).estimate
    if own.fits not in {"NO FIT", "TIGHT"}:
        return None
    setup = setup_of(case, own)
    if setup is None:
        why = case.footprint.reason if isinstance(case.footprint, Unknown) else "nothing says what a step needs"
        return Ladder(gpu.name, own, (), unknown=f"no remedy can be estimated: {why}")
    known = sorted(gpus().values() if cards is None else cards, key=lambda card: (card.memory_bytes, card.name))
    ladder = _ladder(setup, known)
    now = outlook(setup)
    now_s = now.step_s if now else None
    found = [_best(setup, rung, now_s) for rung in ladder]
    singles = tuple(one for one in found if one is not None)
    single = _mildest(singles, "OK")
    harm = len(SEVERITY) if single is None else SEVERITY.index(single.keeps)
    milder = [rung for rung in ladder if SEVERITY.index(rung.keeps) < harm]
    return Ladder(gpu.name, own, singles, _pair(setup, milder, now_s))


def _mildest(found: Sequence[Remedy], fits: str) -> Remedy | None:
    """The first of those that hurt least, with this verdict."""
    fitting = [one for one in found if one.memory is not None and one.memory.fits == fits]
    return min(fitting, key=lambda one: SEVERITY.index(one.keeps), default=None)


class _Option(NamedTuple):
    setup: Setup
    change: str


class _Rung(NamedTuple):
    """One remedy: how it changes a setup, in several ways from the mildest, and where what is known of it comes from.

    What `options` returns instead is why it cannot be estimated, or None where there is nothing to change.
    """

    name: str
    keeps: Keeps
    options: Callable[[Setup], Sequence[_Option] | str | None]
    because: str


def _ladder(setup: Setup, cards: Sequence[Gpu]) -> tuple[_Rung, ...]:
    free = (
        _Rung("smaller micro-batch", "same result", _micro_batch, SAME_SAMPLES),
        _Rung("gradient checkpointing", "same result", _checkpointing, ONE_MORE_FORWARD),
    )
    if setup.gpu.kind == "cpu":
        return free
    more: Keeps = "same result, more hardware"
    return (
        free[0],
        _Rung("fused loss", "same result", _fused_loss, "logits come in chunks and are never all there"),
        free[1],
        _Rung("mixed precision", "rounding differs", _mixed_precision, "weights stay in 32 bits, products in 16"),
        _Rung("8-bit optimizer", "rounding differs", _small_states, "2 bytes of states a parameter"),
        _Rung("sharding", more, _sharding, "communication is not in the time"),
        _Rung("a larger card", more, lambda now: _larger(now, cards), "the smallest known card that it fits on"),
        _Rung("LoRA", "another experiment", _lora, LORA_TRAINS),
    )


def _best(setup: Setup, rung: _Rung, now_s: float | None) -> Remedy | None:
    """The mildest of the rung's options that fits, else the one that needs least."""
    options = rung.options(setup)
    if options is None:
        return None
    if isinstance(options, str):
        return Remedy(rung.name, rung.keeps, "", None, None, options)
    looked = [(option, found) for option in options if (found := outlook(option.setup)) is not None]
    if not looked:
        return Remedy(rung.name, rung.keeps, "", None, None, "the closed form does not have it for these dimensions")
    wanted = next((one for fits in ("OK", "TIGHT") for one in looked if one[1].memory.fits == fits), looked[-1])
    option, found = wanted
    return Remedy(rung.name, rung.keeps, option.change, found.memory, _ratio(found, now_s), rung.because)


def _ratio(found: Outlook, now_s: float | None) -> float | None:
    return found.step_s / now_s if now_s and found.step_s is not None else None


def _pair(setup: Setup, ladder: Sequence[_Rung], now_s: float | None) -> Remedy | None:
    """Of all that fit with two changes the one that hurts least, and of those the fastest."""
    fitting = [
        one
        for first, second in itertools.combinations(ladder, 2)
        if (one := _together(setup, first, second, now_s)) is not None
    ]
    return min(fitting, key=lambda one: (SEVERITY.index(one.keeps), one.step_ratio or 1.0), default=None)


def _together(setup: Setup, first: _Rung, second: _Rung, now_s: float | None) -> Remedy | None:
    keeps = max(first.keeps, second.keeps, key=SEVERITY.index)
    for option in itertools.islice(_both(setup, first, second), PER_PAIR):
        found = outlook(option.setup)
        if found is not None and found.memory.fits == "OK":
            name, because = f"{first.name} and {second.name}", f"{first.because}; {second.because}"
            return Remedy(name, keeps, option.change, found.memory, _ratio(found, now_s), because)
    return None


def _both(setup: Setup, first: _Rung, second: _Rung) -> Iterator[_Option]:
    options = first.options(setup)
    for one in () if isinstance(options, str) or options is None else options:
        more = second.options(one.setup)
        for two in () if isinstance(more, str) or more is None else more:
            yield _Option(two.setup, f"{one.change}; {two.change}")


def _micro_batch(now: Setup) -> Sequence[_Option] | None:
    parts = [part for part in range(2, min(now.rows, MOST_PARTS) + 1) if now.rows % part == 0]
    return [_in_parts(now, part) for part in parts] or None


def _in_parts(now: Setup, parts: int) -> _Option:
    roles = now.base.experiment.roles
    rows, passes = now.rows // parts, now.passes * parts
    smaller = f"`{roles.micro_batch}: {rows}`" if isinstance(roles.micro_batch, str) else f"micro-batches of {rows:,}"
    named = isinstance(roles.accumulation, str)
    more = f"`{roles.accumulation}: {passes}`" if named else f"gradients accumulated over {passes:,} in the program"
    return _Option(now._replace(rows=rows, passes=passes), f"{smaller} and {more}")


def _fused_loss(now: Setup) -> Sequence[_Option] | str | None:
    model = now.architecture
    if model is None:
        return TRACED
    chunked = model.library == "torchtune" or {"linear_loss", "chunked_loss"} & set(model.fused)
    if model.classes or now.linear_loss or chunked:
        return None
    change = "a fused linear cross-entropy (Liger or cut cross-entropy) in place of head and loss"
    if model.library is None:
        return [_Option(now._replace(linear_loss=True), change)]
    fused = model.model_copy(update={"fused": (*model.fused, "linear_loss")})
    return [_Option(now._replace(architecture=fused), change)]


def _checkpointing(now: Setup) -> Sequence[_Option] | str | None:
    model = now.architecture
    if model is None:
        return TRACED
    if model.checkpointing:
        return None
    changed = now._replace(architecture=model.model_copy(update={"checkpointing": True}))
    return [_Option(changed, "`model.gradient_checkpointing_enable()`, or `torch.utils.checkpoint` around each layer")]


def _mixed_precision(now: Setup) -> Sequence[_Option] | str | None:
    model = now.architecture
    if model is None:
        return None if now.base.known and now.base.known.precision in {"fp16", "bf16"} else TRACED
    if precision_of(now.precision) in {"fp16", "bf16"} or model.storage not in {None, "fp32"}:
        return None
    name = next((name for name in ("bf16", "fp16") if now.gpu.peak_flops.get(name)), None)
    if name is None:
        return f"no rate of {now.gpu.name} in 16 bits is known"
    role = now.base.experiment.roles.precision
    if role is None or role in PRECISION_NAMES:
        change = f"`torch.autocast('cuda', {TORCH_NAMES[name]})`, and `roles.precision`"
    else:
        change = f"`{role}: {name}`"
    return [_Option(now._replace(precision=name), change)]


TORCH_NAMES = {"bf16": "torch.bfloat16", "fp16": "torch.float16"}


def _small_states(now: Setup) -> Sequence[_Option] | str | None:
    model = now.architecture
    if model is None:
        return TRACED
    if model.optimizer == "sgd" or model.method != "full" or now.small_states:
        return None
    return [_Option(now._replace(small_states=True), "`bitsandbytes.optim.AdamW8bit` in place of AdamW")]


def _sharding(now: Setup) -> Sequence[_Option] | str | None:
    """Over the ranks that there are, else over two, four and eight; the samples of a step stay the same if they can."""
    model = now.architecture
    if model is None:
        return TRACED
    if model.library is None:
        return NO_LIBRARY
    least = 2 * now.ranks if now.ranks == 1 or model.sharding != "none" else now.ranks
    sizes = [least * 2**power for power in range(4) if least * 2**power <= MOST_RANKS]
    sharded = model.model_copy(update={"sharding": "fsdp"})
    return [_over(now._replace(architecture=sharded), size) for size in sizes] or None


NO_LIBRARY = "what plain modules would need then has no closed form; `library:` in `footprint.model` gives one"


def _over(now: Setup, ranks: int) -> _Option:
    more = ranks // now.ranks
    change = f"`ranks: {ranks}` and FSDP (`sharding: fsdp`)"
    if now.passes % more == 0:
        return _Option(now._replace(ranks=ranks, passes=now.passes // more), change)
    if now.rows % more == 0:
        return _Option(
            now._replace(ranks=ranks, rows=now.rows // more), f"{change}, micro-batches of {now.rows // more:,}"
        )
    return _Option(now._replace(ranks=ranks), f"{change}; a step has {more} times the samples then")


def _larger(now: Setup, cards: Sequence[Gpu]) -> Sequence[_Option] | None:
    larger = [card for card in cards if card.kind == "gpu" and card.memory_bytes > now.gpu.memory_bytes]
    return [
        _Option(now._replace(gpu=card), f"{card.name}, {format_bytes(card.memory_bytes)}") for card in larger
    ] or None


def _lora(now: Setup) -> Sequence[_Option] | str | None:
    model = now.architecture
    if model is None:
        return TRACED
    if model.library is None:
        return NO_LIBRARY
    if model.method != "full" or now.small_states:
        return None
    changed = now._replace(architecture=model.model_copy(update={"method": "lora"}))
    targets = " and ".join(model.adapter_targets or ("q", "v"))
    return [_Option(changed, f"adapters of rank {model.adapter_rank} on {targets} (`method: lora`)")]
