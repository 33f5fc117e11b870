"""Records of runs that went wrong, and files that hold anything: said, counted, passed over, never an error."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from track_lines import START, epoch, start, steps, walk, write

from gpuplan.observe import records
from gpuplan.observe.metrics import DIVERGED, measure, series
from gpuplan.observe.values import Curve, Point

# ---------------------------------------------------------------- what went wrong


def test_a_program_that_says_it_diverged(tmp_path: Path) -> None:
    found = measure(write(tmp_path, start(), *walk(1, 9, at=START), {"event": "diverged", "step": 9, "loss": "nan"}))
    assert found.flags[0] == f"{DIVERGED}rank 0 said so at step 9"
    assert "loss" not in found.final


@pytest.mark.parametrize("loss", ['"nan"', "NaN", '"inf"', "Infinity", "-Infinity"])
def test_a_loss_that_ends_as_no_number(tmp_path: Path, loss: str) -> None:
    line = '{"event": "steps", "time_s": %r, "step": 3, "steps": 1, "samples": 1, "seconds": 1.0, "loss": %s}'
    found = measure(write(tmp_path, start(), *walk(1, 2, at=START), line % (START + 2, loss)))
    assert found.flags == (f"{DIVERGED}loss is not a finite number at step 3",)
    assert found.final == {}


def test_a_loss_that_recovers_has_not_diverged(tmp_path: Path) -> None:
    lines = [steps(1, START, loss="nan"), steps(2, START, loss=1.0)]
    found = measure(write(tmp_path, start(), *lines))
    assert found.flags == ("loss was no finite number for a while",)
    assert found.final == {"loss": 1.0}


def test_divergence_that_a_later_attempt_undid_is_forgotten(tmp_path: Path) -> None:
    lines = [start(), *walk(1, 9, at=START), {"event": "diverged", "time_s": START + 9}, start(4, START + 20)]
    assert measure(write(tmp_path, *lines, *walk(5, 12, at=START + 21))).flags == ()


def test_two_programs_in_one_file_are_said(tmp_path: Path) -> None:
    lines = [steps(5, START), steps(2, START), steps(6, START)]
    assert measure(write(tmp_path, start(), *lines)).flags == (
        "metrics.jsonl: steps go backwards, as if two programs wrote it",
    )


def test_rubbish_between_the_lines_is_counted_and_passed_over(tmp_path: Path) -> None:
    rubbish = ["{", "[1, 2]", "null", "{'event': 'steps'}", "[" * 60_000, '{"event": 7}', "\x00\ufffd\x1b[31m", ""]
    write(tmp_path, start(), *rubbish, *walk(1, 30, at=START))
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b"\xff\xfe\x00" * 1000 + b"\n" + b'{"event": "steps", "step": 31, "ste')
    found = measure(tmp_path)
    assert found.step_s == 0.5
    assert found.steps == 30
    assert found.flags == (
        "metrics.jsonl: a line is no JSON object (7 times)",
        "metrics.jsonl: a record has no event",
        "metrics.jsonl: the last line is cut off",
    )


def test_a_line_of_a_million_columns_is_passed_over(tmp_path: Path) -> None:
    wide = "{" + ", ".join(f'"c{number}": {number}' for number in range(1_000_000)) + "}"
    found = measure(write(tmp_path, start(), wide, *walk(1, 30, at=START)))
    assert found.flags == ("metrics.jsonl: a line is longer than 64 KiB",)
    assert found.step_s == 0.5


def test_a_huge_file_is_read_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_FILE_BYTES", 2000)
    found = measure(write(tmp_path, start(), *walk(1, 500, at=START)))
    assert found.step_s == 0.5
    assert found.steps < 30
    assert any("only its first" in flag for flag in found.flags)


def test_names_that_cannot_be_shown_are_passed_over(tmp_path: Path) -> None:
    line = '{"event": "epoch", "epoch": 1, "samples": 1, "seconds": 1, "\\ud800": 1, "\\u001b[2J": 2, "%s": 3, "ok": 4}'
    assert measure(write(tmp_path, start(), line % ("x" * 5000))).final == {"ok": 4.0}


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_not_read(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "metrics.jsonl")
    make(tmp_path / "metrics.csv")
    assert measure(tmp_path).flags == ()
    assert series(tmp_path) == {}


def test_no_folder_at_all(tmp_path: Path) -> None:
    assert measure(tmp_path / "gone").disk_bytes is None


def test_curves_are_thinned(tmp_path: Path) -> None:
    lines = [steps(step, START + step, loss=float(step)) for step in range(1, 10_001)]
    points = series(write(tmp_path, start(), *lines))["loss"].points
    assert 1000 <= len(points) <= 2001
    assert points[0] == (1, 1.0)
    assert points[-1] == (10_000, 10_000.0)


def test_a_program_without_steps_has_curves_over_epochs(tmp_path: Path) -> None:
    lines = [epoch(number, 0, seconds=1.0, samples=5, val_acc=number / 10) for number in (1, 2)]
    assert series(write(tmp_path, start(), *lines))["val_acc"] == Curve("epoch", (Point(1, 0.1), Point(2, 0.2)))


# ---------------------------------------------------------------- anything at all

KEYS = st.sampled_from(
    ["event", "time_s", "step", "steps", "samples", "seconds", "epoch", "loss", "acc", "world_size", "path", "x\ud800"]
)
EVENTS = st.sampled_from(["start", "steps", "epoch", "checkpoint", "final", "leave", "diverged", "other"])
NUMBERS = st.one_of(
    st.integers(-5, 50), st.floats(), st.integers(), st.sampled_from(["nan", "inf", "1e999", "٣", "1_0"])
)
RECORDS = st.dictionaries(
    KEYS, st.one_of(NUMBERS, EVENTS, st.none(), st.booleans(), st.lists(st.integers(), max_size=2))
)
LINES = st.one_of(
    st.tuples(EVENTS, RECORDS).map(lambda pair: json.dumps(pair[1] | {"event": pair[0]}).encode()),
    RECORDS.map(lambda record: json.dumps(record).encode()),
    st.binary(max_size=80),
)


@given(st.lists(LINES, max_size=25), st.one_of(st.none(), st.floats(0, 2e9)))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_file_is_an_error(tmp_path: Path, lines: list[bytes], launched_at: float | None) -> None:
    for name in ("metrics.jsonl", "metrics.rank1.jsonl", "metrics.csv"):
        (tmp_path / name).write_bytes(b"\n".join(lines))
    found = measure(tmp_path, launched_at=launched_at)
    assert found.step_s is None or found.step_s > 0
    assert found.epoch_s is None or found.epoch_s > 0
    assert found.samples_per_s is None or found.samples_per_s > 0
    assert all(curve.points for curve in series(tmp_path).values())
    assert found.model_validate_json(found.model_dump_json()) == found
