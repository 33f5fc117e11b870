from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from report_cases import accuracy_of, all_finished, learning_curves, sweep
from report_cases import curve as as_curve

from gpuplan.errors import MissingError
from gpuplan.report.curves import MOST_LINES, MOST_POINTS, Band, Bands, bands
from gpuplan.report.figures import Bar, Compared, Speed, compared, curve, durations, render_svg, speedup

if TYPE_CHECKING:
    from gpuplan.report.vega import Spec

PALETTE_SIZE = 6


def line(length: int) -> tuple[Band, ...]:
    return tuple(Band(step, step / length, step / length - 0.1, step / length + 0.1) for step in range(length))


def specs() -> dict[str, Spec]:
    lines = {f"size={name}": line(30) for name in ("small", "large", "<script>|\n")}
    return {
        "curve": curve("accuracy <b>", "accuracy", Bands(lines, "band: one standard deviation")),
        "one line": curve("loss", "loss", Bands({"all runs": line(2)})),
        "wide": curve("loss", "loss", Bands({"all runs": line(9)}), width="double"),
        "speedup": speedup("Speed-up", [Speed(1, 1.0, 1.0, 1), Speed(2, 0.8, 1.6, 2), Speed(4, None, 1.85, 4)]),
        "memory": compared("Memory", [Compared(1e9, 2e9, 3e9, 2.5e9), Compared(1e9, 2e9, 3e9, 4e9)], kind="bytes"),
        "far apart": compared("Time", [Compared(1, 2, 3, 2), Compared(1e4, 2e4, 3e4, 1.5e4)], kind="duration"),
        "equal": compared("Time", [Compared(2, 2, 2, 2)], kind="duration"),
        "durations": durations("Duration", [Bar("a", 100.0, 80.0, 120.0), Bar("b", 50.0)]),
        "bare durations": durations("Duration", [Bar("a", 0.02)]),
    }


def test_figures_are_drawn_without_a_warning() -> None:
    code = (
        "import json, sys; from gpuplan.report.figures import render_svg\n"
        "print(json.dumps([render_svg(spec) for spec in json.load(sys.stdin)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(list(specs().values())), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    for svg in json.loads(done.stdout):
        root = ET.fromstring(svg)
        assert root.tag.endswith("svg")
        assert not [one for one in root.iter() if one.tag.endswith(("script", "image", "foreignObject"))]


@pytest.mark.parametrize(("name", "spec"), specs().items())
def test_figures_are_in_the_house_style(name: str, spec: Spec) -> None:
    assert spec["width"] == (662 if name == "wide" else 317)
    assert spec["description"]
    assert spec["background"] == "white"
    text = json.dumps(spec)
    assert not [
        url for url in re.findall(r"https?://[^\"]+", text) if not url.startswith("https://vega.github.io/schema")
    ]
    assert '"url"' not in text


def test_lines_and_points_differ_by_more_than_colour() -> None:
    for name in ("curve", "speedup"):
        encodings = [layer["encoding"] for layer in specs()[name]["layer"]]
        dashes = next(one["strokeDash"]["scale"] for one in encodings if "strokeDash" in one)
        assert len({tuple(dash) for dash in dashes["range"]}) == len(dashes["domain"]) == 3
    shapes = specs()["memory"]["layer"][-1]["encoding"]["shape"]["scale"]["range"]
    assert len(set(shapes)) == 2


def test_the_speed_up_figure_names_its_values() -> None:
    svg = render_svg(specs()["speedup"])
    assert all(text in svg for text in ("1.60x", "0.80x", "1.85x", "ideal", "apparent (epoch time)"))


def test_long_lines_and_many_points_are_thinned() -> None:
    spec = curve("loss", "loss", Bands({"a": line(50_000), "b": line(10)}))
    assert len(spec["data"]["values"]) == 2_010
    many = compared("t", [Compared(1, 2, 3, 1 + index / 5000) for index in range(5000)], kind="duration")
    assert len(many["data"]["values"]) == 2_000
    bars = durations("t", [Bar(str(index), float(index)) for index in range(1, 500)])
    assert len(bars["data"]["values"]) == 24
    assert "the 24 longest of 499" in bars["title"]["subtitle"]


def test_without_vl_convert_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(MissingError) as caught:
        render_svg(specs()["curve"])
    assert caught.value.hint == "pip install 'gpuplan[report]'"
    assert caught.value.exit_code == 5


# ---------------------------------------------------------------- curves


def test_a_line_for_each_configuration_with_a_band_over_the_seeds() -> None:
    experiment = sweep()
    records = all_finished(experiment)
    found = bands(experiment, records, learning_curves(records), metric="accuracy")
    assert list(found.lines) == [
        "size=small, ranks=1", "size=small, ranks=2", "size=large, ranks=1", "size=large, ranks=2", "control shuffled",
    ]  # fmt: skip
    last = found.lines["size=small, ranks=1"][-1]
    ends = [accuracy_of(record.run) * (1 - math.exp(-50 / 8)) for record in records[:3]]
    assert last.mean == pytest.approx(sum(ends) / 3)
    assert last.high - last.mean == pytest.approx(0.002 * (1 - math.exp(-50 / 8)))


def test_too_many_configurations_are_drawn_by_one_setting() -> None:
    experiment = sweep(vary={"lr": [10**-n for n in range(1, 10)], "size": ["small", "large"]}, controls=[], seeds=[1])
    records = all_finished(experiment)
    found = bands(experiment, records, learning_curves(records), metric="accuracy")
    assert list(found.lines) == ["size=small", "size=large"]
    assert "mean over all settings but size" in found.note


def test_too_many_values_are_sampled() -> None:
    experiment = sweep(vary={"lr": [10**-n for n in range(1, 20)]}, controls=[], seeds=[1])
    records = all_finished(experiment)
    found = bands(experiment, records, learning_curves(records), metric="accuracy")
    assert len(found.lines) == MOST_LINES <= PALETTE_SIZE
    assert "6 of 19 configurations" in found.note


def test_nan_points_and_foreign_runs_are_left_out() -> None:
    experiment = sweep(vary={}, controls=[], seeds=[1, 2])
    records = all_finished(experiment)
    points = [(1, 0.5), (2, math.nan), (3, math.inf), (4, 0.7)]
    curves = {
        records[0].run.name: {"loss": as_curve(points)},
        records[1].run.name: {"loss": as_curve([(1, math.nan)])},
        "other": {"loss": as_curve([(1, 9.0)])},
    }
    found = bands(experiment, records, curves, metric="loss")
    assert [(band.step, band.mean) for band in found.lines["all runs"]] == [(1, 0.5), (4, 0.7)]
    assert bands(experiment, records, curves, metric="none").lines == {}


def test_seeds_that_log_at_different_steps_share_bins() -> None:
    experiment = sweep(vary={}, controls=[], seeds=[1, 2])
    records = all_finished(experiment)
    curves = {
        record.run.name: {"loss": as_curve([(7 * step + index, float(step)) for step in range(5_000)])}
        for index, record in enumerate(records)
    }
    found = bands(experiment, records, curves, metric="loss").lines["all runs"]
    assert len(found) == MOST_POINTS
    assert all(band.high - band.low < 20 for band in found)
    assert found == tuple(sorted(found))


def test_curves_over_epochs_say_so_and_are_not_mixed_with_steps() -> None:
    experiment = sweep(vary={}, controls=[], seeds=[1, 2])
    first, second = all_finished(experiment)
    curves = {
        first.run.name: {"loss": as_curve([(1, 0.5), (2, 0.4)], "epoch")},
        second.run.name: {"loss": as_curve([(100, 0.5)])},
    }
    found = bands(experiment, [first, second], curves, metric="loss")
    assert found.step == "epoch"
    assert [band.step for band in found.lines["all runs"]] == [1, 2]
    assert curve("loss", "loss", found)["layer"][0]["encoding"]["x"]["title"] == "epoch"
