"""Names, units and numerals of foreign columns: each is read right, or said and left out; never a number by chance."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import log_samples as samples
import pytest
from test_logs_formats import noted, only, written

from gpuplan.observe.logs.columns import role_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def table(columns: str, rows: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in (columns, *rows))


@pytest.mark.parametrize(
    ("name", "unit", "role", "factor"),
    [
        ("Time/step (ms)", "", "step_time_s", 1e-3),
        ("Step Time [s]", "", "step_time_s", 1.0),
        ("step_time", "ms", "step_time_s", 1e-3),
        ("step_time_ms", "", "step_time_ms", 1.0),
        ("dt", "", "dt", 1.0),
        ("epoch_time_min", "", "epoch_time_s", 60.0),
        ("epoch (s)", "", "epoch_time_s", 1.0),
        ("epoch", "", "epoch", 1.0),
        ("elapsed_time", "s", "elapsed_s", 1.0),
        ("Global Step", "", "global_step", 1.0),
        ("current_steps", "", "step", 1.0),
        ("throughput (tokens/s)", "", "tokens_per_second", 1.0),
        ("throughput", "samples/s", "samples_per_second", 1.0),
        ("throughput", "", "throughput", 1.0),
        ("tokens/sec/gpu", "", "tokens_per_second_per_gpu", 1.0),
        ("perf/step_time_ms", "", "step_time_ms", 1.0),
        ("eval/samples_per_second", "", "eval/samples_per_second", 1.0),
        ("gpu_mem", "gib", "gpu_mem (gib)", 1.0),
        ("loss_s", "", "loss_s", 1.0),
        ("time", "", "time", 1.0),
    ],
)
def test_what_a_column_means(name: str, unit: str, role: str, factor: float) -> None:
    assert role_of(name, unit) == (role, factor)


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        ("step;loss;step_time_s", "{step};1,5;0,5"),
        ("step;loss;step_time", "{step};1,5;0,5 s"),
        ("step,loss,step_time_s", '{step},"1,5","0,5"'),
        ("step,loss,step_time", "{step},1.5,500 ms"),
        ("step,loss,step_time", "{step},1.5,0.5s"),
        ("Iteration,Train Loss,Time/step (ms)", "{step},1.5,500"),
        (",step,loss,step_time_s", "{step},{step},1.5,0.5"),
        ("# a comment\n# another\nstep,loss,step_time_s", "{step},1.5,0.5"),
    ],
)
def test_half_a_second_however_it_is_written(tmp_path: Path, columns: str, row: str) -> None:
    run = only(written(tmp_path, "m.csv", table(columns, (row.format(step=step) for step in range(300)))))
    assert (run.measurement.step_s, run.measurement.steps, run.measurement.flags) == (0.5, 299, ())
    assert 1.5 in run.measurement.final.values()


@pytest.mark.parametrize(
    ("columns", "row", "tokens_per_s"),
    [
        ("step;loss;tokens_per_second", "{step};1,5;1.234,5", 1234.5),
        ("step;loss;tokens_per_second", "{step};1,5;12.345", 12345.0),
        ("step;loss;tokens_per_second", "{step};1.5;12.345", 12.345),
        ("step;loss;tokens_per_second", "{step};1.5;12,345", 12345.0),
        ("step;loss;tokens_per_second", "{step};2;12,345", 12.345),
        ("step,loss,tokens_per_second", '"{step:,}",1.5,"12,345"', 12345.0),
        ("step,loss,throughput (tok/s)", "{step},1.5,12345", 12345.0),
    ],
)
def test_thousands_by_the_numerals_of_the_file(tmp_path: Path, columns: str, row: str, tokens_per_s: float) -> None:
    run = only(written(tmp_path, "m.csv", table(columns, (row.format(step=step) for step in range(900, 1200)))))
    assert run.measurement.tokens_per_s == pytest.approx(tokens_per_s)
    assert run.measurement.steps == 1199


def test_a_decimal_comma_is_noted(tmp_path: Path) -> None:
    rows = (f"{step};1,5;0,5" for step in range(50))
    assert noted(only(written(tmp_path, "m.csv", table("step;loss;step_time_s", rows))), "a comma before the decimals")


@pytest.mark.parametrize("cell", ["0x10", "1_000", "fast", "1.2.3"])
def test_a_time_that_is_no_number_is_said(tmp_path: Path, cell: str) -> None:
    run = only(written(tmp_path, "m.csv", table("step,loss,step_time_s", (f"{step},1.5,{cell}" for step in range(50)))))
    assert run.measurement.step_s is None
    assert any(f"'{cell}'" in flag and "no number" in flag for flag in run.measurement.flags)


@pytest.mark.parametrize("empty", ["", "-", "N/A", "None"])
def test_an_empty_cell_is_no_doubt(tmp_path: Path, empty: str) -> None:
    rows = (f"{step},1.5,{0.5 if step % 2 else empty}" for step in range(50))
    run = only(written(tmp_path, "m.csv", table("step,loss,step_time_s", rows)))
    assert (run.measurement.step_s, run.measurement.flags) == (0.5, ())


@pytest.mark.parametrize(
    "layout",
    ["2026-01-01T00:{m:02d}:{s:02d}Z", "2026-01-01 00:{m:02d}:{s:02d},000", "2026/01/01 00:{m:02d}:{s:02d}.0"],
)
@pytest.mark.parametrize("column", ["timestamp", "time", "Date"])
def test_dates_are_a_clock(tmp_path: Path, layout: str, column: str) -> None:
    rows = ((step, layout.format(m=2 * step // 60, s=2 * step % 60)) for step in range(300))
    text = table(f"step,loss,{column}", (f'{step},1.5,"{date}"' for step, date in rows))
    run = only(written(tmp_path, "m.csv", text))
    assert (run.measurement.step_s, run.measurement.flags) == (2.0, ())


def test_the_log_of_llama_factory(tmp_path: Path) -> None:
    rows = [
        {"current_steps": step, "total_steps": 500, "loss": samples.loss_at(step), "epoch": step / 100,
         "elapsed_time": f"0:{step // 120:02d}:{step // 2 % 60:02d}", "remaining_time": "0:01:00"}
        for step in range(10, 501, 10)
    ]  # fmt: skip
    run = only(written(tmp_path, "trainer_log.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows)))
    assert (run.measurement.steps, run.measurement.epochs, run.measurement.step_s) == (500, 5, 0.5)
    assert len(run.epochs["loss"]) == 5


def test_nested_rows_with_a_global_step_are_no_state_of_a_trainer(tmp_path: Path) -> None:
    rows = [
        {"epoch": step // 50, "global_step": step, "train": {"loss": 1.5}, "perf": {"step_time_ms": 500}}
        for step in range(100)
    ]
    run = only(written(tmp_path, "m.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows)))
    assert (run.format, run.measurement.step_s, run.measurement.final["train/loss"]) == ("jsonl", 0.5, 1.5)


@pytest.mark.parametrize("indent", [None, 1])
def test_an_array_of_objects(tmp_path: Path, indent: int | None) -> None:
    rows = [{"step": step, "loss": samples.loss_at(step), "step_time_s": 0.5} for step in range(30_000)]
    text = json.dumps(rows, indent=indent)
    run = only(written(tmp_path, "history.json", text))
    assert (run.format, run.measurement.steps, run.measurement.step_s) == ("json", 29_999, 0.5)
    assert run.measurement.flags == ()
    cut = only(written(tmp_path, "cut.json", text[:-400]))
    assert cut.measurement.steps < 29_999
    assert any("its end is cut off" in flag for flag in cut.measurement.flags)


def test_a_header_that_changes_in_the_file(tmp_path: Path) -> None:
    old = table("step,loss,step_time_s", (f"{step},1.5,0.5" for step in range(100)))
    new = table("step,loss,lr,step_time_s", (f"{step},1.0,0.001,0.5" for step in range(100, 200)))
    run = only(written(tmp_path, "m.csv", old + new))
    assert (run.measurement.steps, run.measurement.final, run.measurement.flags) == (
        199,
        {"loss": 1.0, "lr": 0.001},
        (),
    )


def test_two_columns_of_one_name_are_said(tmp_path: Path) -> None:
    run = only(written(tmp_path, "m.csv", table("step,loss,loss", (f"{step},1.5,9" for step in range(50)))))
    assert run.measurement.final == {"loss": 9.0}
    assert any("two columns of one name" in flag for flag in run.measurement.flags)


def test_a_step_time_that_may_be_milliseconds_is_doubted(tmp_path: Path) -> None:
    rows = [f"{step},1.5,20" for step in range(50)]
    assert any("may be milliseconds" in flag for flag in only(
        written(tmp_path, "m.csv", table("step,loss,step_time", rows))
    ).measurement.flags)  # fmt: skip
    clocked = [f"{row},{1.7e9 + 20 * step}" for step, row in enumerate(rows)]
    sure = only(written(tmp_path, "n.csv", table("step,loss,step_time,timestamp", clocked)))
    assert (sure.measurement.step_s, sure.measurement.flags) == (20.0, ())
