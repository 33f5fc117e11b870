"""What a trainer may tell gpuplan, with the standard library only.

    from gpuplan import track

    run = track.start(dataset_rows=6000, batch_size=32)   # batch_size is the global one
    for batch in loader:
        ...
        run.step(samples=len(batch), loss=loss.item())
        if run.stop_requested:
            run.checkpoint("checkpoint-120", step=120)
            run.leave()
    run.final(accuracy=0.91)

Each process of a run writes its own file of JSON lines: rank 0 `metrics.jsonl`, rank k
`metrics.rank<k>.jsonl`. Outside gpuplan (no GPUPLAN_RUN_DIR, no `directory`) nothing is written.
It never imports torch by itself: peak GPU memory is asked of a torch that the trainer has imported.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn, Optional, Union

if TYPE_CHECKING:
    from types import FrameType

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

__all__ = ["TRY_AGAIN_EXIT_CODE", "Track", "start"]

TRY_AGAIN_EXIT_CODE = 75
"""EX_TEMPFAIL of sysexits.h: the run left in good order and wants to be resumed."""

FLUSH_INTERVAL_S = 0.25
"""Steps are added up and written at most this often, so that fast steps cost no time."""

Scalar = Union[str, int, float, bool, None]


def start(
    *,
    dataset_rows: Optional[int] = None,
    batch_size: Optional[int] = None,
    directory: Optional[str] = None,
    rank: Optional[int] = None,
    world_size: Optional[int] = None,
    step: int = 0,
    **facts: Scalar,
) -> Track:
    """Open this process's record. `batch_size` is the global batch, `step` the step a resumed run starts from.

    `rank` and `world_size` come from RANK and WORLD_SIZE, as torchrun sets them, if they are not given.
    """
    track = Track(
        directory or os.environ.get("GPUPLAN_RUN_DIR"),
        rank=_environment_int("RANK", 0) if rank is None else rank,
        world_size=_environment_int("WORLD_SIZE", 1) if world_size is None else world_size,
    )
    track.write(
        "start",
        rank=track.rank,
        world_size=track.world_size,
        dataset_rows=dataset_rows,
        batch_size=batch_size,
        step=step,
        attempt=_environment_int("GPUPLAN_ATTEMPT", 1),
        **facts,
    )
    track.step_count = step
    return track


class Track:
    """The record of one process of a run; `start` makes it."""

    def __init__(self, directory: Optional[str], *, rank: int = 0, world_size: int = 1) -> None:
        self.directory = directory
        self.rank = rank
        self.world_size = world_size
        self.step_count = 0
        self.stop_requested = False
        self._file = None
        self._pending_steps = 0
        self._pending_samples = 0
        self._pending_losses: list[float] = []
        self._last_write = time.monotonic()
        if directory is not None:
            os.makedirs(directory, exist_ok=True)
            name = "metrics.jsonl" if rank == 0 else f"metrics.rank{rank}.jsonl"
            self._file = open(os.path.join(directory, name), "a", encoding="utf-8")
        if "GPUPLAN_RUN_DIR" in os.environ:
            self._listen()

    def write(self, event: str, /, **values: Any) -> None:
        """Write one record now. NaN and infinities are written as strings, which JSON can hold."""
        if self._file is None:
            return
        record = {key: _json_value(value) for key, value in values.items() if value is not None}
        record.update({"event": event, "time_s": round(time.time(), 3)})
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def step(self, *, samples: int, loss: Optional[float] = None) -> None:
        """Count one optimizer step of this process: `samples` rows went through this rank."""
        self.step_count += 1
        self._pending_steps += 1
        self._pending_samples += samples
        if loss is not None:
            self._pending_losses.append(loss)
        if time.monotonic() - self._last_write >= FLUSH_INTERVAL_S:
            self.flush()

    def flush(self) -> None:
        """Write the steps counted so far as one record: how many, their rows, their seconds, their mean loss."""
        if self._pending_steps == 0:
            return
        now = time.monotonic()
        losses = self._pending_losses
        self.write(
            "steps",
            step=self.step_count,
            steps=self._pending_steps,
            samples=self._pending_samples,
            seconds=round(now - self._last_write, 6),
            loss=sum(losses) / len(losses) if losses else None,
        )
        self._pending_steps = self._pending_samples = 0
        self._pending_losses = []
        self._last_write = now

    def mark(self) -> None:
        """Start the step clock anew, after work that is not a step (evaluation, a checkpoint, loading)."""
        self.flush()
        self._last_write = time.monotonic()

    def epoch(self, epoch: int, *, samples: int, seconds: float, **values: Scalar) -> None:
        """Close epoch `epoch` (from 1): the rows this rank trained on in it, the seconds of its training loop."""
        self.flush()
        self.write("epoch", epoch=epoch, step=self.step_count, samples=samples, seconds=round(seconds, 6), **values)
        self.mark()

    def checkpoint(self, path: str, *, step: int, seconds: Optional[float] = None) -> None:
        """Say that a complete checkpoint lies at `path` (relative to the run's folder)."""
        self.flush()
        self.write("checkpoint", path=path, step=step, seconds=seconds)
        self.mark()

    def final(self, **values: Scalar) -> None:
        """Write the run's results and this process's peak memory, and close the record."""
        self.flush()
        self.write("final", **{"step": self.step_count, **values, **peak_memory()})
        self.close()

    def leave(self) -> NoReturn:
        """End in good order, to be resumed: exit code 75."""
        self.flush()
        self.write("leave", step=self.step_count, **peak_memory())
        self.close()
        sys.exit(TRY_AGAIN_EXIT_CODE)

    def close(self) -> None:
        """Close the file; the record stays as it is."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _listen(self) -> None:
        def request_stop(_signal: int, _frame: Optional[FrameType]) -> None:
            self.stop_requested = True

        for name in {"SIGTERM", os.environ.get("GPUPLAN_STOP_SIGNAL") or "SIGTERM"}:
            number = getattr(signal, name, None)
            if isinstance(number, signal.Signals) and threading.current_thread() is threading.main_thread():
                signal.signal(number, request_stop)


def peak_memory() -> dict[str, int]:
    """Peak memory of this process: resident host bytes, and of each torch CUDA counter if torch runs on CUDA."""
    peaks: dict[str, int] = {}
    if resource is not None:
        # Linux counts kilobytes, macOS bytes (getrusage(2) of each).
        unit_bytes = 1 if sys.platform == "darwin" else 1024
        peaks["peak_host_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        peaks["peak_allocated_bytes"] = torch.cuda.max_memory_allocated()
        peaks["peak_reserved_bytes"] = torch.cuda.max_memory_reserved()
    return peaks


def _environment_int(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else default


def _json_value(value: Any) -> Any:
    """What JSON can hold: a record must never end a training. Tensors and numpy scalars become numbers."""
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    if not isinstance(value, (str, int, float, type(None))):
        try:
            value = float(value)
        except Exception:  # noqa: BLE001  whatever the object raises, its text will do
            return str(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
