"""Experiments, devices and facts for the tests of `estimate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuplan.expand import expand
from gpuplan.model import (
    Architecture,
    Device,
    Evidence,
    Experiment,
    FootprintSource,
    Gpu,
    Machine,
    Measurement,
    Roles,
    Run,
    World,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.model import Quantity

COMMAND = "python train.py --batch {batch} --lr {lr}"
GIB = 2**30

ENCODER = Architecture(
    kind="encoder", layers="layers", d_model=128, heads=4, feedforward=256, vocabulary=20_000, sequence=64, classes=4,
    optimizer="adam",
)  # fmt: skip
GPT2 = Architecture(
    kind="decoder", layers=12, d_model=768, heads=12, feedforward=3072, vocabulary=50_257, sequence=1024, tied=True,
    learned_positions=True,
)  # fmt: skip

CPU = Gpu(
    name="a CPU (1 thread)", kind="cpu", memory_bytes=8 * GIB, bandwidth_bytes_per_s=38e9, peak_flops={"fp32": 100e9},
    kernel_overhead_s=2e-6, context_bytes=240_000_000, startup_s=2.5, threads=1, source="a test", checked="measured",
)  # fmt: skip
BARE_CPU = Gpu(name="a CPU (1 thread)", kind="cpu", memory_bytes=8 * GIB, source="a test", checked="assumed")
A100 = Gpu(
    name="A100 SXM 80GB", memory_bytes=80 * GIB, bandwidth_bytes_per_s=2039e9,
    peak_flops={"fp32": 19.5e12, "tf32": 156e12, "fp16": 312e12, "bf16": 312e12}, context_bytes=GIB // 2,
    kernel_overhead_s=1e-5, source="a test", checked="seen",
)  # fmt: skip
H100 = A100.model_copy(
    update={
        "name": "H100 SXM 80GB",
        "bandwidth_bytes_per_s": 3350e9,
        "peak_flops": {"fp32": 67e12, "tf32": 495e12, "fp16": 989e12, "bf16": 989e12},
    }
)

ROLES = Roles(
    batch="batch", steps="steps", epochs="epochs", train_rows="train_rows", eval_rows="eval_rows", learning_rate="lr",
)  # fmt: skip


def experiment(**changes: Any) -> Experiment:
    """A small encoder, trained on 32 rows a step for 100 steps."""
    fields: dict[str, Any] = {
        "name": "sweep",
        "command": COMMAND,
        "settings": {"batch": 32, "lr": 1e-3, "steps": 100, "layers": 2, "dropout": 0.1},
        "roles": ROLES,
        "footprint": FootprintSource(model=ENCODER),
    }
    fields |= changes
    return Experiment(**fields)


def with_settings(**settings: Any) -> Experiment:
    asked = experiment()
    return asked.model_copy(update={"settings": asked.settings | settings})


def first_run(asked: Experiment) -> Run:
    return expand(asked)[0]


def world(evidence: Sequence[Evidence] = (), *, gpus: Sequence[Gpu] = (CPU, A100, H100), **fields: Any) -> World:
    """Two shares of a CPU machine, and what was measured."""
    devices = tuple(Device(index=index, gpu=CPU.name, memory_bytes=8 * GIB) for index in (0, 1))
    machine = Machine(cpu="a CPU", cores=2, memory_bytes=16 * GIB, devices=devices)
    known = {gpu.name: gpu for gpu in gpus}
    return World(today="2026-11-20", machine=machine, gpus=known, evidence=tuple(evidence), **fields)


def fact(
    name: str = "probe-1",
    *,
    kind: str = "probe",
    settings: dict[str, Any] | None = None,
    gpu: Gpu = CPU,
    ranks: int = 1,
    measured: dict[str, Any] | None = None,
    **fields: Any,
) -> Evidence:
    """Something measured of `experiment()`, with other settings where given."""
    return Evidence.model_validate(
        {
            "id": name,
            "kind": kind,
            "experiment": "sweep",
            "run": name,
            "settings": experiment().settings | (settings or {}),
            "command": COMMAND,
            "gpu": gpu.name,
            "ranks": ranks,
            "measurement": Measurement.model_validate(measured or {"step_s": 0.1, "steps": 20}),
            "taken": "2026-11-20",
            **fields,
        }
    )


def relative_width(quantity: Quantity) -> tuple[float, float]:
    return round(quantity.p10 / quantity.p50, 3), round(quantity.p90 / quantity.p50, 3)
