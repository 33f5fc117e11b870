from __future__ import annotations

import csv
import io
import json
import os
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from markdown_it import MarkdownIt
from report_cases import all_finished, curve, ended, finished, learning_curves, sweep, unended, unsharded

from gpuplan.errors import GpuplanError
from gpuplan.expand import expand
from gpuplan.model import Experiment, RunRecord
from gpuplan.report import as_json, build, write

if TYPE_CHECKING:
    from pathlib import Path

    from gpuplan.report import Report

VOID = {"meta", "br", "link", "img", "hr", "input"}
RESOURCE_ATTRIBUTES = {"src", "srcset", "href", "xlink:href", "action", "data", "poster", "background"}
HOSTILE = '<script>alert("1")</script>|\n\x1b[31m=cmd'


class Page(HTMLParser):
    """What a browser would make of a page: its tags, the pairs that do not match, what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.broken: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in RESOURCE_ATTRIBUTES and not (value or "").startswith("#"):
                self.loads.append(f"{tag} {name}={value}")
            if name == "href":
                self.links.append((value or "").removeprefix("#"))
            if name == "id":
                self.ids.append(value or "")
            if name.startswith("on"):
                self.broken.append(f"{tag} {name}")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.broken.append(tag)


def checked(path: Path) -> Page:
    """The page, found to be whole, without scripts and without anything to load."""
    text = path.read_text("utf-8")
    page = Page(text)
    assert (page.open, page.broken, page.loads) == ([], [], [])
    assert not {"script", "iframe", "object", "embed", "link", "img"} & set(page.tags)
    assert set(page.links) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert "@import" not in text
    assert page.tags.count("h1") == 1
    assert page.tags.count("table") == page.tags.count("caption")
    return page


def demo(**changes: Any) -> Report:
    experiment = sweep(expect=["final(accuracy) >= 0.8", "speedup(ranks=2) >= 1.9", "best(nothing) >= 1"], **changes)
    records = all_finished(experiment, unsharded)
    return build(experiment, records, learning_curves(records), as_of="2026-02-03 10:00 UTC")


def test_all_files_are_written(tmp_path: Path) -> None:
    paths = write(demo(), tmp_path / "new" / "folder")
    names = {str(path.relative_to(tmp_path / "new" / "folder")) for path in paths}
    assert {"report.md", "report.html", "runs.csv", "predictions.csv", "figures/curve-accuracy.svg"} <= names
    assert {name.removesuffix(".svg") for name in names if name.endswith(".svg")} == {
        name.removesuffix(".vl.json") for name in names if name.endswith(".vl.json")
    }
    assert {path for path in (tmp_path / "new").rglob("*") if path.is_file()} == set(paths)
    assert all(path.read_bytes() for path in paths)


def test_the_page_stands_alone(tmp_path: Path) -> None:
    write(demo(), tmp_path)
    page = checked(tmp_path / "report.html")
    assert page.tags.count("svg") == len(list((tmp_path / "figures").glob("*.svg"))) >= 6
    assert page.ids[0] == "expectations"


def test_the_markdown_has_its_tables_and_pictures(tmp_path: Path) -> None:
    write(demo(), tmp_path)
    text = (tmp_path / "report.md").read_text("utf-8")
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    widths = {line.count(" | ") for line in text.splitlines() if line.startswith("| ---")}
    assert len([token for token in tokens if token.type == "table_open"]) == text.count("\n| ---")
    assert widths
    pictures = [child.attrs["src"] for token in tokens for child in token.children or [] if child.type == "image"]
    assert pictures
    assert all((tmp_path / str(picture)).is_file() for picture in pictures)


def test_the_csv_files_read_back_what_was_measured(tmp_path: Path) -> None:
    experiment = sweep()
    records = all_finished(experiment)
    write(build(experiment, records, {}), tmp_path)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "runs.csv").read_text("utf-8"))))
    assert [float(row["final_accuracy"]) for row in rows] == [
        record.measurement.final["accuracy"] for record in records if record.measurement
    ]
    assert [row["run"] for row in rows] == [record.run.name for record in records]
    predicted = list(csv.DictReader(io.StringIO((tmp_path / "predictions.csv").read_text("utf-8"))))
    assert len(predicted) == 5 * len(records)
    assert float(predicted[0]["predicted_p90"]) == 2.4e9
    assert predicted[0]["inside"] == "True"


def test_json_has_the_schema_and_the_raw_figures() -> None:
    found = json.loads(json.dumps(as_json(demo()), allow_nan=False))
    assert found["schema"] == "gpuplan.report/1"
    assert found["counts"] == {"runs": 13, "finished": 13, "failed": 0, "unended": 0}
    assert [one["status"] for one in found["expectations"]] == ["pass", "fail", "unknown"]
    assert found["scaling"][1]["true_speedup"] == 1.6
    assert found["runs"][0]["control"] is None
    assert {"results", "runs", "accuracy", "predictions", "scaling", "failures", "provenance"} <= set(found)


def test_the_summary_says_it_in_words() -> None:
    summary = demo().summary
    assert summary[0] == "13 of 13 runs finished."
    assert summary[1].startswith("size=small and size=large: every rank trained on all rows: 2 ranks x 6,000 = 12,000")
    assert any(text.startswith("accuracy ended between 0.8640") and "control shuffled" in text for text in summary)
    assert "1 of 3 expectations met, 1 not met, 1 unknown." in summary
    assert summary[-1].startswith("Predicted against measured: peak memory off by 5% in the median (13 of 13 inside")


def test_nothing_has_run_yet(tmp_path: Path) -> None:
    report = build(sweep(expect=["final(accuracy) >= 1"]), [], {})
    assert report.summary[0] == "0 of 13 runs finished; 13 waiting."
    assert report.checks[0].status == "unknown"
    write(report, tmp_path)
    checked(tmp_path / "report.html")
    assert json.dumps(as_json(report), allow_nan=False)


def test_one_run(tmp_path: Path) -> None:
    experiment = sweep(vary={}, seeds=[], controls=[])
    report = build(experiment, all_finished(experiment), {})
    assert "accuracy ended at 0.86 (1 run)." in report.summary
    write(report, tmp_path)
    checked(tmp_path / "report.html")


def test_runs_that_are_still_going_and_runs_that_failed(tmp_path: Path) -> None:
    experiment = sweep()
    records = all_finished(experiment)
    records[1] = ended(records[1].run, "oom_device")
    records[2] = ended(records[2].run, "oom_device")
    records[3] = unended(records[3].run)
    report = build(experiment, records[:-1], {})
    assert report.summary[0] == "9 of 13 runs finished; 2 out of GPU memory, 1 running, 1 waiting."
    (failure,) = report.data["failures"].rows
    assert failure == ("small-ranks1-s2, small-ranks1-s3", 2, "oom_device", "no memory left", "halve the batch")
    write(report, tmp_path)
    checked(tmp_path / "report.html")


def test_a_metric_with_one_point_is_no_curve() -> None:
    experiment = sweep(controls=[])
    records = all_finished(experiment)
    curves = {record.run.name: {"accuracy": curve([(50, 0.8)])} for record in records}
    results = next(section for section in build(experiment, records, curves).sections if section.key == "results")
    assert [figure.key for figure in results.figures] == ["durations"]


def test_doubtful_figures_are_named(tmp_path: Path) -> None:
    experiment = sweep(controls=[])
    flags = ("there are records of 1 of 2 ranks", "two programs wrote into one table")
    records = all_finished(experiment, lambda run: {"flags": flags if run.ranks == 2 else ()})
    report = build(experiment, records, {})
    assert report.summary[-1] == "The figures of 6 runs are doubtful: there are records of 1 of 2 ranks."
    assert [row[2] for row in report.data["doubts"].rows] == [6, 6]
    write(report, tmp_path)
    assert "two programs wrote" in (tmp_path / "report.html").read_text("utf-8")


def test_missing_measurements_and_nan(tmp_path: Path) -> None:
    experiment = sweep(controls=[])
    bare = [finished(run).model_copy(update={"measurement": None, "estimate": None}) for run in expand(experiment)]
    write(build(experiment, bare, {}), tmp_path / "bare")
    checked(tmp_path / "bare" / "report.html")
    nan = float("nan")
    odd = [
        record.model_copy(
            update={
                "measurement": record.measurement
                and record.measurement.model_copy(update={"final": {"accuracy": nan}, "epoch_s": nan, "step_s": 0.0})
            }
        )
        for record in all_finished(experiment)
    ]
    curves = {record.run.name: {"accuracy": curve([(1, nan)])} for record in odd}
    report = build(experiment, odd, curves)
    write(report, tmp_path / "odd")
    checked(tmp_path / "odd" / "report.html")
    assert json.dumps(as_json(report), allow_nan=False)


def test_hostile_texts_stay_texts_and_in_the_folder(tmp_path: Path) -> None:
    experiment = sweep(
        vary={"size": [HOSTILE, "../../etc/passwd", "\u6570\u636e"], "ranks": [1, 2]},
        expect=[f"final(accuracy) >= 0.1 {HOSTILE}"],
        controls=[],
    )
    change = {"final": {HOSTILE: 0.5, "../../up": 0.1, "=1+1": 0.2}}
    records = all_finished(experiment, lambda run: unsharded(run) | change)
    records[0] = ended(records[0].run, "crashed", because=HOSTILE, advice=HOSTILE)
    curves = {
        record.run.name: {HOSTILE: curve([(1, 1.0), (2, 2.0)]), "../../up": curve([(1, 1.0)])} for record in records
    }
    paths = write(build(experiment, records, curves, as_of=HOSTILE), tmp_path / "out")
    checked(tmp_path / "out" / "report.html")
    assert all(path.resolve().is_relative_to(tmp_path / "out") for path in paths)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert "\x1b" not in "".join(path.read_text("utf-8") for path in paths)
    for svg in (tmp_path / "out" / "figures").glob("*.svg"):
        assert "<script" not in svg.read_text("utf-8")
    inline = MarkdownIt("commonmark").enable("table").parse((tmp_path / "out" / "report.md").read_text("utf-8"))
    assert "html_inline" not in {child.type for token in inline for child in token.children or []}


def test_a_thousand_runs_stay_small(tmp_path: Path) -> None:
    experiment = sweep(vary={"size": ["small", "large"], "lr": [n / 1000 for n in range(167)]}, controls=[])
    records = all_finished(experiment)
    report = build(experiment, records, learning_curves(records, steps=20))
    write(report, tmp_path)
    assert len(records) == 1002
    assert (tmp_path / "report.html").stat().st_size < 1_500_000
    checked(tmp_path / "report.html")
    text = (tmp_path / "report.md").read_text("utf-8")
    assert "The first 60 of 334 rows; each run is in runs.csv." in text
    assert "Means by setting" in text
    assert len((tmp_path / "runs.csv").read_text("utf-8").splitlines()) == 1003


def test_without_vl_convert_the_report_is_written_and_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    paths = write(demo(), tmp_path)
    assert not [path for path in paths if path.suffix == ".svg"]
    assert (tmp_path / "figures" / "curve-accuracy.vl.json").is_file()
    for name in ("report.html", "report.md"):
        assert "pip install" in (tmp_path / name).read_text("utf-8")
    assert "svg" not in checked(tmp_path / "report.html").tags


def test_writing_twice_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    first = {path: path.read_bytes() for path in write(demo(), tmp_path)}
    assert {path: path.read_bytes() for path in write(demo(), tmp_path)} == first
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(first)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(GpuplanError, match="cannot be written") as caught:
        write(demo(), tmp_path / "file")
    assert caught.value.hint
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208  names only


def test_records_of_an_older_spec_are_kept() -> None:
    experiment = sweep(controls=[])
    older = all_finished(sweep(controls=[], command="python old.py {size} {seed}", seeds=[1, 2, 3, 4]))
    report = build(experiment, older, {})
    assert report.counts.runs == 16
    assert report.counts.finished == 16


def test_a_control_equal_to_a_point_stays_a_control() -> None:
    experiment = Experiment.model_validate({"name": "x", "controls": [{"name": "same"}]})
    records: list[RunRecord] = all_finished(experiment)
    assert len({record.run.key for record in records}) == 1
    report = build(experiment, records, {})
    assert [row[0] for row in report.data["results"].rows] == [None, "same"]
