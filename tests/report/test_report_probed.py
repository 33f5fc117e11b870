"""The table of one run's record: what was predicted of its speed."""

from __future__ import annotations

from report_cases import estimate, finished, sweep

from gpuplan.expand import expand
from gpuplan.report.probed import record_table
from gpuplan.report.table import records


def shown(**figures: float | str | None) -> dict[str, str]:
    run = expand(sweep())[0]
    record = finished(run).model_copy(update={"estimate": estimate(run).model_copy(update=figures)})
    return {str(row["what"]): str(row["value"]) for row in records(record_table(record))}


def test_the_predicted_pace_is_one_line() -> None:
    figures: dict[str, float | str | None] = {
        "throughput_samples_per_s": 1600.0, "throughput_tokens_per_s": 409_600.0, "bound": "bandwidth",
        "utilization": 0.93, "mfu": 0.214,
    }  # fmt: skip
    line = shown(**figures)["predicted throughput"]
    assert line == "1.6k samples/s, 410k tokens/s, bandwidth rules, device busy 93%, MFU 21.4%"


def test_what_is_not_known_is_left_out() -> None:
    assert shown(bound="loading")["predicted throughput"] == "loading rules"
    assert "predicted throughput" not in shown()
