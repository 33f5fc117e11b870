"""Do trace and closed form agree? `agreement.py [--python PYTHON_WITH_TRANSFORMERS] [--json OUT]`.

Every configuration of the grid is traced and compared with the closed form in peak allocated bytes. Prints the
distribution a family, the worst with what is alive at their peaks, and as the last line one JSON object. It measures
no GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from agreement_grid import Config, grid

from gpuplan.footprint import Unknown, closed_form
from gpuplan.footprint.closed_form import sized
from gpuplan.model import Architecture, Footprint
from gpuplan.trace import runner

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path(__file__).parent / "results" / "agreement.json"
CLOSE_PCT = 5.0
MODULES = {"plain": "agreement_models", "hf": "agreement_hf", "networks": "agreement_networks"}
SHOWN = ("rows", "sequence", "precision", "checkpointing", "optimizer", "attention", "lora", "tied")


class Compared(NamedTuple):
    """One configuration: the peak of the trace and of the closed form in bytes, and what each is made of."""

    config: Config
    traced_bytes: float
    closed_bytes: float
    traced_phase: str
    closed_phase: str
    traced_alive: dict[str, float]
    closed_alive: dict[str, float]

    @property
    def error_pct(self) -> float:
        """Of the closed form, relative to the trace."""
        return 100.0 * (self.closed_bytes / self.traced_bytes - 1.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Trace the grid, compare, print, write."""
    options = _parser().parse_args(arguments)
    started = time.perf_counter()
    configs = grid(transformers=_has_transformers(options.python))
    if options.every > 1:
        configs = configs[:: options.every]
    answers = traced(configs, python=options.python)
    failed = [f"{config['name']}: {answer['failure']}" for config, answer in zip(configs, answers, strict=True)
              if "failure" in answer]  # fmt: skip
    found = [compare(config, answer) for config, answer in zip(configs, answers, strict=True)
             if "failure" not in answer]  # fmt: skip
    for line in failed:
        print(f"not traced: {line[:300]}")
    _print(found)
    result = _result(found, failed=len(failed), seconds=time.perf_counter() - started)
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: value for name, value in result.items() if name != "rows"}))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Compare the closed form with traces.")
    parser.add_argument("--python", default=sys.executable, help="traces; with transformers its modules are there too")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth configuration")
    parser.add_argument("--json", type=Path, default=RESULTS)
    return parser


def _has_transformers(python: str) -> bool:
    return subprocess.run([python, "-c", "import transformers"], capture_output=True, check=False).returncode == 0


def traced(configs: Sequence[Config], *, python: str) -> list[dict[str, Any]]:
    """The document of each configuration's trace, or its failure; all in one process of `python`."""
    with tempfile.TemporaryDirectory(prefix="agreement-") as folder:
        requests, answers = Path(folder, "requests.json"), Path(folder, "answers.jsonl")
        requests.write_text(json.dumps([_request(config, folder, python) for config in configs]), encoding="utf-8")
        child = Path(__file__).with_name("agreement_child.py")
        subprocess.run(
            [python, "-W", "ignore", str(child), str(requests), str(answers)],
            env={**os.environ, **runner.QUIET, "TRANSFORMERS_VERBOSITY": "error"},
            check=True,
        )
        return [json.loads(line) for line in answers.read_text("utf-8").splitlines()]


def _request(config: Config, folder: str, python: str) -> dict[str, Any]:
    """As `gpuplan trace` would ask, at the configuration's micro-batch alone."""
    module = MODULES[config["library"]]
    asked = runner._asked(  # noqa: SLF001  one process for all requests is the benchmark's own way
        f"{module}:make_step", python=python, workdir=Path(__file__).parent, limits=runner.Limits()
    )
    request = runner._request(  # noqa: SLF001
        asked, config, micro_batch="rows", batches=(config["rows"],), device="cuda", capability="8.0", ranks=1
    )
    return request | {"result": f"{folder}/result", "crash": f"{folder}/crash"}


def compare(config: Config, answer: dict[str, Any]) -> Compared:
    """Both peaks at the configuration's micro-batch."""
    rows = config["rows"]
    moments = [
        (moment["phase"], {name: line[0] + line[1] * rows for name, line in moment["alive"].items()})
        for moment in answer["document"]["traces"][0]["moments"]
    ]
    phase, alive = max(moments, key=lambda moment: sum(moment[1].values()))
    peak = footprint_of(config).peak(rows)
    closed = {name: line.at(rows) for name, line in peak.alive_bytes.items()}
    return Compared(config, sum(alive.values()), sum(closed.values()), phase, peak.phase, alive, closed)  # type: ignore[arg-type]


def footprint_of(config: Config) -> Footprint:
    """The closed form of a configuration."""
    precision = "fp32" if config["precision"] == "fp32" else "bf16"
    found = closed_form(architecture_of(config), {"dropout": config["dropout"]}, precision=precision)
    if isinstance(found, Unknown):
        raise TypeError(f"{config['name']}: {found.reason}")
    return found


def architecture_of(config: Config) -> Architecture:
    """A configuration as a spec would declare it."""
    same = ("kind", "layers", "d_model", "heads", "kv_heads", "head_dim", "feedforward", "sequence", "gated", "tied",
            "learned_positions", "activation", "bias", "optimizer", "checkpointing")  # fmt: skip
    optional = ("classes", "patch", "image", "experts", "vocabulary")
    fields: dict[str, Any] = {name: config[name] for name in same}
    fields |= {name: config[name] for name in optional if config[name]}
    fields |= {"attention": "eager"} if config["attention"] == "eager" else {}
    fields |= {"experts_per_token": config["experts_per_token"]} if config["experts"] else {}
    fields |= {"method": "lora", "adapter_rank": config["lora"]} if config["lora"] else {}
    fields |= {"storage": "bf16"} if config["precision"] == "pure" else {}
    return Architecture(**fields, library="hf" if config["library"] == "hf" else None)


def _print(found: Sequence[Compared]) -> None:
    print(f"{'family':14}{'configs':>8}{'within 5 %':>11}{'median':>8}{'p90':>8}{'worst':>8}")
    for name in dict.fromkeys(_family(one) for one in found):
        errors = sorted((one.error_pct for one in found if _family(one) == name), key=abs)
        sizes = [abs(error) for error in errors]
        print(f"{name:14}{len(errors):8}{_close(errors):11}{statistics.median(sizes):8.2f}"
              f"{sizes[int(0.9 * (len(sizes) - 1))]:8.2f}{errors[-1]:8.1f}")  # fmt: skip
    print("\nthe ten furthest apart:")
    for one in sorted(found, key=lambda one: -abs(one.error_pct))[:10]:
        print(f"{one.error_pct:7.2f} %  {one.config['name']} { ({name: one.config[name] for name in SHOWN}) }")
        for who, phase, alive in (("trace", one.traced_phase, one.traced_alive),
                                  ("closed form", one.closed_phase, one.closed_alive)):  # fmt: skip
            parts = ", ".join(f"{name} {size / 2**20:,.1f}" for name, size in alive.items() if size > 2**16)
            print(f"           {who:12} peaks in {phase}: MiB of {parts}")


def _family(one: Compared) -> str:
    return f"{one.config['library']} {one.config['family']}"


def _close(errors: Sequence[float]) -> int:
    return sum(abs(error) <= CLOSE_PCT for error in errors)


def _result(found: Sequence[Compared], *, failed: int, seconds: float) -> dict[str, Any]:
    errors = [one.error_pct for one in found]
    times = [_closed_form_s(one.config) for one in found]
    return {
        "configs": len(found),
        "not_traced": failed,
        "within_5_pct": _close(errors),
        "median_abs_pct": round(statistics.median(map(abs, errors)), 4),
        "mean_abs_pct": round(statistics.fmean(map(abs, errors)), 4),
        "max_abs_pct": round(max(map(abs, errors)), 2),
        "closed_form_median_ms": round(1e3 * statistics.median(times), 3),
        "closed_form_max_ms": round(1e3 * max(times), 3),
        "seconds": round(seconds, 1),
        "rows": [
            {"name": one.config["name"], "library": one.config["library"], "error_pct": round(one.error_pct, 3),
             "traced_bytes": round(one.traced_bytes), "phase": one.traced_phase,
             **{name: one.config[name] for name in SHOWN}}
            for one in found
        ],
    }  # fmt: skip


def _closed_form_s(config: Config) -> float:
    """Seconds of one closed form that nothing remembers, the shortest of three."""
    seconds = []
    for _ in range(3):
        sized.cache_clear()
        started = time.perf_counter()
        footprint_of(config)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


if __name__ == "__main__":
    sys.exit(main())
