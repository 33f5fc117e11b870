from __future__ import annotations

from typing import Any

import pytest
from workbench import run

from gpuplan.launch.patience import MOST_ATTEMPTS_LOST, MOST_QUICK_RETURNS, SOON_S, Patience
from gpuplan.model import Ending, Outcome, RunRecord


def ended(state: Any, *, duration_s: float = 1.0, name: str = "a", **ending: Any) -> RunRecord:
    return RunRecord(
        experiment="e",
        run=run(name, "true"),
        folder="/f",
        state=state,
        attempt=1,
        started_at=100.0,
        ended_at=100.0 + duration_s,
        ending=Ending(**ending),
        outcome=Outcome(status=state, because=f"it {state}", advice=""),
    )


def again(patience: Patience, record: RunRecord, *, losses: int = 0, was_stopping: bool = False) -> bool:
    return patience.tries_again(record, losses=losses, was_stopping=was_stopping)


@pytest.mark.parametrize("state", ["finished", "crashed", "oom_device", "diverged", "timed_out", "killed"])
def test_what_has_an_outcome_is_not_tried_again(state: str) -> None:
    assert not again(Patience(), ended(state))


def test_lost_runs_have_three_attempts() -> None:
    patience = Patience()
    assert [again(patience, ended("lost"), losses=losses) for losses in (1, 2, 3)] == [True, True, False]
    patience.forgive("a", losses=MOST_ATTEMPTS_LOST)
    assert again(patience, ended("lost"), losses=MOST_ATTEMPTS_LOST + 1)
    assert not again(patience, ended("lost", problem="the helper was killed"), losses=1)


def test_preempted_runs_go_on_as_long_as_they_get_on() -> None:
    patience = Patience()
    quick, slow = ended("preempted"), ended("preempted", duration_s=SOON_S + 1)
    assert [again(patience, quick) for _ in range(MOST_QUICK_RETURNS)] == [True, True, False]
    assert again(patience, slow)
    assert again(patience, quick)


def test_a_run_that_was_asked_to_leave_stays_away_unless_by_the_gpuplan_before() -> None:
    asked = ended("preempted", stop_requested=True)
    assert not again(Patience(), asked)
    assert again(Patience(), asked, was_stopping=True)
    assert again(Patience(), ended("killed", stop_requested=True), was_stopping=True)
    assert not again(Patience(), ended("crashed"), was_stopping=True)


def test_attempts_that_never_started_are_spared_twice() -> None:
    patience = Patience()
    assert [patience.spares("a") for _ in range(3)] == [True, True, False]
    assert patience.spares("b")


def brakes(*records: RunRecord) -> list[bool]:
    patience = Patience()
    return [patience.brake(record) is not None for record in records]


def test_three_equal_failures_at_once_brake() -> None:
    crashed = ended("crashed", exit_code=1)
    assert brakes(crashed, crashed, crashed, crashed) == [False, False, True, False]
    assert brakes(crashed, crashed, ended("crashed", exit_code=2)) == [False] * 3
    assert brakes(crashed, crashed, ended("oom_device", exit_code=1)) == [False] * 3
    assert brakes(crashed, crashed, ended("crashed", exit_code=1, duration_s=SOON_S + 1)) == [False] * 3
    assert brakes(*[ended("finished", exit_code=0)] * 3) == [False] * 3
    assert brakes(ended("finished"), crashed, crashed, crashed) == [False] * 4
