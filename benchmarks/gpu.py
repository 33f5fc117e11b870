"""Real training steps on this machine's GPU against what gpuplan says of them: `gpu.py [--limit N] [--json OUT]`.

    python benchmarks/gpu.py                 # 44 configurations, and 2 to 8 processes on one card
    python benchmarks/gpu.py --device cpu    # a few small ones on the CPU, step times only: the script's own test

Every prediction is made before its step is measured, and from the shipped data alone: the trace of the step for
memory, the roofline for time. The last line printed is one JSON object; benchmarks/results/gpu-<name>.json has all.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from agreement_grid import grid

from gpuplan.errors import GpuplanError
from gpuplan.estimate import estimate
from gpuplan.model import Estimate, Experiment, Footprint, Run
from gpuplan.trace import trace
from gpuplan.units import format_bytes, format_duration
from gpuplan.world import look_at_machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuplan.model import Gpu, Quantity, World

HERE = Path(__file__).parent
TARGET = "agreement_models:make_step"
CONFIGURATIONS = 44
COPIES = (2, 3, 4, 8)
SHARED = ("GPT-2", "BERT Base", "ViT-B/16")
"""Models of which several processes run on one card, at a small and at a large batch."""
LIMIT_S = 600.0

Config = dict[str, Any]


class Case(NamedTuple):
    """One configuration, in so many processes on the card."""

    config: Config
    copies: int


class Measured(NamedTuple):
    """What was predicted and then measured of a case; None where the device does not say."""

    case: Case
    predicted: Estimate | None
    measured: dict[str, float | None] | None
    problem: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Predict all, measure all, print and write."""
    options = _parser().parse_args(arguments)
    world = look_at_machine(None, (), store=None)
    gpu = world.gpus[world.machine.devices[0].gpu]
    if options.device == "cuda" and gpu.kind != "gpu":
        print("no GPU here: --device cpu runs the script's own test", file=sys.stderr)
        return 5
    cases = cases_for(gpu)[: options.limit]
    print(f"{len(cases)} cases on {gpu.name}; predicting", flush=True)
    predicted = [predict(case, gpu, world) for case in cases]
    found = []
    for case, one in zip(cases, predicted, strict=True):
        found.append(one if one.problem else measure(one, on_gpu=gpu.kind == "gpu"))
        print(line_of(case, found[-1]), flush=True)
    answer = {"gpu": gpu.name, **summary(found)}
    output = options.json or HERE / "results" / f"gpu-{gpu.name.replace(' ', '-')}.json"
    output.write_text(json.dumps({**answer, "cases": [_row(one) for one in found]}, indent=2) + "\n", "utf-8")
    print(json.dumps(answer))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Hold estimates against steps on this machine's device.")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--limit", type=int, help="the first cases only")
    parser.add_argument("--json", type=Path, help="where to write every case")
    return parser


def cases_for(gpu: Gpu) -> list[Case]:
    """The cases for a device: real models on a GPU, small ones on a CPU."""
    configs = grid()
    if gpu.kind == "cpu":
        small = [config for config in configs if config["name"] == config["family"] and config["precision"] == "fp32"]
        chosen = [config | {"rows": 1, "sequence": 64} for config in small[:: len(small) // 4][:4]]
        return [Case(config, 1) for config in chosen] + [Case(chosen[0], 2)]
    real = [config for config in configs if config["name"] != config["family"]]
    alone = [*real, *(config for config in configs if config["name"] == config["family"])][:CONFIGURATIONS]
    shared = [config | {"rows": rows} for config in _first_of(real, SHARED) for rows in (2, 16)]
    return [Case(config, 1) for config in (*alone, *shared)] + [
        Case(config, copies) for config in shared for copies in COPIES
    ]


def predict(case: Case, gpu: Gpu, world: World) -> Measured:
    """What gpuplan says of a case, from a trace without the device and the shipped rates."""
    rows = case.config["rows"]
    settings = {name: value for name, value in case.config.items() if isinstance(value, bool | int | float | str)}
    try:
        traced = trace(
            TARGET, settings, workdir=HERE, micro_batch="rows", device="cuda" if gpu.kind == "gpu" else "cpu",
            compute_capability=gpu.compute_capability or "8.0",
        )  # fmt: skip
    except GpuplanError as error:
        return Measured(case, None, None, error.message)
    footprint = traced.at(rows)
    if footprint is None:
        return Measured(case, None, None, f"the trace says nothing of {rows} rows")
    return Measured(case, _estimate(case, footprint, gpu, world), None)


def _estimate(case: Case, footprint: Footprint, gpu: Gpu, world: World) -> Estimate:
    precision = {"fp32": "fp32", "bf16": "bf16", "pure": "bf16"}[case.config["precision"]]
    settings = {"rows": case.config["rows"], "precision": precision}
    experiment = Experiment.model_validate({
        "name": "gpu", "command": "python train.py", "settings": settings,
        "roles": {"micro_batch": "rows", "precision": "precision"}, "footprint": {"trace": TARGET},
    })  # fmt: skip
    run = Run(name="gpu", key="gpu", settings=settings, point={}, copies=case.copies, command="python train.py")
    known = footprint.model_copy(update={"precision": precision})
    return estimate(run, experiment, gpu, world.model_copy(update={"footprints": {"gpu": known}, "evidence": ()}))


def measure(one: Measured, *, on_gpu: bool) -> Measured:
    """Run every copy of the case at once; the slowest copy's step and the largest copy's memory count."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "config.json"
        config.write_text(json.dumps(one.case.config), "utf-8")
        before = _used_bytes() if on_gpu else 0
        words = [sys.executable, str(HERE / "gpu_child.py"), str(config), name]
        copies = one.case.copies
        children = [
            subprocess.Popen(
                [*words, str(number), str(copies)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for number in range(copies)
        ]
        said = [_said(child) for child in children]
    failed = [text for text in said if isinstance(text, str)]
    if failed:
        return one._replace(problem=failed[0])
    answers = [answer for answer in said if isinstance(answer, dict)]
    return one._replace(measured=_together(answers, before))


def _said(child: subprocess.Popen[str]) -> dict[str, float | None] | str:
    """The child's answer, or why there is none."""
    try:
        output, errors = child.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return f"no answer within {format_duration(LIMIT_S)}"
    if child.returncode != 0:
        return (errors.strip().splitlines() or [f"exit code {child.returncode}"])[-1][:200]
    answer: dict[str, float | None] = json.loads(output.splitlines()[-1])
    return answer


def _together(answers: list[dict[str, float | None]], before: int) -> dict[str, float | None]:
    used = max((answer["used_bytes"] or 0) for answer in answers)
    return {
        "step_s": max(answer["step_s"] or 0.0 for answer in answers),
        "allocated_bytes": answers[0]["allocated_bytes"],
        "reserved_bytes": answers[0]["reserved_bytes"],
        "device_bytes": (used - before) / len(answers) if used else None,
    }


def _used_bytes() -> int:
    """What the driver says is used before anything of ours runs, which counts for nobody."""
    words = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[0]) << 20


FIGURES = ("allocated_bytes", "reserved_bytes", "device_bytes", "step_s")


def predicted_of(one: Estimate, figure: str) -> Quantity:
    """The predicted figure of that name."""
    return one.step_s if figure == "step_s" else getattr(one.memory, figure)


def errors_of(found: Sequence[Measured], figure: str) -> Iterator[tuple[float, bool]]:
    """Of every measured case: predicted over measured less one, and whether the interval held it."""
    for one in found:
        value = one.measured.get(figure) if one.measured else None
        if value and one.predicted:
            said = predicted_of(one.predicted, figure)
            yield said.p50 / value - 1, said.p10 <= value <= said.p90


def summary(found: Sequence[Measured]) -> dict[str, Any]:
    """Errors of every figure, alone on the card and shared."""
    parts = {
        "alone": [one for one in found if one.case.copies == 1],
        "shared": [one for one in found if one.case.copies > 1],
    }
    scores = {
        f"{part}_{figure}": _score(list(errors_of(cases, figure)))
        for part, cases in parts.items()
        for figure in FIGURES
    }
    return {
        "measured": sum(one.measured is not None for one in found),
        "problems": [f"{one.case.config['name']}: {one.problem}" for one in found if one.problem],
        **{name: score for name, score in scores.items() if score},
    }


def _score(errors: list[tuple[float, bool]]) -> dict[str, float] | None:
    if not errors:
        return None
    off = [abs(error) for error, _ in errors]
    return {
        "cases": len(errors),
        "mean_abs_pct": round(100 * statistics.fmean(off), 2),
        "median_abs_pct": round(100 * statistics.median(off), 2),
        "under_by_10_pct": round(sum(error < -0.1 for error, _ in errors) / len(errors), 3),
        "coverage": round(sum(inside for _, inside in errors) / len(errors), 3),
    }


def line_of(case: Case, one: Measured) -> str:
    """A case on one line."""
    config = case.config
    what = f"{config['name']} x{config['rows']} {config['precision']} {config['optimizer']}"
    what += f"{' checkpointing' if config['checkpointing'] else ''} {config['attention']}"
    what += f", {case.copies} processes" if case.copies > 1 else ""
    if one.problem or one.measured is None or one.predicted is None:
        return f"{what}: {one.problem}"
    shown = []
    for figure in FIGURES:
        value = one.measured.get(figure)
        if value:
            show = format_duration if figure == "step_s" else format_bytes
            said = predicted_of(one.predicted, figure).p50
            shown.append(f"{figure.rpartition('_')[0]} {show(said)} of {show(value)}")
    return f"{what}: {'; '.join(shown)}"


def _first_of(configs: Sequence[Config], names: Sequence[str]) -> list[Config]:
    return [next(config for config in configs if config["name"] == name) for name in names]


def _row(one: Measured) -> dict[str, Any]:
    said = {figure: predicted_of(one.predicted, figure).model_dump() for figure in FIGURES} if one.predicted else None
    return {"config": one.case.config, "copies": one.case.copies, "predicted": said, "measured": one.measured,
            "problem": one.problem}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
