"""Tables of metrics that programs write their own way: columns, delimiters, restarts, two writers in one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpuplan.learn import scaling
from gpuplan.observe.metrics import DIVERGED, measure, series
from gpuplan.observe.values import Curve, Point, Weighted, direction, quantile

HEADER = "epoch,train_loss,train_time,val_loss,val_acc"
AGNEWS = Path(__file__).parents[3] / "shared" / "data" / "logs" / "agnews"


def table(run_dir: Path, *rows: str, header: str = HEADER) -> Path:
    (run_dir / "metrics.csv").write_text("\n".join([header, *rows]) + "\n")
    return run_dir


def jsonl(run_dir: Path, *rows: dict[str, Any]) -> Path:
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run_dir


def epochs(first: int, last: int, *, loss: float = 1.0, seconds: float = 20.0) -> list[str]:
    return [f"{number},{loss / number},{seconds},0.5,{number / 100}" for number in range(first, last + 1)]


def interleaved(first: list[str], second: list[str]) -> list[str]:
    """As two programs write: in turns, then the rest of the longer one."""
    both = [row for pair in zip(first, second, strict=False) for row in pair]
    shorter = min(len(first), len(second))
    return both + first[shorter:] + second[shorter:]


# ---------------------------------------------------------------- one program


def test_a_table_of_epochs(tmp_path: Path) -> None:
    found = measure(table(tmp_path, "1,0.9,30.0,0.5,0.7", *epochs(2, 4)))
    assert found.epochs == 4
    assert found.epoch_s == 20.0
    assert found.final == {"train_loss": 0.25, "val_loss": 0.5, "val_acc": 0.04}
    assert found.best == {"train_loss": 0.25, "val_loss": 0.5, "val_acc": 0.7}
    assert found.step_s is None
    assert found.samples_per_s is None
    assert found.flags == ()
    points = (Point(1, 0.7), Point(2, 0.02), Point(3, 0.03), Point(4, 0.04))
    assert series(tmp_path)["val_acc"] == Curve("epoch", points)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_and_a_byte_order_mark(tmp_path: Path, delimiter: str) -> None:
    rows = [row.replace(",", delimiter) for row in epochs(1, 3)]
    table(tmp_path, *rows, header="\ufeff" + HEADER.replace(",", delimiter))
    assert measure(tmp_path).epoch_s == 20.0


def test_lines_of_json_without_events(tmp_path: Path) -> None:
    slow = {1: 2000, 2: 2000}
    rows = [{"step": at, "Loss": 1 / at, "lr": 0.1, "step_time_ms": slow.get(at, 100)} for at in range(1, 31)]
    found = measure(jsonl(tmp_path, *rows, {"eval/accuracy": 0.9}))
    assert found.step_s == pytest.approx(0.1)
    assert found.steps == 30
    assert found.final == {"loss": 1 / 30, "lr": 0.1, "eval/accuracy": 0.9}
    assert set(found.best) == {"loss", "eval/accuracy"}


def test_steps_by_the_clock_of_the_rows(tmp_path: Path) -> None:
    rows = [{"global_step": step, "_timestamp": 1e9 + step * 0.2, "loss": 1.0} for step in range(0, 500, 50)]
    found = measure(jsonl(tmp_path, *rows))
    assert found.step_s == pytest.approx(0.2, rel=1e-3)


@pytest.mark.parametrize(
    ("header", "row", "step_s"),
    [
        ("step,loss,Time/step (ms)", "{step},0.5,250", 0.25),
        ("step;loss;step_time", "{step};0,5;0,25", 0.25),
        ("step,loss,step_time", "{step},0.5,250 ms", 0.25),
        ("step,loss,timestamp", "{step},0.5,2026-02-03T10:00:{step:02d}Z", 1.0),
        ("step,loss,time_elapsed_min", "{step},0.5,{step}", 60.0),
    ],
)
def test_units_and_numerals_are_those_of_the_file(tmp_path: Path, header: str, row: str, step_s: float) -> None:
    rows = [row.format(step=step) for step in range(1, 50)]
    found = measure(table(tmp_path, *rows, header=header))
    assert found.step_s == pytest.approx(step_s)
    assert found.flags == ()
    assert found.final["loss"] == 0.5


def test_a_rate_and_a_memory_in_lines_of_json(tmp_path: Path) -> None:
    rows = [{"step": step, "throughput (tokens/s)": 4000, "gpu_mem_alloc_mib": 900 + step} for step in range(1, 50)]
    found = measure(jsonl(tmp_path, *rows))
    assert (found.tokens_per_s, found.peak_allocated_bytes) == (4000, 949 * 2**20)


def test_epochs_that_may_be_in_milliseconds_are_no_seconds(tmp_path: Path) -> None:
    found = measure(table(tmp_path, *epochs(1, 5, seconds=61000.0)))
    assert found.epoch_s is None
    assert found.flags == ("metrics.csv: train_time has no unit, and 61000 may be milliseconds: left out",)


@pytest.mark.parametrize("clock", ["timestamp", "bar_s"])
@pytest.mark.parametrize("without", [1, 20, 49])
def test_a_row_whose_clock_is_no_number_is_passed_over(tmp_path: Path, clock: str, without: int) -> None:
    start = 1770000000000 if clock == "timestamp" else 0
    tick = 500 if clock == "timestamp" else 2
    rows = [f"{step},0.5,{'nan' if step == without else start + tick * step}" for step in range(1, 50)]
    found = measure(table(tmp_path, *rows, header=f"step,loss,{clock}"))
    assert found.step_s == {"timestamp": 0.5, "bar_s": 2.0}[clock]


def test_a_clock_that_jumps_back_is_left_out(tmp_path: Path) -> None:
    rows = [{"step": step, "timestamp": 1e9 + step - 3600 * (step > 5), "loss": 1.0} for step in range(10)]
    assert measure(jsonl(tmp_path, *rows)).step_p10_s == pytest.approx(1.0)


def test_columns_of_one_step_may_come_in_several_rows(tmp_path: Path) -> None:
    rows = ["0,50,1.0,", "0,50,,0.7", "1,100,0.9,", "1,100,,0.8"]
    found = measure(table(tmp_path, *rows, header="epoch,step,train_loss,val_acc"))
    assert found.final == {"train_loss": 0.9, "val_acc": 0.8}
    assert (found.steps, found.epochs, found.flags) == (100, 1, ())


def test_many_rows_of_one_epoch_have_their_order(tmp_path: Path) -> None:
    rows = [{"epoch": 1 + at // 10, "batch": at % 10, "loss": 1 / (at + 1), "timestamp": 1e9 + at} for at in range(30)]
    found = measure(jsonl(tmp_path, *rows))
    assert (found.epochs, found.steps, found.step_s, found.flags) == (3, 0, None, ())
    assert found.final["loss"] == found.best["loss"] == 1 / 30
    assert len(series(tmp_path)["loss"].points) == 30


def test_seconds_that_cannot_be_are_left_out(tmp_path: Path) -> None:
    found = measure(table(tmp_path, *epochs(1, 3), "4,1,0,1,1", "5,1,-3,1,1", "6,1,nan,1,1", "7,1,20,1,1"))
    assert found.epoch_s == 20.0
    assert found.flags == ("metrics.csv: a row without seconds above zero (3 times)",)


def test_a_loss_that_ends_as_nan(tmp_path: Path) -> None:
    found = measure(table(tmp_path, *epochs(1, 3), "4,nan,20,NaN,0.5"))
    assert found.flags == (
        f"{DIVERGED}train_loss is not a finite number at epoch 4",
        f"{DIVERGED}val_loss is not a finite number at epoch 4",
    )
    assert found.final == {"val_acc": 0.5}


@pytest.mark.parametrize(
    ("header", "flags"),
    [
        ("", ()),
        (",,,", ("metrics.csv: its first line is no header",)),
        (",".join(f"c{number}" for number in range(5000)), ("metrics.csv: its first line is no header",)),
        ("a,b,c", ()),
    ],
)
def test_files_that_are_no_table(tmp_path: Path, header: str, flags: tuple[str, ...]) -> None:
    found = measure(table(tmp_path, "1,2,3", header=header))
    assert (found.final, found.epoch_s, found.flags) == ({}, None, flags)


def test_rows_that_are_none_are_counted(tmp_path: Path) -> None:
    rows = ["a,b,c,d,e", "1,2", "2,0.5,20,0.5,0.5,9,9", '"3,0.5', "\x00\x01,,,,", *epochs(4, 6)]
    found = measure(table(tmp_path, *rows))
    assert found.epoch_s == 20.0
    assert set(found.flags) == {
        "metrics.csv: a row has no numbers (2 times)",
        "metrics.csv: a row has not the header's columns (3 times)",
        "metrics.csv: epoch holds 'a', which is no number; left out",
        "metrics.csv: train_time holds 'c', which is no number; left out",
    }


def test_a_last_row_that_is_cut_off_is_left_out(tmp_path: Path) -> None:
    table(tmp_path, *epochs(1, 3))
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("4,0.1,20.0,0.5,0.8")
    found = measure(tmp_path)
    assert found.epochs == 3
    assert found.flags == ("metrics.csv: the last line is cut off",)


def test_many_rows_take_bounded_memory_and_keep_first_last_and_best(tmp_path: Path) -> None:
    rows = [f"{step},{2.0 if step != 7777 else 0.5},0.25" for step in range(30_000)]
    found = measure(table(tmp_path, *rows, header="step,loss,step_time"))
    assert found.best == {"loss": 0.5}
    assert found.steps == 29_999
    assert found.step_s == 0.25
    assert len(series(tmp_path)["loss"].points) <= 2001


# ---------------------------------------------------------------- several programs


def test_a_restart_takes_the_place_of_what_was_before(tmp_path: Path) -> None:
    found = measure(table(tmp_path, *epochs(1, 5, loss=0.001), HEADER, *epochs(1, 3)))
    assert found.epochs == 3
    assert found.best["train_loss"] == pytest.approx(1 / 3)
    assert found.flags == ()


@pytest.mark.parametrize("resumed_at", [2, 5, 6])
def test_a_resume_takes_the_place_of_the_end(tmp_path: Path, resumed_at: int) -> None:
    rows = [*epochs(1, 6, loss=0.001), *epochs(resumed_at, 9)]
    found = measure(table(tmp_path, *rows))
    assert found.epochs == 9
    assert found.final["train_loss"] == pytest.approx(1 / 9)
    assert found.flags == ()
    assert [point.at for point in series(tmp_path)["train_loss"].points] == list(range(1, 10))
    assert series(tmp_path)["train_loss"].points[resumed_at - 1].value == pytest.approx(1 / resumed_at)


def test_many_resumes_are_one_run(tmp_path: Path) -> None:
    rows = [row for begin in range(1, 100, 5) for row in epochs(begin, begin + 7)]
    found = measure(table(tmp_path, *rows))
    assert found.epochs == 103
    assert found.flags == ()
    assert len(series(tmp_path)["train_loss"].points) == 103


def test_two_programs_at_once_are_told_apart(tmp_path: Path) -> None:
    rows = interleaved(epochs(6, 20, loss=1.0, seconds=40.0), epochs(1, 20, loss=2.0, seconds=42.0))
    found = measure(table(tmp_path, *rows))
    (flag,) = found.flags
    assert "2 programs wrote it at the same time, epochs 6 to 20 (15 rows); 1 to 20 (20 rows)" in flag
    assert found.epoch_s == 42.0
    curves = series(tmp_path)
    assert [point.value * point.at for point in curves["train_loss"].points] == [pytest.approx(2.0)] * 20
    assert [point.value * point.at for point in curves["train_loss (2)"].points] == [pytest.approx(1.0)] * 15


def test_two_programs_that_began_together_are_said(tmp_path: Path) -> None:
    rows = interleaved(epochs(1, 10, loss=1.0), epochs(1, 10, loss=2.0))
    found = measure(table(tmp_path, *rows))
    assert "2 programs wrote it at the same time, epochs 1 to 10 (10 rows); 1 to 10 (10 rows)" in found.flags[0]


def test_two_programs_of_steps(tmp_path: Path) -> None:
    first = [f"{step},1.0" for step in range(600, 2001, 100)]
    second = [f"{step},2.0" for step in range(100, 2001, 100)]
    curves = series(table(tmp_path, *interleaved(first, second), header="step,loss"))
    assert {point.value for point in curves["loss"].points} == {2.0}
    assert {point.value for point in curves["loss (2)"].points} == {1.0}


def test_rows_in_no_order_are_said(tmp_path: Path) -> None:
    rows = [f"{number},1,20,1,0.5" for number in range(50, 0, -1)]
    found = measure(table(tmp_path, *rows))
    assert any("left out" in flag for flag in found.flags)


@pytest.mark.skipif(not AGNEWS.is_dir(), reason="the public logs are not here")
def test_the_public_logs() -> None:
    one = measure(AGNEWS / "exp041_agnews_1gpu_20ep")
    four = measure(AGNEWS / "exp042_agnews_ddp_4gpu_20ep", ranks=4)
    assert one.epoch_s == pytest.approx(19.53, abs=0.01)
    assert one.final["val_acc"] == pytest.approx(0.8863, abs=1e-4)
    assert one.best["val_acc"] == pytest.approx(0.8974, abs=1e-4)
    assert one.flags == ()
    # 42.33 is the mean over the rows of both programs; of the complete one alone it is 42.29.
    assert four.epoch_s == pytest.approx(42.29, abs=0.01)
    assert "2 programs wrote it at the same time, epochs 6 to 20 (15 rows); 1 to 20 (20 rows)" in four.flags[0]
    assert scaling(one, four).apparent == pytest.approx(0.46, abs=0.005)
    names = ("exp020_imdb_single_gpu_20ep", "exp021_imdb_ddp_single_node_20ep")
    assert [measure(AGNEWS / name).epoch_s for name in names] == [
        pytest.approx(11.20, abs=0.01),
        pytest.approx(3.21, abs=0.01),
    ]


# ---------------------------------------------------------------- names, quantiles, anything at all


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("loss", "lower"),
        ("trainLoss", "lower"),
        ("eval/perplexity", "lower"),
        ("val_error_rate", "lower"),
        ("MSE", "lower"),
        ("accuracy", "higher"),
        ("val_acc", "higher"),
        ("rougeL", "higher"),
        ("reward_mean", "higher"),
        ("lr", None),
        ("grad_norm", None),
        ("memory", None),
        ("map_size", "higher"),
    ],
)
def test_which_way_is_better(name: str, way: str | None) -> None:
    assert direction(name) == way


def test_quantiles_by_weight() -> None:
    values = [Weighted(3.0, 1), Weighted(1.0, 8), Weighted(2.0, 1)]
    assert quantile(values, (0.1, 0.5, 0.9, 1.0)) == (1.0, 1.0, 2.0, 3.0)
    assert quantile([], (0.5,)) is None


CELLS = st.one_of(st.integers(0, 9).map(str), st.floats().map(str), st.sampled_from(["", "x", '"', "1e999", "-1", "٣"]))
ROWS = st.lists(CELLS, min_size=1, max_size=6).map(",".join)


@given(st.sampled_from([HEADER, "step,loss,step_time,timestamp,epoch", "step;x"]), st.lists(ROWS, max_size=30))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_table_is_an_error(tmp_path: Path, header: str, rows: list[str]) -> None:
    (tmp_path / "metrics.csv").write_text("\n".join([header, *rows]))
    found = measure(tmp_path)
    assert found.epoch_s is None or found.epoch_s > 0
    assert found.step_s is None or found.step_s > 0
    assert all(curve.points for curve in series(tmp_path).values())
    assert found.model_validate_json(found.model_dump_json()) == found
