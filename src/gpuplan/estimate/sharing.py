"""How much slower runs are that share one GPU, from how busy each keeps it alone. It never measures one.

The rule and its constants: reference placement.md, section 2, and sharing.toml. It was fitted on pairs; more runs
than two are extrapolated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data.sharing import Mode, sharing_mode
from gpuplan.estimate.answers import Assumption, Width, around
from gpuplan.units import format_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuplan.model import Gpu, Quantity

__all__ = ["Host", "Mode", "Shared", "Sharing", "mode_on", "sharing", "slice_speed", "utilizations"]

MIG_PARTS = 7
MIG_EXPONENT = 0.54
"""Speed of a slice of g / 7 of an A100, of the whole card: (g/7)^0.54 at the median of 70 runs (MISO: 0.34 for one
seventh, 0.48 for two, 0.65 for three; placement.md)."""
OLDEST_THAT_OVERLAPS = 6.0
"""Compute capability; before Pascal two runs together took as long as one after the other (Gavel, K80)."""
LEAST_UTILIZATION, MOST_UTILIZATION = 0.05, 1.5
ROUNDS = 20

UNKNOWN = Assumption(
    text="how busy one run keeps the GPU is not known: {usual:.0%} is assumed, as usual",
    change="`gpuplan probe` on a GPU shows it, a measured run of all copies replaces it",
)


class Host(NamedTuple):
    """CPU cores of the machine, and how many one run keeps busy with its loaders and itself."""

    cores: int
    cores_of_a_run: float


class Sharing(NamedTuple):
    """How many times as long each run takes as alone, and what was assumed for it."""

    times: Quantity
    assumptions: tuple[Assumption, ...] = ()


class Shared(NamedTuple):
    """Runs of these programs were measured together: the mean of their speeds, each as a share of its speed alone."""

    programs: tuple[str, ...]
    speed: float


def sharing(
    busy: Sequence[float | None], mode: Mode = "time_slicing", *, host: Host | None = None, part: int | None = None
) -> Sharing:
    """How much longer runs take that share a GPU, `busy` being the utilization of each alone, 0 to 1, or None.

    `part`: sevenths of the GPU that each has under MIG, where what the others do is no matter.
    """
    if not busy:
        raise ValueError("nothing shares the GPU")
    constants = sharing_mode(mode)
    known = [constants.usual if each is None else each for each in busy]
    blind = any(each is None for each in busy)
    speed = min(1.0, 1 / (constants.contention * sum(known)))
    if mode == "old":
        speed = 1 / len(busy)
    if mode == "mig":
        speed = slice_speed(part or MIG_PARTS // len(busy) or 1, None if blind else max(known))
    elif len(busy) == 1:
        speed = 1.0
    held = _by_host(len(busy), host)
    times = 1 / (speed * held)
    low, high = (constants.blind_low, constants.blind_high) if blind else (constants.low, constants.high)
    is_alone = len(busy) == 1 and times == 1
    width = Width(1.0, 1.0) if is_alone else Width(1 / high, 1 / low)
    quantity = around(times, width, source="assumed" if blind else "scaled", because=_because(busy, mode, times, held))
    return Sharing(_at_least_alone(quantity), (_unknown(constants.usual),) if blind and mode != "old" else ())


def slice_speed(sevenths: int, busy: float | None = None) -> float:
    """Speed of a run on `sevenths` of a GPU, of that on all of it: the median run's, or that of one that is `busy`."""
    share = min(max(sevenths, 1), MIG_PARTS) / MIG_PARTS
    if busy is None:
        return float(share**MIG_EXPONENT)
    return min(1.0, share / max(busy * sharing_mode("mig").contention, share))


def mode_on(gpu: Gpu, said: str = "") -> Mode:
    """How runs share `gpu`: as `said` ("MPS", "MIG 1g.5gb", "plain processes"), else by taking turns."""
    text = said.lower()
    if "mig" in text:
        return "mig"
    if "mps" in text and "no mps" not in text:
        return "mps"
    try:
        return "old" if float(gpu.compute_capability or OLDEST_THAT_OVERLAPS) < OLDEST_THAT_OVERLAPS else "time_slicing"
    except ValueError:
        return "time_slicing"


def utilizations(measured: Iterable[Shared], *, mode: Mode = "time_slicing") -> dict[str, float]:
    """How busy each program keeps the GPU, as runs that shared it tell: the rule solved for it, others' known."""
    runs = [each for each in measured if each.speed > 0 and len(each.programs) > 1]
    constants = sharing_mode(mode)
    found = {program: constants.usual for each in runs for program in each.programs}
    by_program = {program: [each for each in runs if program in each.programs] for program in found}
    for _ in range(ROUNDS):
        for program, of_program in by_program.items():
            told = sorted(_left(program, each, found, constants.contention) for each in of_program)
            middle = told[len(told) // 2] if len(told) % 2 else (told[len(told) // 2 - 1] + told[len(told) // 2]) / 2
            found[program] = min(max(middle, LEAST_UTILIZATION), MOST_UTILIZATION)
    return found


def _left(program: str, run: Shared, found: dict[str, float], contention: float) -> float:
    """The utilization of `program` that is left when those of the others are taken off."""
    others = sum(found[other] for other in run.programs if other != program)
    return (1 / (contention * run.speed) - others) / run.programs.count(program)


def _by_host(runs: int, host: Host | None) -> float:
    """What the CPU leaves of the speed: loaders of all runs share its cores."""
    return min(1.0, host.cores / (runs * host.cores_of_a_run)) if host and host.cores_of_a_run else 1.0


def _at_least_alone(quantity: Quantity) -> Quantity:
    """Nothing gets faster by sharing."""
    least = {name: max(1.0, getattr(quantity, name)) for name in ("p10", "p50", "p90")}
    return quantity.model_copy(update=least)


def _because(busy: Sequence[float | None], mode: Mode, times: float, held: float) -> str:
    utilization = ", ".join(sorted({"unknown" if each is None else f"{each:.0%}" for each in busy}))
    text = f"{len(busy)} {sharing_mode(mode).words}, busy {utilization} alone: x{format_number(times)} for each"
    return text if held == 1 else f"{text}, held up by the CPU cores"


def _unknown(usual: float) -> Assumption:
    return UNKNOWN.model_copy(update={"text": UNKNOWN.text.format(usual=usual)})
