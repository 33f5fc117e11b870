"""Measurements from records of gpuplan.track: warm-up, attempts, ranks, clocks, sizes; and from a real run of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from track_lines import START, epoch, start, steps, walk, write

from gpuplan.model import Sample
from gpuplan.observe.metrics import measure, series

if TYPE_CHECKING:
    from pathlib import Path


# ---------------------------------------------------------------- real runs


def test_what_a_real_program_writes(tmp_path: Path) -> None:
    program = """
import time
from gpuplan import track
run = track.start(dataset_rows=60, batch_size=4, parameters=11)
time.sleep(0.3)
for epoch in (1, 2, 3):
    run.mark()
    began = time.monotonic()
    for _ in range(15):
        time.sleep(0.02)
        run.step(samples=4, loss=1.0 / epoch)
    seconds = time.monotonic() - began
    run.mark()
    time.sleep(0.1)
    run.epoch(epoch, samples=60, seconds=seconds, val_acc=0.5 + epoch / 10)
run.checkpoint("model.bin", step=45)
run.final(accuracy=0.75)
"""
    (tmp_path / "model.bin").write_bytes(bytes(1234))
    launched_at = time.time()
    variables = {key: value for key, value in os.environ.items() if key not in {"RANK", "WORLD_SIZE"}}
    subprocess.run([sys.executable, "-c", program], check=True, env=variables | {"GPUPLAN_RUN_DIR": str(tmp_path)})
    found = measure(tmp_path, launched_at=launched_at, ended_at=time.time())
    assert found.flags == ()
    assert (found.dataset_rows, found.batch_size, found.parameters) == (60, 4, 11)
    assert (found.steps, found.epochs, found.samples_per_epoch_by_rank) == (45, 3, (60.0,))
    assert found.step_s is not None
    assert 0.02 <= found.step_s < 1
    assert found.epoch_s is not None
    assert 0.3 <= found.epoch_s < 10
    assert found.samples_per_s == pytest.approx(60 / found.epoch_s)
    assert found.startup_s is not None
    assert found.startup_s >= 0.3
    assert found.other_s is not None
    assert 0.3 <= found.other_s < 10
    assert found.peak_host_bytes is not None
    assert found.peak_host_bytes > 5_000_000
    assert found.final == {"loss": pytest.approx(1 / 3), "val_acc": pytest.approx(0.8), "accuracy": 0.75}
    assert found.best == {"loss": pytest.approx(1 / 3), "val_acc": pytest.approx(0.8), "accuracy": 0.75}
    assert found.checkpoint_bytes == 1234
    assert found.disk_bytes is not None
    assert found.disk_bytes > 1234
    accuracy = series(tmp_path)["val_acc"]
    assert accuracy.axis == "step"
    assert [point.at for point in accuracy.points] == [15, 30, 45]


# ---------------------------------------------------------------- warm-up and rates


def test_the_first_tenth_of_the_steps_is_warm_up(tmp_path: Path) -> None:
    slow = [steps(step, START + step, seconds=5.0) for step in range(1, 4)]
    write(tmp_path, start(), *slow, *walk(4, 30, at=START + 100))
    found = measure(tmp_path)
    assert (found.step_p10_s, found.step_s, found.step_p90_s) == (0.5, 0.5, 0.5)
    assert found.samples_per_s == pytest.approx(64)
    assert found.steps == 30


def test_at_most_ten_steps_are_warm_up(tmp_path: Path) -> None:
    slow = [steps(step, START + step, seconds=5.0) for step in range(1, 101)]
    write(tmp_path, start(), *slow, *walk(101, 1000, at=START + 1000))
    found = measure(tmp_path)
    assert found.samples_per_s == pytest.approx(32 * 990 / (90 * 5 + 900 * 0.5))


def test_each_attempt_warms_up_anew(tmp_path: Path) -> None:
    again = [steps(step, START + 500 + step, seconds=9.0) for step in (21, 22)]
    write(tmp_path, start(), *walk(1, 20, at=START), start(20, START + 500), *again, *walk(23, 40, at=START + 600))
    assert measure(tmp_path).step_p90_s == 0.5


def test_a_run_of_one_record_has_nothing_else(tmp_path: Path) -> None:
    found = measure(write(tmp_path, start(), steps(8, START + 1, seconds=0.4, count=8)))
    assert found.step_s == pytest.approx(0.05)
    assert found.samples_per_s is None
    assert found.flags == ()


def test_records_weigh_by_their_steps(tmp_path: Path) -> None:
    write(tmp_path, start(), steps(10, START, count=10), steps(1000, START, count=990, seconds=99.0),
          steps(1001, START, seconds=3.0))  # fmt: skip
    found = measure(tmp_path)
    assert found.step_s == found.step_p90_s == pytest.approx(0.1)


def test_the_first_epoch_is_warm_up(tmp_path: Path) -> None:
    lines = [epoch(number, number * 10, seconds=30.0 if number == 1 else 20.0, samples=100) for number in (1, 2, 3)]
    found = measure(write(tmp_path, start(), *lines))
    assert found.epoch_s == 20.0
    assert found.samples_per_s == 5.0
    assert found.epochs == 3


# ---------------------------------------------------------------- attempts


def test_a_resumed_attempt_supersedes_what_came_after_its_step(tmp_path: Path) -> None:
    first = [start(), *walk(1, 30, at=START), epoch(1, 30, seconds=15, samples=960, at=START + 15, val_acc=0.9)]
    lost = steps(50, START + 50, loss=0.001)
    resumed = [start(40, START + 100, attempt=2), *walk(41, 60, at=START + 101), steps(60, START + 200, loss=0.5)]
    found = measure(write(tmp_path, *first, lost, *resumed))
    assert found.steps == 60
    assert found.final["loss"] == 0.5
    assert found.best["loss"] == 0.5
    assert found.final["val_acc"] == 0.9
    assert found.flags == ()
    assert [point.at for point in series(tmp_path)["loss"].points] == [60]


def test_a_fresh_start_supersedes_everything(tmp_path: Path) -> None:
    old = [start(), epoch(1, 10, seconds=1, samples=10, val_acc=0.99), {"event": "final", "step": 10, "accuracy": 1.0}]
    found = measure(write(tmp_path, *old, start(0, START + 100), *walk(1, 5, at=START + 100)))
    assert found.final == {}
    assert found.epochs == 0
    assert found.steps == 5


def test_a_resumed_attempt_that_goes_back_further_wins(tmp_path: Path) -> None:
    lines = [start(), *walk(1, 9, at=START), start(8, START + 20), steps(12, START + 21, loss=7.0),
             start(4, START + 40), steps(5, START + 41, loss=3.0)]  # fmt: skip
    found = measure(write(tmp_path, *lines))
    assert found.steps == 5
    assert found.best["loss"] == 3.0


def test_an_epoch_cut_in_two_by_a_stop_is_no_whole_epoch(tmp_path: Path) -> None:
    whole = [start(), epoch(1, 100, seconds=10, samples=1000), {"event": "leave", "step": 150, "time_s": START}]
    rest = [start(150, START + 50), epoch(2, 200, seconds=5, samples=500), epoch(3, 300, seconds=12, samples=1000)]
    found = measure(write(tmp_path, *whole, *rest))
    assert found.samples_per_epoch_by_rank == (1000.0,)
    assert found.epoch_s == 12.0
    assert found.epochs == 3


def test_a_resume_at_the_end_of_an_epoch_cuts_nothing(tmp_path: Path) -> None:
    lines = [start(), epoch(1, 100, seconds=10, samples=1000), start(100), epoch(2, 200, seconds=11, samples=1000)]
    assert measure(write(tmp_path, *lines)).samples_per_epoch_by_rank == (1000.0,)
    assert measure(tmp_path).epoch_s == 10.5


def test_records_before_any_start_count(tmp_path: Path) -> None:
    assert measure(write(tmp_path, *walk(1, 30, at=START))).step_s == 0.5


# ---------------------------------------------------------------- ranks


def test_all_ranks_together(tmp_path: Path) -> None:
    for rank in range(4):
        lines = [epoch(number, number * 10, seconds=10.0 + rank, samples=1000) for number in (1, 2, 3)]
        final = {"event": "final", "step": 30, "peak_host_bytes": 1000 + rank, "peak_allocated_bytes": 500 - rank}
        write(tmp_path, start(world_size=4, rank=rank, dataset_rows=4000), *lines, final, rank=rank)
    found = measure(tmp_path)
    assert found.world_size == 4
    assert found.samples_per_epoch_by_rank == (1000.0,) * 4
    assert found.epoch_s == 13.0
    assert found.samples_per_s == pytest.approx(4000 / 13)
    assert (found.peak_host_bytes, found.peak_allocated_bytes, found.peak_reserved_bytes) == (1003, 500, None)
    assert found.flags == ()


def test_a_missing_rank_is_said(tmp_path: Path) -> None:
    write(tmp_path, start(world_size=3), *walk(1, 9, at=START))
    write(tmp_path, start(world_size=3), *walk(1, 9, at=START), rank=2)
    assert measure(tmp_path).flags == ("there are records of 2 of 3 ranks",)


def test_a_rank_of_an_earlier_larger_attempt_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path, start(world_size=2), start(0, START + 9, world_size=1), *walk(1, 9, at=START + 9))
    write(tmp_path, start(world_size=2), *walk(1, 5, at=START, seconds=99.0), rank=1)
    found = measure(tmp_path)
    assert (found.world_size, found.step_s, found.flags) == (1, 0.5, ())


def test_finished_ranks_that_disagree_are_said(tmp_path: Path) -> None:
    write(tmp_path, start(world_size=2), *walk(1, 9, at=START))
    write(tmp_path, start(world_size=2), *walk(1, 8, at=START), rank=1)
    assert measure(tmp_path).flags == ()
    for rank in (0, 1):
        write(tmp_path, {"event": "final", "step": 9 - rank}, rank=rank)
    assert measure(tmp_path).flags == ("the ranks made different numbers of steps",)


# ---------------------------------------------------------------- times and sizes


def test_times_of_the_last_attempt(tmp_path: Path) -> None:
    write(tmp_path, start(), *walk(1, 5, at=START), start(5, START + 100), *walk(6, 15, at=START + 110))
    found = measure(tmp_path, launched_at=START + 95, ended_at=START + 120)
    assert found.startup_s == pytest.approx(15)
    assert found.duration_s == pytest.approx(25)
    assert found.other_s == pytest.approx(5)


def test_without_a_launch_there_is_no_start_up(tmp_path: Path) -> None:
    found = measure(write(tmp_path, start(), *walk(1, 10, at=START + 2)))
    assert found.startup_s is None
    assert found.duration_s == pytest.approx(7)
    assert found.other_s == pytest.approx(0)


def test_an_attempt_that_wrote_nothing_has_no_start_up(tmp_path: Path) -> None:
    found = measure(write(tmp_path, start(), *walk(1, 10, at=START)), launched_at=START + 500, ended_at=START + 501)
    assert found.startup_s is None
    assert found.duration_s == 1


def test_a_clock_that_jumps_backwards_is_flagged_and_not_used(tmp_path: Path) -> None:
    lines = [steps(1, START + 10), steps(2, START - 3600), steps(3, START - 3599)]
    found = measure(write(tmp_path, start(), *lines), launched_at=START - 1)
    assert found.flags == ("metrics.jsonl: the clock jumped backwards",)
    assert found.startup_s is None
    assert found.other_s is None
    assert found.step_s == 0.5


def test_a_first_step_before_the_launch_is_flagged(tmp_path: Path) -> None:
    found = measure(write(tmp_path, start(at=START), steps(1, START + 1, seconds=60.0)), launched_at=START - 1)
    assert found.flags == ("the first step lies before the launch",)
    assert found.startup_s is None


@pytest.mark.parametrize("seconds", [0, -1.5, "nan", "inf", None, [], {}, "1 s", 1e300, True])
def test_seconds_that_cannot_be_are_flagged_and_left_out(tmp_path: Path, seconds: object) -> None:
    found = measure(write(tmp_path, start(), steps(1, START) | {"seconds": seconds}, *walk(2, 30, at=START)))
    assert found.flags == ("metrics.jsonl: a record without seconds above zero",)
    assert found.step_s == 0.5


def test_samples_of_the_processes(tmp_path: Path) -> None:
    looks = [
        Sample(at=1.0, processes=2, host_bytes=300, cpu_s=1.0, device_bytes=70),
        Sample(at=2.0, processes=2, host_bytes=200, cpu_s=2.0, device_bytes=90),
    ]
    found = measure(tmp_path, ranks=2, samples=looks, peak_process_bytes=150, launched_at=5.0, ended_at=8.0)
    assert (found.peak_tree_bytes, found.peak_device_bytes, found.peak_host_bytes) == (300, 90, 150)
    assert (found.world_size, found.duration_s, found.flags) == (2, 3.0, ())


def test_checkpoints_outside_the_folder_have_no_size(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    (run_dir / "checkpoint-1").mkdir(parents=True)
    (run_dir / "checkpoint-1" / "weights").write_bytes(bytes(70))
    (run_dir / "link").symlink_to(tmp_path)
    (tmp_path / "secret").write_bytes(bytes(9999))
    names = ["checkpoint-1", "../secret", "/etc", "link", "gone", "a\0b", "\ud800", "x" * 5000, 7]
    write(run_dir, start(), *({"event": "checkpoint", "path": name, "step": 1, "time_s": START} for name in names))
    assert measure(run_dir).checkpoint_bytes == 70


def test_leaving_counts_for_the_launch_that_left(tmp_path: Path) -> None:
    records = ['{"event": "start", "time_s": 1000.0}', '{"event": "leave", "time_s": 1010.0}']
    (tmp_path / "metrics.jsonl").write_text("\n".join(records) + "\n")
    assert measure(tmp_path, launched_at=999.0).left
    assert not measure(tmp_path, launched_at=1020.0).left


# ---------------------------------------------------------------- how busy the device was


def looks(seconds: int, *, busy_from: int, busy: float = 0.9) -> list[Sample]:
    """A look every ten seconds; the device is busy from `busy_from` on."""
    return [
        Sample(at=START + at, processes=1, host_bytes=10**9, cpu_s=at, device_busy=busy if at >= busy_from else 0.0)
        for at in range(0, seconds + 1, 10)
    ]


def test_a_device_is_as_busy_as_after_the_start_up(tmp_path: Path) -> None:
    assert measure(tmp_path, samples=looks(400, busy_from=60)).device_busy == pytest.approx(0.9)
    assert measure(tmp_path, samples=looks(400, busy_from=1000)).device_busy == 0.0


def test_of_a_short_run_nothing_is_said_of_how_busy_it_was(tmp_path: Path) -> None:
    assert measure(tmp_path, samples=looks(60, busy_from=0)).device_busy is None
