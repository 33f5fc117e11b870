"""Tables of other programs: two writers in one file, restarts, units, and the AG News records."""

from __future__ import annotations

from pathlib import Path

import log_samples as samples
import pytest
from test_logs_formats import noted, only, runs, written

from gpuplan.observe.logs import Refusal, read_logs

AGNEWS = Path(__file__).parents[4] / "shared" / "data" / "logs" / "agnews"
HEADER = "epoch,train_loss,train_time,val_loss,val_acc\n"
ALONE_LOSS, UNSHARDED_LOSS = 0.57, 0.4185
"""Train loss after the first epoch on 1 and on 4 GPUs, as codeharris/multi-gpu-ddp recorded it (exp041, exp042)."""
ALONE_S, UNSHARDED_S = 19.5, 42.3
"""Mean seconds of an epoch of the same two."""


def epochs(first: int, last: int, *, loss: float, seconds: float) -> list[str]:
    return [f"{epoch},{loss / epoch},{seconds + epoch % 3 / 10},0.5,0.8\n" for epoch in range(first, last + 1)]


def agnews_shapes(folder: Path) -> Path:
    """One file by one program; one by two that write in turns, of which the second had begun earlier."""
    alone, both = folder / "exp041_agnews_1gpu", folder / "exp042_agnews_ddp_4gpu"
    alone.mkdir()
    both.mkdir()
    (alone / "metrics.csv").write_text(HEADER + "".join(epochs(1, 20, loss=ALONE_LOSS, seconds=ALONE_S)))
    older, younger = (epochs(first, 20, loss=UNSHARDED_LOSS, seconds=UNSHARDED_S) for first in (6, 1))
    turns = [row for pair in zip(older, younger, strict=False) for row in pair] + younger[len(older) :]
    (both / "metrics.csv").write_text(HEADER + "".join(turns))
    return folder


def test_two_jobs_that_wrote_one_file_are_two_runs(tmp_path: Path) -> None:
    alone, older, younger = runs(agnews_shapes(tmp_path))
    assert alone.name == "exp041_agnews_1gpu"
    assert alone.epochs["loss"][0] == ALONE_LOSS
    assert alone.measurement.epoch_s == pytest.approx(ALONE_S + 0.1, abs=0.05)
    assert alone.measurement.flags == ()
    assert (older.epochs["epoch"], younger.epochs["epoch"]) == (tuple(range(6, 21)), tuple(range(1, 21)))
    assert younger.epochs["loss"][0] == UNSHARDED_LOSS
    assert set(younger.epochs) == {"epoch", "loss", "epoch_s", "val_loss", "val_acc"}
    assert (older.lines, younger.lines) == ("2-30", "3-36")
    for run in (older, younger):
        assert any("another program wrote it at the same time" in flag for flag in run.measurement.flags)
        assert run.measurement.epoch_s == pytest.approx(UNSHARDED_S + 0.1, abs=0.05)


@pytest.mark.skipif(not AGNEWS.is_dir(), reason="the records themselves are not here")
def test_the_agnews_records() -> None:
    found = {run.name: run for run in runs(AGNEWS)}
    assert len(found) == 5
    imdb_1, imdb_4, alone, older, younger = found.values()
    assert (len(older.epochs["loss"]), len(younger.epochs["loss"])) == (15, 20)
    first_losses = [run.epochs["loss"][0] for run in (alone, younger)]
    assert first_losses == [pytest.approx(0.56999766), pytest.approx(0.41851499)]
    assert alone.measurement.epoch_s == pytest.approx(19.53, abs=0.01)
    assert younger.measurement.epoch_s == pytest.approx(42.29, abs=0.01)
    assert imdb_1.measurement.epoch_s is not None
    assert imdb_4.measurement.epoch_s is not None
    assert imdb_1.measurement.epoch_s / imdb_4.measurement.epoch_s == pytest.approx(3.49, abs=0.01)


def test_a_program_that_began_anew_is_a_run_of_its_own(tmp_path: Path) -> None:
    both = samples.csv_steps(steps=100) + samples.csv_steps(steps=300).partition("\n")[2]
    first, second = runs(written(tmp_path, "steps.csv", both))
    assert (first.measurement.steps, second.measurement.steps) == (99, 299)
    assert all(any("stand in it twice" in flag for flag in run.measurement.flags) for run in (first, second))


def test_a_program_that_resumed_is_one_run(tmp_path: Path) -> None:
    rows = samples.csv_steps(steps=100) + samples.csv_steps(steps=300, first=80).partition("\n")[2]
    run = only(written(tmp_path, "steps.csv", rows))
    assert run.measurement.steps == 379
    assert run.measurement.final["train_loss"] == samples.loss_at(379)


def test_many_rows_at_once_come_to_the_same_as_one_by_one(tmp_path: Path) -> None:
    plain = samples.csv_steps(steps=3000)
    quoted = "\n".join(f'"{row.replace(",", chr(34) + "," + chr(34))}"' for row in plain.splitlines()) + "\n"
    fast, slow = only(written(tmp_path, "a.csv", plain)), only(written(tmp_path, "b.csv", quoted))
    assert fast.measurement == slow.measurement


@pytest.mark.parametrize(
    ("column", "value", "step_s", "said"),
    [
        ("step_time_ms", 250.0, 0.25, ""),
        ("step_time", 0.25, 0.25, "no unit; taken as seconds"),
        ("step_time", 250.0, None, ""),
        ("dt", 45.0, None, ""),
    ],
)
def test_the_unit_of_a_step_time(tmp_path: Path, column: str, value: float, step_s: float | None, said: str) -> None:
    rows = "".join(f"{step},1.5,{value}\n" for step in range(50))
    run = only(written(tmp_path, "m.csv", f"step,loss,{column}\n{rows}"))
    assert run.measurement.step_s == step_s
    assert noted(run, said) or not said
    assert (run.measurement.flags != ()) == (step_s is None)


@pytest.mark.parametrize(("column", "step_s", "flagged"), [("step_time", 0.25, False), ("step_time_s", 0.25, True)])
def test_the_clock_confirms_or_contradicts(tmp_path: Path, column: str, step_s: float, *, flagged: bool) -> None:
    """The figures are milliseconds: a name without a unit is understood, one that says seconds is not believed."""
    rows = "".join(f"{step},1.5,250.0,{1.7e9 + step / 4}\n" for step in range(50))
    run = only(written(tmp_path, "m.csv", f"step,loss,{column},timestamp\n{rows}"))
    assert run.measurement.step_s == pytest.approx(step_s)
    assert bool(run.measurement.flags) == flagged


@pytest.mark.parametrize(
    ("column", "value", "size"),
    [
        ("peak_mem_gib", 10.0, 10 * 2**30),
        ("gpu_memory_mb", 10_000.0, 10 * 10**9),
        ("gpu_memory_mib", 10_240.0, 10 * 2**30),
        ("max_memory_allocated", 5e9, 5 * 10**9),
        ("gpu_mem_gb", 18_234.0, None),
        ("gpu_mem", 11.5, None),
    ],
)
def test_the_unit_of_memory(tmp_path: Path, column: str, value: float, size: int | None) -> None:
    rows = "".join(f"{step},1.5,{value}\n" for step in range(20))
    measured = only(written(tmp_path, "m.csv", f"step,loss,{column}\n{rows}")).measurement
    assert (measured.peak_device_bytes or measured.peak_allocated_bytes) == size


def test_lines_that_lie_are_said_and_left_out(tmp_path: Path) -> None:
    rows = samples.csv_steps(steps=200).splitlines()
    rows[50] = "49,nan,0.5"
    rows[60] = "59,0.5,-3"
    rows[70] = "69,0.5,0"
    rows[80] = "not,a,row,at,all"
    rows[90] = "-5,0.5,0.5"
    run = only(written(tmp_path, "m.csv", "\n".join(rows) + "\n"))
    assert run.measurement.step_s == 0.5
    flags = " ".join(run.measurement.flags)
    for said in ("no finite number", "without seconds above zero (2 times)", "header's columns"):
        assert said in flags


def test_a_clock_that_jumps(tmp_path: Path) -> None:
    clocks = [1.7e9 + step / 2 + (90_000 if step > 100 else 0) - (5000 if step > 150 else 0) for step in range(200)]
    rows = "".join(f"{step},1.5,{at}\n" for step, at in enumerate(clocks))
    run = only(written(tmp_path, "m.csv", "step,loss,timestamp\n" + rows))
    assert run.measurement.step_s == 0.5
    flags = " ".join(run.measurement.flags)
    assert "jumps ahead" in flags
    assert "goes back" in flags


def test_a_table_without_a_place_on_the_run_is_refused(tmp_path: Path) -> None:
    found = list(read_logs(written(tmp_path, "people.csv", "name,age\nann,41\n")))
    assert [type(each) for each in found] == [Refusal]
