"""The epochs of a run and their file `metrics.csv`, in the columns of the original plus `samples`.

It never keeps a row that the resumed run is going to train again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "epoch,train_loss,train_time,val_loss,val_acc,samples"


@dataclass(frozen=True, slots=True)
class Epoch:
    """One finished epoch, over all ranks."""

    epoch: int
    train_loss: float
    train_time: float
    """Seconds of rank 0's training loop."""
    val_loss: float | None
    val_acc: float | None
    samples: int
    """Rows trained on, over all ranks: more than the data set has if it was not divided."""


class History:
    """The finished epochs; rank 0's is kept in `path`, the others' in memory only."""

    def __init__(self, path: Path | None, epochs: list[Epoch]) -> None:
        self.path = path
        self.epochs = list(epochs)
        if path is not None:
            _replace(path, "".join(f"{line}\n" for line in [HEADER, *map(_line, self.epochs)]))

    def append(self, epoch: Epoch) -> None:
        """Add the epoch that just ended."""
        self.epochs.append(epoch)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(epoch) + "\n")

    def as_data(self) -> list[dict[str, float | None]]:
        """The epochs as plain values, for a checkpoint."""
        return [asdict(epoch) for epoch in self.epochs]


def _line(epoch: Epoch) -> str:
    return ",".join("" if value is None else str(value) for value in asdict(epoch).values())


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".csv.writing")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
