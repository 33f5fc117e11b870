"""Which facts speak about a run: the same cost class, near it, elsewhere, or not at all."""

from __future__ import annotations

from typing import Any

import pytest
from estimate_cases import A100, CPU, H100, experiment, fact, first_run, with_settings, world

from gpuplan.estimate.case import Case, case_of
from gpuplan.estimate.evidence import MOST, Clues, clues_of
from gpuplan.model import Compute, Evidence, Experiment, Gpu, Roles


def clues(*evidence: Evidence, asked: Experiment | None = None, gpu: Gpu = CPU) -> Clues:
    return clues_of(case(*evidence, asked=asked, gpu=gpu))


def case(*evidence: Evidence, asked: Experiment | None = None, gpu: Gpu = CPU) -> Case:
    asked = asked or experiment()
    return case_of(first_run(asked), asked, gpu=gpu, world=world(evidence))


def names(found: Clues) -> tuple[list[str], list[str], list[str]]:
    same, near, elsewhere = ([clue.evidence.id for clue in each] for each in found)
    return same, near, elsewhere


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        ({}, True),
        ({"lr": 3e-4}, True),
        ({"lr": 0}, True),
        ({"seed": 3}, True),
        ({"split_seed": 3}, True),
        ({"steps": 7}, True),
        ({"dropout": 0.3}, True),
        ({"dropout": 0.0}, False),
        ({"weight_decay": 0.01}, False),
        ({"batch": 64}, False),
        ({"layers": 4}, False),
        ({"control": "shuffled"}, False),
        ({"precision": "bf16"}, False),
    ],
)
def test_the_cost_class(settings: dict[str, Any], *, same: bool) -> None:
    found = clues(fact(settings=settings))
    assert [len(found.same), len(found.near), len(found.elsewhere)] == ([1, 0, 0] if same else [0, 1, 0])


def test_a_neutral_name_counts_where_both_values_are_numbers_that_are_not_zero() -> None:
    decayed = with_settings(weight_decay=0.1)
    assert names(clues(fact(settings={"weight_decay": 0.01}), asked=decayed))[0] == ["probe-1"]
    assert names(clues(fact(settings={"weight_decay": 0}), asked=decayed))[1] == ["probe-1"]
    assert names(clues(fact(settings={"weight_decay": "some"}), asked=decayed))[1] == ["probe-1"]


def test_what_differs_is_named() -> None:
    clue = clues(fact(settings={"batch": 64, "colour": "red"}, ranks=2)).near[0]
    assert clue.differs == ("batch", "colour", "ranks")
    assert clue.case.rows == 32


def test_threads_count_on_a_cpu_and_not_on_a_gpu() -> None:
    one = experiment(compute=Compute(threads=1))
    assert names(clues(fact(threads=2), asked=one)) == ([], ["probe-1"], [])
    assert names(clues(fact(threads=None), asked=one)) == (["probe-1"], [], [])
    assert names(clues(fact(threads=2, gpu=A100), asked=one, gpu=A100)) == (["probe-1"], [], [])


def test_threads_of_a_setting_count_before_the_recorded_ones() -> None:
    asked = experiment(settings=experiment().settings | {"workers": 2}, roles=Roles(batch="batch", threads="workers"))
    assert names(clues(fact(settings={"workers": 2}, threads=1), asked=asked))[0] == ["probe-1"]
    near = clues(fact(settings={"workers": 1}, threads=2), asked=asked).near[0]
    assert near.differs == ("workers",)
    assert near.case.threads == 1
    assert names(clues(fact(settings={"workers": 1}, gpu=A100), asked=asked, gpu=A100))[0] == ["probe-1"]


def test_other_programs_do_not_speak() -> None:
    assert names(clues(fact(command="python other.py"))) == ([], [], [])


def test_a_log_without_a_command_speaks_by_the_experiments_name() -> None:
    assert names(clues(fact(command="", kind="log")))[0] == ["probe-1"]
    assert names(clues(fact(command="", kind="log", experiment="another"))) == ([], [], [])


def test_another_gpu_is_elsewhere_and_a_cpu_says_nothing_of_a_gpu() -> None:
    assert names(clues(fact(gpu=H100), gpu=A100)) == ([], [], ["probe-1"])
    assert names(clues(fact(gpu=CPU), gpu=A100)) == ([], [], [])
    unknown = fact(gpu=A100.model_copy(update={"name": "a card nobody knows"}))
    assert names(clues(unknown, gpu=A100)) == ([], [], [])


def test_newest_first_and_doubtful_last() -> None:
    old, new = fact("old", taken="2026-01-01"), fact("new", taken="2026-10-01")
    doubtful = fact("doubtful", taken="2026-11-01", measured={"step_s": 1.0, "flags": ("two jobs wrote it",)})
    assert names(clues(doubtful, old, new))[0] == ["new", "old", "doubtful"]


def test_of_a_long_history_the_nearest_are_looked_at() -> None:
    many = [fact(f"b{batch:03}", settings={"batch": batch}) for batch in range(64, 64 + 3 * MOST)]
    near = names(clues(*reversed(many)))[1]
    assert near == [f"b{batch:03}" for batch in range(64, 64 + MOST)]


def test_a_trace_holds_for_another_batch_of_the_same_model_only() -> None:
    asked = experiment(footprint=None)
    traced = case(asked=experiment()).known
    assert traced is not None
    run = first_run(asked)
    here = world([fact("batch", settings={"batch": 8}), fact("layers", settings={"layers": 4})])
    here = here.model_copy(update={"footprints": {run.key: traced}})
    found = {clue.evidence.id: clue.case.known for clue in clues_of(case_of(run, asked, gpu=CPU, world=here)).near}
    assert found == {"batch": traced, "layers": None}
