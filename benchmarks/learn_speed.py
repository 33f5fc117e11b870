"""How fast foreign logs are read: 1 GB of torchtune, Hugging Face and CSV logs, on one core, in how much memory.

    python benchmarks/learn_speed.py [--megabytes 1000] [--json FILE]

Writes the logs to a temporary folder, reads them in a child process bound to one core, prints a table, and as its last
line one JSON object, also in benchmarks/results/learn_speed.json. The bar: under 20 s and under 200 MB for 1 GB, in
seconds of that core's time; the wall clock, which others on the machine lengthen, stands beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RESULTS = Path(__file__).parent / "results" / "learn_speed.json"
BAR_S, BAR_BYTES = 20.0, 200 * 10**6
STEPS_AN_EPOCH = 5000
STEP_S = 0.35
CHILD = """
import json, os, resource, sys, time
from pathlib import Path
from gpuplan.observe.logs import read_logs
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
found = []
for path in sorted(Path(sys.argv[1]).iterdir()):
    wall, cpu = time.perf_counter(), time.process_time()
    for run in read_logs(path):
        measurement = getattr(run, "measurement", None)
        found.append({
            "file": path.name,
            "bytes": path.stat().st_size,
            "seconds": time.perf_counter() - wall,
            "cpu_s": time.process_time() - cpu,
            "steps": measurement.steps if measurement else 0,
            "step_s": measurement.step_s if measurement else None,
            "loss": measurement.final.get("loss") if measurement else None,
            "flags": list(measurement.flags) if measurement else [str(run)],
        })
# getrusage would count the parent, whose pages a new process has until it becomes this program.
status = Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else []
own = [1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
peak = own[0] if own else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"files": found, "peak_rss_bytes": peak}))
"""


def torchtune() -> Iterator[str]:
    """The bar of a LoRA recipe, drawn at every step with carriage returns."""
    yield "Running LoRAFinetuneRecipeSingleDevice with resolved config:\n\n"
    for step in count():
        epoch, done = divmod(step, STEPS_AN_EPOCH)
        elapsed_s = int((done + 1) * STEP_S)
        clock = f"{elapsed_s // 60:02d}:{elapsed_s % 60:02d}"
        percent = 100 * (done + 1) // STEPS_AN_EPOCH
        yield (
            f"\r{epoch + 1}|{step + 1}|Loss: {loss_at(step)!r}: {percent:3d}%|{'█' * (percent // 10):<10}| "
            f"{done + 1}/{STEPS_AN_EPOCH} [{clock}<01:42,  {1 / STEP_S:.2f}it/s]"
        )


def hugging_face() -> Iterator[str]:
    """The dicts that a Trainer prints at every step, with an evaluation now and then."""
    for step in count(1):
        epoch = f"{step / STEPS_AN_EPOCH:.2f}"
        yield (
            f"{{'loss': {loss_at(step):.4f}, 'grad_norm': {1 + step % 7 / 7!r}, 'learning_rate': "
            f"{5e-5 / (1 + step / 1e6):.6g}, 'epoch': {epoch}}}\n"
        )
        if step % STEPS_AN_EPOCH == 0:
            yield (
                f"{{'eval_loss': {loss_at(step):.4f}, 'eval_runtime': 12.5, 'eval_samples_per_second': 80.1, "
                f"'eval_steps_per_second': 10.0, 'epoch': {epoch}}}\n"
            )


def csv() -> Iterator[str]:
    """A table with a row for each step."""
    yield "step,epoch,train_loss,learning_rate,step_time_s,grad_norm\n"
    for step in count():
        yield f"{step},{step // STEPS_AN_EPOCH},{loss_at(step)!r},0.0003,{STEP_S + step % 11 / 1000:.4f},1.25\n"


def loss_at(step: int) -> float:
    """A loss that falls, with the digits of a real one."""
    return 2.5 / (1 + step / 1e5) + (step * 2654435761 % 1000) / 1e5 + 1e-7


def write(path: Path, lines: Callable[[], Iterator[str]], size_bytes: int) -> None:
    """Write lines until the file is as large as that."""
    written, part = 0, []
    with path.open("w", encoding="utf-8", newline="") as file:
        for number, line in enumerate(lines()):
            part.append(line)
            if number % 10_000 == 0:
                text = "".join(part)
                file.write(text)
                written, part = written + len(text.encode()), []
                if written >= size_bytes:
                    return


def main(arguments: list[str]) -> int:
    """Write, read, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    logs = {"torchtune.out": torchtune, "hf_stdout.log": hugging_face, "metrics.csv": csv}
    with tempfile.TemporaryDirectory() as folder:
        for name, lines in logs.items():
            write(Path(folder, name), lines, options.megabytes * 10**6 // len(logs))
        done = subprocess.run([sys.executable, "-c", CHILD, folder], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    for each in found["files"]:
        rate = each["bytes"] / 1e6 / each["cpu_s"]
        print(
            f"{each['file']:<16}{each['bytes'] / 1e6:6.0f} MB {each['cpu_s']:6.2f} s of the core {rate:5.0f} MB/s   "
            f"{each['steps']:>9,} steps, {each['step_s']} s each, flags {each['flags']}"
        )
    seconds = sum(each["seconds"] for each in found["files"])
    read_bytes = sum(each["bytes"] for each in found["files"])
    cpu_s = sum(each["cpu_s"] for each in found["files"])
    answer = {
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "bytes": read_bytes,
        "seconds": seconds,
        "cpu_s": cpu_s,
        "peak_rss_bytes": found["peak_rss_bytes"],
        "within_bar": cpu_s < BAR_S * read_bytes / 1e9 and found["peak_rss_bytes"] < BAR_BYTES,
        "files": found["files"],
    }
    peak_mb, clock = found["peak_rss_bytes"] / 1e6, f"{seconds:.1f} s on the clock"
    print(f"{read_bytes / 1e6:.0f} MB in {cpu_s:.1f} s of one core ({clock}), peak memory {peak_mb:.0f} MB")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(answer, indent=2) + "\n")
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
