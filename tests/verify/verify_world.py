"""A small experiment that nothing is wrong with, a world that has all of it, and what `verify` says of a change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuplan.expand import expand
from gpuplan.model import (
    CommandFact,
    Device,
    Estimate,
    Experiment,
    FileFact,
    Gpu,
    Machine,
    MemoryEstimate,
    Quantity,
    World,
)
from gpuplan.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuplan.model import Finding

GB = 10**9
SOUND: dict[str, Any] = {
    "name": "agnews",
    "command": "python train.py --lr {lr} --batch {batch} --steps {steps} --seed {seed} --out {run_dir}",
    "settings": {"batch": 32, "steps": 1000},
    "vary": {"lr": [0.001, 0.0005]},
    "seeds": [1, 2],
    "roles": {"batch": "batch", "steps": "steps"},
    "inputs": [{"path": "data/agnews.csv"}],
}
TRAIN = "python train.py"
AGNEWS = FileFact(path="data/agnews.csv", exists=True, size_bytes=1_857_427, rows=7600)


def experiment(**changed: Any) -> Experiment:
    """The sound experiment with some of its keys changed; None takes one away."""
    keys = {**SOUND, **changed}
    return Experiment.model_validate({key: value for key, value in keys.items() if value is not None})


def world(
    *files: FileFact, programs: Iterable[CommandFact] = (), devices: int = 2, gpu: str = "L40", **changed: Any
) -> World:
    """This machine with `devices` GPUs, the sound experiment's data and script, and what is given."""
    facts: dict[str, Any] = {
        "today": "2026-11-20",
        "machine": Machine(
            cpu="EPYC",
            cores=16,
            memory_bytes=64 * GB,
            devices=tuple(Device(index=index, gpu=gpu, memory_bytes=48 * GB) for index in range(devices)),
        ),
        "gpus": {
            "L40": Gpu(name="L40", memory_bytes=48 * GB, source="sheet", checked="seen"),
            "EPYC": Gpu(name="EPYC", kind="cpu", memory_bytes=64 * GB, source="here", checked="measured"),
        },
        "disk_free_bytes": 500 * GB,
        "files": {fact.path: fact for fact in (AGNEWS, *files)},
        "programs": {fact.program: fact for fact in (CommandFact(program=TRAIN, path="/w/train.py"), *programs)},
    }
    return World.model_validate(facts | changed)


def quantity(p50: float, *, p10: float | None = None, p90: float | None = None, because: str = "measured") -> Quantity:
    """A figure with an interval of 10 % each way if none is given."""
    low, high = 0.9 * p50 if p10 is None else p10, 1.1 * p50 if p90 is None else p90
    return Quantity(p10=low, p50=p50, p90=high, source="measured", because=because)


def estimate(run: str, *, gpu: str = "L40", fits: str = "OK", **changed: Any) -> Estimate:
    """What a run needs: little, unless said."""
    memory = MemoryEstimate.model_validate(
        {
            "allocated_bytes": quantity(20 * GB),
            "reserved_bytes": quantity(21 * GB),
            "device_bytes": quantity(22 * GB, because="closed form + context"),
            "components_bytes": {"parameters": 1.0 * GB, "activations": 15.0 * GB},
            "capacity_bytes": 48 * GB,
            "fits": fits,
        }
        | changed.pop("memory", {})
    )
    figures: dict[str, Any] = {"step_s": quantity(0.1), "steps": 1000, "duration_s": quantity(100)}
    figures |= {"disk_bytes": quantity(GB, because="1 checkpoint x 1 GB")}
    return Estimate(run=run, gpu=gpu, memory=memory, **(figures | changed))


def estimates(of: Experiment, **changed: Any) -> list[Estimate]:
    """The same estimate for every run."""
    return [estimate(run.name, **changed) for run in expand(of)]


def findings(
    of: Experiment, *, given: World | None = None, estimated: Iterable[Estimate] | None = None
) -> tuple[Finding, ...]:
    """All that `verify` finds."""
    return verify(
        of,
        expand(of),
        world=world() if given is None else given,
        estimates=estimates(of) if estimated is None else estimated,
    )


def found(
    check: str, of: Experiment, *, given: World | None = None, estimated: Iterable[Estimate] | None = None
) -> list[Finding]:
    """The findings of one check."""
    return [finding for finding in findings(of, given=given, estimated=estimated) if finding.check == check]


def only(
    check: str, of: Experiment, *, given: World | None = None, estimated: Iterable[Estimate] | None = None
) -> Finding:
    """The one finding of a check."""
    (finding,) = found(check, of, given=given, estimated=estimated)
    return finding


def errors(of: Experiment, *, given: World | None = None, estimated: Iterable[Estimate] | None = None) -> set[str]:
    """The checks that block."""
    return {one.check for one in findings(of, given=given, estimated=estimated) if one.severity == "error"}
