"""Experiments and runs to report on, made by hand: these measurements are inputs of tests, nobody's results."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from gpuplan.expand import expand
from gpuplan.model import (
    Estimate,
    Experiment,
    Measurement,
    MemoryEstimate,
    Outcome,
    Provenance,
    Quantity,
    RunRecord,
)
from gpuplan.observe.values import Curve, Point

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuplan.model import Run, State

COMMAND = "python train.py --size {size} --seed {seed}"


def sweep(**changes: Any) -> Experiment:
    """Two sizes, one and two ranks, three seeds, and one control: 13 runs."""
    spec: dict[str, Any] = {
        "name": "agnews",
        "command": COMMAND,
        "settings": {"batch_size": 32, "epochs": 5},
        "vary": {"size": ["small", "large"], "ranks": [1, 2]},
        "seeds": [1, 2, 3],
        "controls": [{"name": "shuffled", "settings": {"size": "small"}}],
    }
    return Experiment.model_validate(spec | changes)


def quantity(middle: float, *, width: float = 0.2, source: str = "closed_form") -> Quantity:
    return Quantity.model_validate(
        {
            "p10": middle * (1 - width),
            "p50": middle,
            "p90": middle * (1 + width),
            "source": source,
            "because": "made for a test",
        }
    )


def estimate(run: Run, *, memory_bytes: float = 2e9, step_s: float = 0.02, duration_s: float = 100.0) -> Estimate:
    memory = quantity(memory_bytes)
    return Estimate(
        run=run.name,
        gpu="RTX 4090",
        memory=MemoryEstimate(
            allocated_bytes=memory.times(0.7),
            reserved_bytes=memory.times(0.8),
            device_bytes=memory,
            components_bytes={"parameters": 1e9},
            capacity_bytes=24_000_000_000,
            fits="OK",
        ),
        step_s=quantity(step_s),
        steps=1000,
        duration_s=quantity(duration_s),
        disk_bytes=quantity(1e6),
    )


def measurement(run: Run, **changes: Any) -> Measurement:
    """A run on a GPU that trained well: 6,000 rows, divided between its ranks."""
    base: dict[str, Any] = {
        "world_size": run.ranks,
        "dataset_rows": 6000,
        "batch_size": 32,
        "parameters": 2_825_476,
        "steps": 940,
        "epochs": 5,
        "samples_per_epoch_by_rank": (6000 / run.ranks,) * run.ranks,
        "step_s": 0.021,
        "epoch_s": 20.0 / run.ranks,
        "samples_per_s": 300.0 * run.ranks,
        "duration_s": 105.0 / run.ranks,
        "peak_device_bytes": 2_100_000_000,
        "peak_reserved_bytes": 1_700_000_000,
        "peak_allocated_bytes": 1_500_000_000,
        "final": {"accuracy": 0.88, "val_loss": 0.41},
        "best": {"accuracy": 0.89, "val_loss": 0.40},
    }
    return Measurement.model_validate(base | changes)


def finished(run: Run, **changes: Any) -> RunRecord:
    return RunRecord(
        experiment="agnews",
        run=run,
        folder=f"/runs/{run.name}",
        state="finished",
        attempt=1,
        outcome=Outcome(status="finished", exit_code=0, because="exit code 0", advice=""),
        measurement=measurement(run, **changes),
        provenance=Provenance(
            argv=("python", "train.py"), workdir=".", commit="ab2efc3", dirty=False, python="3.11.9",
            versions={"torch": "2.13.0"}, machine="box",
        ),
        estimate=estimate(run),
    )  # fmt: skip


def ended(run: Run, state: State, *, because: str = "no memory left", advice: str = "halve the batch") -> RunRecord:
    outcome = Outcome.model_validate({"status": state, "exit_code": 1, "because": because, "advice": advice})
    return RunRecord(experiment="agnews", run=run, folder=f"/runs/{run.name}", state=state, outcome=outcome)


def unended(run: Run, state: State = "running") -> RunRecord:
    return RunRecord(experiment="agnews", run=run, folder=f"/runs/{run.name}", state=state)


def accuracy_of(run: Run) -> float:
    """Larger is better, the seed moves the third digit, and shuffled labels teach nothing."""
    if run.control:
        return 0.26
    return 0.86 + 0.03 * (run.settings.get("size") == "large") + 0.002 * (run.seed or 0)


def all_finished(experiment: Experiment, change: Callable[[Run], dict[str, Any]] | None = None) -> list[RunRecord]:
    """Every run finished, with the accuracies of `accuracy_of` and what `change` says of each run."""
    return [
        finished(
            run,
            **{"final": {"accuracy": accuracy_of(run), "val_loss": 1 - accuracy_of(run)}}
            | (change(run) if change else {}),
        )
        for run in expand(experiment)
    ]


def unsharded(run: Run) -> dict[str, Any]:
    """The changes to a measurement when every rank trains on all rows."""
    return {
        "samples_per_epoch_by_rank": (6000.0,) * run.ranks,
        "epoch_s": 20.0 * (1.25 if run.ranks > 1 else 1.0),
        "samples_per_s": 300.0 * run.ranks / (1.25 if run.ranks > 1 else 1.0),
    }


def curve(points: Sequence[tuple[float, float]], axis: Literal["step", "epoch"] = "step") -> Curve:
    return Curve(axis, tuple(Point(at, value) for at, value in points))


def learning_curves(records: list[RunRecord], *, steps: int = 50) -> dict[str, dict[str, Curve]]:
    """An accuracy and a loss for each run, rising and falling towards where the run ended."""
    places = range(1, steps + 1)
    return {
        run.name: {
            "accuracy": curve([(at, accuracy_of(run) * (1 - math.exp(-at / 8))) for at in places]),
            "train_loss": curve([(at, 1.4 * math.exp(-at / (8 + (run.seed or 0)))) for at in places]),
        }
        for run in (record.run for record in records)
    }
