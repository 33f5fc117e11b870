"""What a document may claim, and what one claim is: a quantity with its bounds, where it stands, what it is about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["VOCABULARY", "About", "Claim", "Term", "gap", "same_device", "same_model"]


class Term(NamedTuple):
    """One quantity of the vocabulary."""

    name: str
    unit: str
    meaning: str
    example: str


VOCABULARY: dict[str, Term] = {
    term.name: term
    for term in (
        Term("step", "s", "seconds of one optimizer step", "3.04 s"),
        Term("step rate", "1/s", "steps a second", "4.34 it/s"),
        Term("steps", "", "optimizer steps of one run", "20000"),
        Term("batch", "", "rows of one step on one rank", "16"),
        Term("samples", "", "rows seen in one run, repeats counted", "320000"),
        Term("sequence", "", "tokens of one row", "128"),
        Term("tokens", "", "tokens seen in one run", "41M"),
        Term("rows", "", "rows of the training data", "50000"),
        Term("epochs", "", "passes over the training rows", "3"),
        Term("epoch", "s", "seconds of one epoch", "19.5 s"),
        Term("throughput", "1/s", "rows a second, all ranks together", "1200 samples/s"),
        Term("runs", "", "runs of the sweep", "10"),
        Term("run", "s", "time of one run", "1.4 h"),
        Term("sweep", "s", "time of all runs", "14 h"),
        Term("price", "USD/s", "of what is rented, for an hour", "0.35 USD/h"),
        Term("run cost", "USD", "cost of one run", "18 USD"),
        Term("cost", "USD", "cost of all runs", "12 USD"),
        Term("gpus", "", "GPUs at work together", "4"),
        Term("ranks", "", "processes of one run, one GPU each", "4"),
        Term("workers", "", "runs or agents that each want a GPU", "6"),
        Term("nodes", "", "copies that share one card", "8"),
        Term("memory", "B", "peak memory of one run, node or rank", "6.5 GB"),
        Term("card", "B", "memory of one card", "80 GB"),
        Term("parameters", "", "parameters of the model", "124M"),
        Term("weights", "B", "the parameters in memory", "0.5 GB"),
        Term("states", "B", "gradients and optimizer states", "1.5 GB"),
        Term("forward", "B", "what the forward pass holds", "4 GB"),
        Term("checkpoint", "B", "one checkpoint", "4.2 GB"),
        Term("checkpoints", "", "checkpoints that one run keeps", "4"),
        Term("interval", "", "steps from checkpoint to checkpoint", "1000"),
        Term("disk", "B", "the disk that there is", "50 GB"),
        Term("speedup", "", "of all GPUs over one", "2.5"),
    )
}


class About(NamedTuple):
    """What a claim is about, as far as the words around it say."""

    device: str | None = None
    model: str | None = None
    gpus: int | None = None
    variant: str | None = None


NOTHING = About()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One figure that somebody states; `rounding` is half a unit of its last digit where it is no range."""

    quantity: str
    low: float
    high: float
    text: str
    place: str
    rounding: float = 0.0
    about: About = NOTHING
    line: int = 0
    block: int = 0
    section: int = 0
    column: int = 0
    per: str = ""
    words: str = field(default="", repr=False)

    @property
    def middle(self) -> float:
        """The figure, or the middle of its range."""
        return (self.low + self.high) / 2


def gap(low: float, high: float, claim: Claim) -> float:
    """How far low to high is from the claim: 1 where they meet or its rounding allows it, else a ratio."""
    if low <= claim.high + claim.rounding and high >= claim.low - claim.rounding:
        return 1.0
    over, under = (low, claim.high) if low > claim.high else (claim.low, high)
    return over / under if under > 0 else float("inf")


def same_device(one: str | None, other: str | None) -> bool:
    """Whether both may be one device: `A100` and `A100 80GB` may, `RTX 3060` and `RTX 3060 Ti` may not."""
    if one is None or other is None or one == other:
        return True
    short, long = sorted((one, other), key=len)
    rest = long.removeprefix(short)
    return rest != long and (short == "Mac" or (rest.strip().endswith("GB") and rest.strip()[:-2].isdigit()))


def same_model(one: str | None, other: str | None) -> bool:
    """Whether both may be one model: `1B` and `Llama-3.2-1B` may."""
    if one is None or other is None or one == other:
        return True
    short, long = sorted((one, other), key=len)
    return long.upper().endswith(f"-{short.upper()}")
