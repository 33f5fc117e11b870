from __future__ import annotations

from gpuplan.estimate.classes import classes_of
from gpuplan.expand import expand
from gpuplan.model import Experiment


def names(**keys: object) -> list[list[str]]:
    experiment = Experiment.model_validate({"name": "x", "command": "train {lr} {width}", **keys})
    return [[run.name for run in alike] for alike in classes_of(expand(experiment), experiment)]


def test_seeds_and_learning_rates_cost_the_same() -> None:
    assert names(vary={"lr": [0.1, 0.2], "width": [8, 16]}, seeds=[1, 2]) == [
        ["lr0.1-width8-s1", "lr0.1-width8-s2", "lr0.2-width8-s1", "lr0.2-width8-s2"],
        ["lr0.1-width16-s1", "lr0.1-width16-s2", "lr0.2-width16-s1", "lr0.2-width16-s2"],
    ]


def test_none_of_a_neutral_number_is_another_class_than_some_of_it() -> None:
    assert len(names(vary={"weight_decay": [0.0, 0.1, 0.01]})) == 2


def test_what_nobody_knows_makes_a_class_of_its_own() -> None:
    assert len(names(vary={"shuffle": [True, False]})) == 2
    assert len(names(vary={"lr": ["cosine", "linear"]})) == 2
    assert len(names(vary={"rate": [0.1, 0.2]}, roles={"learning_rate": "rate"})) == 1


def test_gangs_evaluations_and_other_programs_are_classes_of_their_own() -> None:
    controls = [{"name": "eval", "train": False}, {"name": "other", "command": "python other.py"}]
    assert len(names(vary={"ranks": [1, 2]}, controls=controls)) == 4
