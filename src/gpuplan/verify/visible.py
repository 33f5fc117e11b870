"""Checks of GPU numbers: those that a spec, a command or the code picks by hand against those that a run is given.

A run sees as many GPUs as it has ranks, numbered from 0: gpuplan picks them, and says so in CUDA_VISIBLE_DEVICES.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.verify.case import groups, listed
from gpuplan.verify.commands import command_at
from gpuplan.verify.options import bare, options
from gpuplan.verify.wanted import at_launch, filled, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuplan.model import Finding, Run, SourceFact
    from gpuplan.verify.case import Case

__all__ = ["gpu_numbers_exist", "gpus_picked_by_code", "gpus_picked_by_hand", "local_gpus"]

VARIABLE = "CUDA_VISIBLE_DEVICES"
SET_IN_COMMAND = re.compile(rf"\b{VARIABLE}=([^\s;&|'\"]*)")
SET_IN_CODE = re.compile(rf"""^[^#\n]*\bos\.environ\[["']{VARIABLE}["']\]\s*=\s*([^\n]+)""", re.MULTILINE)
NUMBERS = re.compile(r"\[?\s*\d{1,3}(?:\s*,\s*\d{1,3})*\s*\]?")
CUDA = re.compile(r"cuda:(\d{1,3})")
OF_GPUS = re.compile(r"(?:visible_)?(?:cuda_|gpu_)?(?:gpu|device)_?ids?|(?:cuda_)?visible_devices|(?:gpu|device)_index")
"""`gpu_ids`, `device_id`, `cuda_visible_devices`; not `gpus`, which may be how many."""

NO_GPU = frozenset({"", "-1", "none", "null"})


class Picked(NamedTuple):
    """GPU numbers that stand somewhere: which, where, in which words, and whether they are CUDA's own names."""

    numbers: tuple[int, ...]
    at: str
    words: str
    is_cuda: bool = False


class _Trouble(NamedTuple):
    picked: Picked
    is_missing: bool
    ranks: int


def gpus_picked_by_hand(case: Case) -> Iterator[Finding]:
    """CUDA_VISIBLE_DEVICES in the spec or a command: GPUs that are not there, too few for the ranks, one for all."""
    here = _numbers_here(case)
    for picked, runs in groups(case, lambda run, _: _mask_of(case, run)).items():
        missing = [number for number in picked.numbers if here and number not in here]
        short = [run for run in runs if run.ranks > len(picked.numbers)]
        if missing:
            is_masked = case.world.mask is not None
            yield case.finding(
                "warning" if is_masked else "error",
                "gpu-number",
                message=f"{picked.words}: GPU {listed(map(str, missing))} is not {'given' if is_masked else 'there'}",
                because=f"{_has(case)}; CUDA shows only those before the first that is not there",
                fix=f"leave {VARIABLE} to gpuplan: it gives each run a GPU of its own",
                at=picked.at,
                runs=runs,
            )
        elif short:
            yield case.finding(
                "error",
                "gpu-number",
                message=f"{picked.words} shows {len(picked.numbers)} to {short[0].ranks} ranks",
                because="one rank has one GPU; the others would find none",
                fix=f"leave {VARIABLE} to gpuplan: it gives each run as many GPUs as it has ranks",
                at=picked.at,
                runs=short,
            )
        elif len(here) > len(picked.numbers) and len(runs) > 1:
            yield _one_for_all(case, picked, runs)


def gpu_numbers_exist(case: Case) -> Iterator[Finding]:
    """`--device cuda:3` or `gpu_ids: 0,3` where a run is given fewer GPUs, or the machine has fewer."""
    for trouble, runs in groups(case, lambda run, _: _trouble(case, run)).items():
        picked, is_missing, ranks = trouble
        given = f"a run is given {ranks} GPU{'s' * (ranks > 1)}"
        fix = "`cuda:0`" if is_missing else f"`cuda:0`; or `ranks: {max(picked.numbers) + 1}` if one run needs so many"
        yield case.finding(
            "error" if local_gpus(case) and (is_missing or picked.is_cuda) else "warning",
            "gpu-number",
            message=f"{picked.words}: {_has(case) if is_missing else given}, numbered from 0",
            because=f"{given} by {VARIABLE}, and sees no other"
            if is_missing
            else f"gpuplan picks {'it' if ranks == 1 else 'them'} by {VARIABLE}; whichever it is, the run sees cuda:0",
            fix=fix,
            at=picked.at,
            runs=runs,
        )


def gpus_picked_by_code(case: Case) -> Iterator[Finding]:
    """Code that sets CUDA_VISIBLE_DEVICES itself: runs leave the GPUs that they are given."""
    here = _numbers_here(case)
    is_shared = len(here) > 1 and len(case.todo) > 1
    if not _is_local(case) or not (is_shared or (here and case.world.mask)):
        return
    for source in case.sources("script"):
        match = _set_in_code(source)
        if match is not None:
            line = source.text.count("\n", 0, match.start(1)) + 1
            others = f"{len(case.todo)} runs share {len(here)} GPUs here" if is_shared else f"{VARIABLE} is set here"
            yield case.finding(
                "warning",
                "gpu-picked",
                message=f"{source.path} sets {VARIABLE} itself: a run may leave the GPU that it is given",
                because=f"`{VARIABLE} = {match[1].strip()[:60]}`; {others}, and numbers of the whole machine ignore it",
                fix="pick among the GPUs that the variable shows when the program starts, or run one at a time",
                at=f"{source.path}:{line}",
            )


def local_gpus(case: Case) -> int:
    """The GPUs of this machine that gpuplan sees, if runs may be started here."""
    return sum(device.kind == "gpu" for device in case.world.machine.devices) if _is_local(case) else 0


# ---------------------------------------------------------------- what is picked


def _mask_of(case: Case, run: Run) -> Picked | None:
    """What the command sets, which wins, else the spec."""
    found = SET_IN_COMMAND.search(filled(run.command, at_launch(run)) or "")
    if found:
        return _picked(found[1], command_at(case.experiment, run), f"{VARIABLE}={found[1]}")
    value = case.experiment.environment.variables.get(VARIABLE)
    at = f"environment.variables.{VARIABLE}"
    return _picked(value, at, f"{VARIABLE}={value}") if value is not None else None


def _trouble(case: Case, run: Run) -> _Trouble | None:
    """The first number that is beyond what the run sees."""
    mask = _mask_of(case, run)
    seen = len(mask.numbers) if mask else run.ranks
    for picked in (*_in_command(case, run), *_in_configs(case, run)):
        if picked.numbers and max(picked.numbers) >= seen:
            gpus = local_gpus(case)
            is_missing = 0 < gpus <= max(picked.numbers)
            return _Trouble(picked, is_missing, run.ranks)
    return None


def _in_command(case: Case, run: Run) -> Iterator[Picked]:
    values, at = at_launch(run), command_at(case.experiment, run)
    for option in options(words_of(run.command)):
        value = filled(option.value, values) or ""
        if option.name != VARIABLE:
            yield from _of_value(option.name, value, at, f"{option.name} {value}")


def _in_configs(case: Case, run: Run) -> Iterator[Picked]:
    """Of the configurations that the command of the run names."""
    for source in case.configs_of(run):
        yield from _in_content(source, source.content, "")


def _in_content(source: SourceFact, content: dict[str, object], above: str) -> Iterator[Picked]:
    for name, value in content.items():
        at = f"{above}{name}"
        if isinstance(value, dict):
            yield from _in_content(source, value, f"{at}.")
        elif isinstance(value, str | int | list) and not isinstance(value, bool):
            yield from _of_value(name, str(value), source.places.get(at, source.path), f"{at}: {value}")


def _of_value(name: str, value: str, at: str, words: str) -> Iterator[Picked]:
    cuda = CUDA.fullmatch(value)
    if cuda:
        yield Picked((int(cuda[1]),), at, words, is_cuda=True)
    elif OF_GPUS.fullmatch(bare(name)):
        found = _picked(value, at, words)
        yield from (found,) if found else ()


def _picked(value: str, at: str, words: str) -> Picked | None:
    """None of what are no numbers, as UUIDs, and of what switches GPUs off."""
    value = value.strip().strip("\"'")
    if value.lower() in NO_GPU or not NUMBERS.fullmatch(value):
        return None
    return Picked(tuple(int(number) for number in re.findall(r"\d+", value)), at, words)


def _set_in_code(source: SourceFact) -> re.Match[str] | None:
    if VARIABLE not in source.text:
        return None
    found = SET_IN_CODE.finditer(source.text)
    return next((match for match in found if match[1].strip().strip("\"'").lower() not in NO_GPU), None)


# ---------------------------------------------------------------- what there is


def _is_local(case: Case) -> bool:
    return "local" in case.experiment.compute.on


def _numbers_here(case: Case) -> frozenset[int]:
    """The numbers of this machine's GPUs; none where they cannot be known: slices, or a mask of UUIDs."""
    count, mask = local_gpus(case), case.world.mask
    if not count or any("MIG" in device.gpu for device in case.world.machine.devices):
        return frozenset()
    if mask is None:
        return frozenset(range(count))
    shown = _picked(mask, "", "")
    return frozenset(shown.numbers) if shown else frozenset()


def _has(case: Case) -> str:
    numbers = sorted(_numbers_here(case)) or list(range(local_gpus(case)))
    shown = listed(map(str, numbers), shown=16)
    count = f"{len(numbers)} GPU{'s' * (len(numbers) != 1)} ({shown})"
    masked = case.world.mask is not None
    return f"{VARIABLE}={case.world.mask} gives gpuplan {count}" if masked else f"this machine has {count}"


def _one_for_all(case: Case, picked: Picked, runs: Sequence[Run]) -> Finding:
    return case.finding(
        "warning",
        "gpu-picked",
        message=f"{picked.words} holds all of them to GPU {listed(map(str, picked.numbers))}",
        because=f"{_has(case)}, and the plan spreads runs over them; these share what they name",
        fix=f"leave {VARIABLE} to gpuplan: it gives each run a GPU of its own",
        at=picked.at,
        runs=runs,
    )
