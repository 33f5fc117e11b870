"""Do trace and closed form count the same work? `agreement_work.py [--json OUT] [NAME...]`.

Each workload of data/workloads.toml has a network in plain PyTorch (agreement_networks.py); one training step of it is
traced at a usual batch in fp32 and in fp16, and compared with `footprint_of_shape`: parameters, FLOPs, bytes moved by
class, kernels, peak memory. Prints a table, what is out of bounds, and as the last line one JSON object; ends with 1
if anything is out of bounds. It measures no GPU.

What is compared, where the two do not count alike:

- products are matrix products, attention and convolutions together: a trace knows them by the operator, the closed form
  by how fast their kernel runs. Depthwise convolutions are a class of their own.
- a batch norm's kernels read their input twice, forward and backward, and the gradient of a look-up is written only
  where something was looked up; a trace counts every tensor once: RECOUNTED.
- a convolution's backward pass is two kernels, both of which read the output's gradient; a trace counts it once, so
  that the closed form is up to a quarter above it in products.
- recurrent layers: parameters and FLOPs of their steps, one by one; bytes and kernels of all else, as nobody sees those
  of cuDNN's kernels (agreement_recurrent.py).
- Tacotron2 is a loop over frames: the difference between 40 and 20 of them, for one frame.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from agreement import traced

from gpuplan.data.workloads import workloads
from gpuplan.footprint import Unknown
from gpuplan.footprint.shapes import footprint_of_shape, network_of, operators_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agreement_grid import Config

    from gpuplan.model import Footprint

RESULTS = Path(__file__).parent / "results" / "agreement_work.json"
PRECISIONS = ("fp32", "fp16")
USUAL_ROWS = {
    "ResNet-18": 256, "ResNet-50": 128, "ResNeXt-101 32x4d": 64, "SE-ResNeXt-101 32x4d": 64, "VGG-16": 64,
    "MobileNetV2": 128, "DenseNet-121": 64, "EfficientNet-B0": 128, "EfficientNet-B4": 32, "SSD300-ResNet50": 64,
    "NCF": 1_048_576, "GNMT": 128, "Transformer-XL base": 32, "Transformer-XL large": 8,
    "Transformer-XL base, full softmax": 32, "Transformer-XL large, full softmax": 8, "Tacotron2": 64, "WaveGlow": 8,
}  # fmt: skip
PER_FRAME = {"Tacotron2": (20, 40)}
"""Lengths of the rows between which one more is looked at."""
CLASSES = ("products", "depthwise", "elementwise", "embedding", "optimizer")
CLASS_OF = {"matmul": "products", "attention": "products", "convolution": "products"}
RECOUNTED = {"native_batch_norm": 3 / 2, "native_batch_norm_backward": 5 / 3, "scatter_add": 0.0}
"""Bytes that kernels move over those of their tensors: batch norm reads input and gradient twice; the gradient of a
look-up is written in place, and only where something was looked up."""

BOUNDS_PCT = {"parameters": 0.1, "FLOPs": 1.0, "bytes": 20.0, "elementwise bytes": 25.0, "peak memory": 30.0}


class Case(NamedTuple):
    """One workload to compare: at one size of its rows, or between two."""

    name: str
    precision: str
    rows: int
    sizes: tuple[int, ...]


class Work(NamedTuple):
    """What one step does: bytes of each class, FLOPs and kernels of all."""

    flops: float
    moved_bytes: dict[str, float]
    kernels: float

    def less(self, other: Work, *, share: float) -> Work:
        """A share of what this one does beyond the other."""
        moved = {name: share * (size - other.moved_bytes.get(name, 0.0)) for name, size in self.moved_bytes.items()}
        return Work(share * (self.flops - other.flops), moved, share * (self.kernels - other.kernels))


class Compared(NamedTuple):
    """One workload at one batch and precision, by trace and by closed form."""

    name: str
    precision: str
    rows: int
    size: int
    parameters: tuple[int, int]
    traced: Work
    closed: Work
    peaks: tuple[float, float]

    def bytes_pct(self, kind: str) -> float | None:
        """Of one class; None where the trace has none."""
        traced = self.traced.moved_bytes.get(kind)
        return off_pct(traced, self.closed.moved_bytes.get(kind, 0.0)) if traced else None

    def off_pct(self) -> dict[str, float]:
        """The closed form relative to the trace, of what has a bound."""
        moved = [sum(work.moved_bytes.values()) for work in (self.traced, self.closed)]
        return {
            "parameters": off_pct(*self.parameters),
            "FLOPs": off_pct(self.traced.flops, self.closed.flops),
            "bytes": off_pct(*moved),
            "elementwise bytes": self.bytes_pct("elementwise") or 0.0,
            "peak memory": off_pct(*self.peaks),
        }

    def misses(self) -> list[str]:
        """What is out of bounds, in words."""
        where = f"{self.name} in {self.precision}"
        return [f"{where}: {what} {off:+.2f} %" for what, off in self.off_pct().items() if abs(off) > BOUNDS_PCT[what]]


def off_pct(traced: float, closed: float) -> float:
    """Of the closed form, relative to the trace."""
    return 100.0 * (closed / traced - 1.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Trace all, compare, print, write; 1 if anything is out of bounds."""
    parser = argparse.ArgumentParser(description="Compare the closed form of named workloads with traces.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these workloads")
    parser.add_argument("--json", type=Path, default=None, help=f"default {RESULTS.name}, if all are compared")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in USUAL_ROWS:
            parser.error(f"no network is written down for {name!r}; those there are: {', '.join(USUAL_ROWS)}")
    started = time.perf_counter()
    found = compared([usual(name, precision) for name in options.names or USUAL_ROWS for precision in PRECISIONS])
    misses = [miss for one in found for miss in one.misses()]
    _print(found, misses)
    result = _result(found, misses, seconds=time.perf_counter() - started)
    path = options.json or (None if options.names else RESULTS)
    if path:
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: value for name, value in result.items() if name != "rows"}))
    return 1 if misses else 0


def usual(name: str, precision: str) -> Case:
    """At the size and the batch of the table."""
    facts = workloads()[name]
    return Case(name, precision, USUAL_ROWS[name], PER_FRAME.get(name, (facts.image or facts.sequence,)))


def compared(cases: Sequence[Case]) -> list[Compared]:
    """Each case by both; all traces in one process."""
    asked = [config for case in cases for config in _configs(case)]
    answers = zip(asked, traced(asked, python=sys.executable), strict=True)
    return [_compared(case, answers) for case in cases]


def _configs(case: Case) -> list[Config]:
    """What is traced for a case: at each size without its recurrent layers, and with them if it has any."""
    facts = workloads()[case.name]
    recurrent = any(part.recurrent for part in network_of(facts, size=case.sizes[0]).parts)
    common = facts.dimensions | {"name": case.name, "family": facts.family, "optimizer": facts.optimizer,
                                 "precision": case.precision, "rows": case.rows, "library": "networks"}  # fmt: skip
    ways = (False, True) if recurrent else (False,)
    return [common | {"size": size, "unrolled": unrolled} for size in case.sizes for unrolled in ways]


def _compared(case: Case, answers: Iterator[tuple[Config, dict[str, Any]]]) -> Compared:
    """Takes as many answers as the case has asked for."""
    traces = [_trace_of(*next(answers)) for _ in _configs(case)]
    ways = len(traces) // len(case.sizes)
    by_trace = [_traced_work(traces[at], traces[at + ways - 1]) for at in range(0, len(traces), ways)]
    by_form = [_closed_work(case, size) for size in case.sizes]
    footprint = _footprint(case, case.sizes[0])
    parameters = (traces[0]["parameters"], footprint.parameters)
    peak = sum(line.at(case.rows) for line in _footprint(case, case.sizes[-1]).peak(case.rows).alive_bytes.values())
    return Compared(case.name, case.precision, case.rows, case.sizes[-1], parameters, _of_one(by_trace, case.sizes),
                    _of_one(by_form, case.sizes), (_peak_bytes(traces[-ways]), peak))  # fmt: skip


def _trace_of(config: Config, answer: dict[str, Any]) -> dict[str, Any]:
    if "failure" in answer:
        raise RuntimeError(f"{config['name']} could not be traced: {answer['failure']}")
    trace: dict[str, Any] = answer["document"]["traces"][0]
    return trace


def _peak_bytes(trace: dict[str, Any]) -> float:
    """Of all tensors that are alive at once."""
    alive: list[float] = [sum(line[0] for line in moment["alive"].values()) for moment in trace["moments"]]
    return max(alive)


def _of_one(found: Sequence[Work], sizes: Sequence[int]) -> Work:
    """The work itself; of two sizes what one more adds."""
    return found[0] if len(found) == 1 else found[1].less(found[0], share=1 / (sizes[1] - sizes[0]))


def _traced_work(trace: dict[str, Any], unrolled: dict[str, Any]) -> Work:
    moved: dict[str, float] = dict.fromkeys(CLASSES, 0.0)
    for kind, name, _, _, line, _, count in trace["kernels"]:
        moved[CLASS_OF.get(kind, kind)] += RECOUNTED.get(name, 1.0) * line[0] * count
    flops = sum(operators["flops"][0] for operators in unrolled["operators"])
    return Work(flops, moved, sum(operators["kernels"] for operators in trace["operators"]))


def _closed_work(case: Case, size: int) -> Work:
    footprint = _footprint(case, size)
    seen = [part for part in network_of(workloads()[case.name], size=size).parts if not part.recurrent]
    optimizer = [operators for operators in footprint.operators if operators.kind == "optimizer"]
    operators = [*operators_of(seen, activation_bytes=2 if case.precision == "fp16" else 4), *optimizer]
    moved: dict[str, float] = dict.fromkeys(CLASSES, 0.0)
    for one in operators:
        moved[CLASS_OF.get(one.kind, one.kind)] += one.moved_bytes.at(case.rows)
    return Work(footprint.flops(case.rows), moved, sum(one.kernels for one in operators))


def _footprint(case: Case, size: int) -> Footprint:
    found = footprint_of_shape(case.name, precision=case.precision, sequence=size, image=size)
    if isinstance(found, Unknown):
        raise TypeError(f"{case.name}: {found.reason}")
    return found


def _print(found: Sequence[Compared], misses: Sequence[str]) -> None:
    print(f"{'closed form over trace, in %':40}{'rows':>8}{'params':>8}{'FLOPs':>7}{'bytes':>7}{'memory':>8}"
          f"{''.join(f'{kind:>12}' for kind in CLASSES)}{'kernels':>14}")  # fmt: skip
    for one in found:
        classes = "".join(f"{_shown(one.bytes_pct(kind)):>12}" for kind in CLASSES)
        kernels = f"{one.closed.kernels:.0f} / {one.traced.kernels:.0f}"
        off = one.off_pct()
        print(f"{one.name:35}{one.precision:5}{one.rows:8}{off['parameters']:8.2f}{off['FLOPs']:7.2f}"
              f"{off['bytes']:7.1f}{off['peak memory']:8.1f}{classes}{kernels:>14}")  # fmt: skip
    for miss in misses:
        print(f"out of bounds: {miss}")


def _shown(percent: float | None) -> str:
    return "-" if percent is None else f"{percent:.1f}"


def _result(found: Sequence[Compared], misses: Sequence[str], *, seconds: float) -> dict[str, Any]:
    return {
        "workloads": len({one.name for one in found}),
        "compared": len(found),
        "out_of_bounds": len(misses),
        "max_abs_pct": {what: round(max(abs(one.off_pct()[what]) for one in found), 3) for what in BOUNDS_PCT},
        "seconds": round(seconds, 1),
        "rows": [_row(one) for one in found],
    }


def _row(one: Compared) -> dict[str, Any]:
    return {
        "name": one.name, "precision": one.precision, "rows": one.rows, "size": one.size,
        "parameters": one.parameters[0], "traced_flops": one.traced.flops,
        "traced_bytes": {kind: round(size) for kind, size in one.traced.moved_bytes.items() if size},
        "off_pct": {what: round(off, 3) for what, off in one.off_pct().items()},
        "bytes_off_pct": {kind: round(off, 2) for kind in CLASSES if (off := one.bytes_pct(kind)) is not None},
        "peak_bytes": round(one.peaks[0]), "traced_kernels": one.traced.kernels, "closed_kernels": one.closed.kernels,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
