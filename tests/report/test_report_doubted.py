"""Doubts about an experiment's own runs."""

from __future__ import annotations

from report_cases import estimate, measurement, sweep

from gpuplan.expand import expand
from gpuplan.model import Outcome, RunRecord
from gpuplan.report import build
from gpuplan.report.doubted import doubted


def records(**changes: object) -> list[RunRecord]:
    """Every run of the sweep, finished; `changes` to the measurements of those on two ranks."""
    return [
        RunRecord(
            experiment="agnews",
            run=run,
            folder=f"runs/{run.name}",
            state="finished",
            outcome=Outcome(status="finished", because="exit code 0", advice=""),
            measurement=measurement(run, **(changes if run.ranks == 2 else {})),
            estimate=estimate(run),
        )
        for run in expand(sweep())
    ]


def precision_sweep(**half: object) -> list[RunRecord]:
    """A finished run in 32 bits and one in 16, of which `half` was measured."""
    runs = expand(sweep(vary={"use_amp": [False, True]}, seeds=[1], controls=[]))
    return [
        RunRecord(
            experiment="agnews",
            run=run,
            folder=f"runs/{run.name}",
            state="finished",
            outcome=Outcome(status="finished", because="exit code 0", advice=""),
            measurement=measurement(run, **(half if run.settings["use_amp"] else {})),
            estimate=estimate(run),
        )
        for run in runs
    ]


def test_sound_runs_are_not_doubted() -> None:
    assert doubted(records(), {}) == ()


def test_a_gpu_that_did_nothing_is_named_first_of_all() -> None:
    found = doubted(records(device_busy=0.01), {})
    assert {finding.check for finding in found} == {"trains-on-cpu"}
    report = build(sweep(), records(device_busy=0.01), {})
    assert any("seems to train on the CPU" in sentence for sentence in report.summary)
    assert any("use_cpu" in str(row[0]) for row in report.data["doubts"].rows)


def test_as_many_steps_on_more_ranks_are_a_doubt() -> None:
    found = doubted(records(batch_size=64), {})
    assert {finding.check for finding in found} == {"steps-do-not-fall"}


def test_a_sweep_over_precisions_that_changes_nothing_is_a_doubt() -> None:
    (finding,) = doubted(precision_sweep(), {})
    assert (finding.check, finding.place) == ("precision-no-effect", "ua-s1")
    assert "against no-ua-s1" in finding.because
    assert doubted(precision_sweep(step_s=0.012, peak_allocated_bytes=1_000_000_000), {}) == ()


def test_notes_are_no_doubts_about_figures() -> None:
    assert doubted(precision_sweep(step_s=0.012), {}) == ()
