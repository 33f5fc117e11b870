from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpuplan.expand import Shape, axes, count, expand, shape_of
from gpuplan.model import Experiment, Run

CALM = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]{0,99}")
KEYS = st.from_regex(r"[a-z][a-z0-9]{0,3}(_[a-z]{1,3}){0,2}", fullmatch=True).filter("no".__ne__)
"""Without a setting `no`, whose `no-a` may also be a false `a`; `verify` finds the equal names."""

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=120)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
ONE_KIND = st.one_of(
    st.lists(st.booleans(), min_size=1, max_size=2, unique=True),
    st.lists(NUMBERS, min_size=1, max_size=4, unique_by=repr),
    st.lists(st.from_regex(r"[a-z]{1,4}", fullmatch=True), min_size=1, max_size=4, unique=True),
)
ANY_KIND = st.lists(st.booleans() | NUMBERS | TEXTS, min_size=1, max_size=4)
CONTROLS = st.lists(st.from_regex(r"c[a-z]{0,5}", fullmatch=True).map(lambda name: {"name": name}), max_size=2)
STAGES = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from(["one", "two", "three"]), "repeats": st.integers(1, 3)}),
    max_size=2,
    unique_by=lambda stage: str(stage["name"]),
)


@st.composite
def experiments(draw: st.DrawFn, values: st.SearchStrategy[list[Any]] = ANY_KIND) -> Experiment:
    """Specs of every shape: product, zip, points, seeds, controls, stages, any of them absent."""
    names = draw(st.lists(KEYS, max_size=4, unique=True))
    cut = draw(st.integers(0, len(names)))
    length = draw(st.integers(1, 3))
    zipped = {name: st.lists(st.integers(0, 99), min_size=length, max_size=length, unique=True) for name in names[cut:]}
    return Experiment.model_validate(
        {
            "name": "sweep",
            "command": "python train.py",
            "vary": {name: draw(values) for name in names[:cut]},
            "zip": draw(st.fixed_dictionaries(zipped)),
            "points": draw(st.lists(st.dictionaries(KEYS, st.integers(0, 9), min_size=1, max_size=2), max_size=2)),
            "seeds": draw(st.lists(st.integers(0, 99), max_size=3, unique=True)),
            "controls": draw(CONTROLS),
            "stages": draw(STAGES),
        }
    )


def sweep(**values: Any) -> Experiment:
    return Experiment.model_validate({"name": "sweep", "command": "python train.py"} | values)


def names(**values: Any) -> list[str]:
    return [run.name for run in expand(sweep(**values))]


def keys(**values: Any) -> list[str]:
    return [run.key for run in expand(sweep(**values))]


@CALM
@given(experiments())
def test_the_count_is_the_number_of_runs(experiment: Experiment) -> None:
    total = count(experiment)
    assert total.runs == len(expand(experiment))
    assert total.runs == total.points * total.seeds * total.waves + total.controls


@CALM
@given(experiments())
def test_names_are_one_safe_path_component(experiment: Experiment) -> None:
    for run in expand(experiment):
        assert SAFE_NAME.fullmatch(run.name), run.name
        assert Run.model_validate_json(run.model_dump_json()) == run


@CALM
@given(experiments(ONE_KIND).filter(lambda experiment: not experiment.points))
def test_distinct_points_of_a_grid_have_distinct_names_and_keys(experiment: Experiment) -> None:
    runs = [run for run in expand(experiment) if run.control is None]
    assert len({run.key for run in runs}) == len(runs)
    assert len({run.name for run in runs}) == len(runs)


@CALM
@given(TEXTS)
def test_any_template_of_names_is_made_safe(template: str) -> None:
    for name in names(names=template or "x", vary={"a": ["../..", "/etc", ".", "-rf", "~", "\n"]}):
        assert SAFE_NAME.fullmatch(name), name


@CALM
@given(experiments(), st.integers(100, 999))
def test_another_seed_leaves_the_old_runs_as_they_are(experiment: Experiment, seed: int) -> None:
    if not experiment.seeds:
        experiment = experiment.model_copy(update={"seeds": [1]})
    grown = experiment.model_copy(update={"seeds": [*experiment.seeds, seed]})
    old, new = expand(experiment), expand(grown)
    assert {(run.key, run.name) for run in old} <= {(run.key, run.name) for run in new}
    assert len(new) - len(old) == count(experiment).points * count(experiment).waves


@CALM
@given(experiments())
def test_only_what_decides_the_result_is_in_the_key(experiment: Experiment) -> None:
    update = {"name": "other", "names": "n-{seed}", "expect": ["speedup(ranks=4) > 2"], "settings": {}}
    renamed = experiment.model_copy(update=update)
    assert [run.key for run in expand(renamed)] == [run.key for run in expand(experiment)]


def test_the_order_is_stages_points_seeds_then_controls() -> None:
    assert names(
        vary={"lr": [0.1, 0.2]},
        seeds=[1, 2],
        stages=[{"name": "one", "repeats": 2}, {"name": "two"}],
        controls=[{"name": "base"}],
    ) == [
        *("one-lr0.1-s1", "one-lr0.1-s2", "one-lr0.2-s1", "one-lr0.2-s2"),
        *("one-lr0.1-s1-r2", "one-lr0.1-s2-r2", "one-lr0.2-s1-r2", "one-lr0.2-s2-r2"),
        *("two-lr0.1-s1", "two-lr0.1-s2", "two-lr0.2-s1", "two-lr0.2-s2"),
        "base",
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ["sweep"]),
        ({"seeds": [3]}, ["s3"]),
        ({"vary": {"learning_rate": [5e-4, 1e-05]}}, ["lr0.0005", "lr1e-05"]),
        ({"vary": {"size": ["small", "large"]}}, ["small", "large"]),
        ({"vary": {"shuffle": [True, False]}}, ["shuffle", "no-shuffle"]),
        ({"vary": {"learning_rate": [1], "loss_ratio": [2]}}, ["learning_rate1-loss_ratio2"]),
        ({"vary": {"ranks": [1, 4]}}, ["ranks1", "ranks4"]),
        ({"zip": {"layers": [2, 4], "width": [64, 128]}}, ["layers2-width64", "layers4-width128"]),
        ({"vary": {"a": [1]}, "points": [{"b": 2}]}, ["a1", "b2"]),
        ({"points": [{"b": 2}]}, ["b2"]),
        ({"vary": {"model": ["meta-llama/Llama-3.2-1B"]}}, ["meta-llama-Llama-3.2-1B"]),
        ({"vary": {"path": ["../../etc/passwd", "~/x", ".hidden", "-rf"]}}, ["etc-passwd", "x", "hidden", "rf"]),
        ({"vary": {"word": ["größe", "大", "a\nb", "$(rm)"]}}, ["gr-e", "run", "a-b", "rm"]),
        ({"names": "{size}/{missing}-{seed}", "vary": {"size": ["s"]}, "seeds": [1]}, ["s--1"]),
        ({"names": "{{size}}x"}, ["size-x"]),
    ],
)
def test_names(values: dict[str, Any], expected: list[str]) -> None:
    assert names(**values) == expected


def test_a_long_name_ends_in_a_hash_of_the_whole() -> None:
    one, other = names(vary={"prompt": ["a" * 100_000, "a" * 99_999 + "b"]})
    assert len(one) == len(other) == 100
    assert one[:91] == other[:91]
    assert one != other


def test_keys_do_not_depend_on_the_process() -> None:
    script = (
        "from gpuplan.expand import expand\n"
        "from gpuplan.model import Experiment\n"
        "spec = {'name': 'a', 'command': 'x {lr}', 'vary': {'lr': [5e-4, 1], 'word': ['größe', 'b']}, 'seeds': [1],"
        " 'settings': {'z': 1, 'a': True}, 'environment': {'variables': {'B': '1', 'A': '2'}}}\n"
        "print(*(run.key for run in expand(Experiment.model_validate(spec))))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "4711")
    }
    assert len(printed) == 1
    assert re.fullmatch(r"([0-9a-f]{16} ?){4}\n", printed.pop())


@pytest.mark.parametrize(
    "change",
    [
        {"command": "python other.py"},
        {"settings": {"lr": 0.1}},
        {"settings": {"lr": "1"}},
        {"settings": {"lr": 1.0}},
        {"settings": {"lr": True}},
        {"seeds": [1]},
        {"ranks": 2},
        {"copies": 2},
        {"stages": [{"name": "one"}]},
        {"environment": {"python": "python3.12"}},
        {"environment": {"variables": {"A": "1"}}},
    ],
)
def test_what_decides_the_result_changes_the_key(change: dict[str, Any]) -> None:
    assert keys(**{"settings": {"lr": 1}} | change) != keys(settings={"lr": 1})


def test_a_value_that_varies_is_the_same_run_as_one_that_is_set() -> None:
    assert keys(vary={"lr": [1, 2]}) == [*keys(settings={"lr": 1}), *keys(settings={"lr": 2})]


def test_every_repeat_is_a_run_of_its_own() -> None:
    assert len(set(keys(stages=[{"name": "one", "repeats": 3}, {"name": "two", "repeats": 3}]))) == 6


def test_a_point_wins_over_its_stage_and_the_stage_over_the_settings() -> None:
    experiment = sweep(
        settings={"lr": 1, "size": 1, "depth": 1},
        vary={"lr": [3]},
        stages=[{"name": "one", "settings": {"lr": 2, "size": 2}}],
        controls=[{"name": "base", "settings": {"depth": 9}}],
    )
    run, control = expand(experiment)
    assert run.settings == {"lr": 3, "size": 2, "depth": 1}
    assert control.settings == {"lr": 1, "size": 1, "depth": 9}
    assert (control.point, control.stage) == ({}, None)


def test_ranks_and_copies_are_the_gang_and_no_settings() -> None:
    runs = expand(sweep(ranks=2, vary={"copies": [1, 8]}, points=[{"ranks": 4}], controls=[{"name": "base"}]))
    assert [(run.ranks, run.copies) for run in runs] == [(2, 1), (2, 8), (4, 1), (2, 1)]
    assert all(run.settings == {} for run in runs)


def test_a_control_may_be_another_program_and_only_evaluate() -> None:
    control = {"name": "base", "command": "python eval.py", "train": False}
    (_, run) = expand(sweep(seeds=[7], controls=[control]))
    assert (run.command, run.train, run.seed, run.control) == ("python eval.py", False, 7, "base")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "1 point = 1 run"),
        ({"vary": {"a": [1, 2]}}, "2 points = 2 runs"),
        ({"vary": {"a": [1, 2]}, "seeds": [1, 2, 3]}, "2 points x 3 seeds = 6 runs"),
        ({"seeds": [1], "controls": [{"name": "base"}]}, "1 point + 1 control = 2 runs"),
        ({"stages": [{"name": "a", "repeats": 2}, {"name": "b"}]}, "1 point x 3 waves = 3 runs"),
    ],
)
def test_the_count_in_words(values: dict[str, Any], text: str) -> None:
    assert str(count(sweep(**values))) == text


def test_a_billion_runs_are_counted_without_making_one() -> None:
    assert count(sweep(vary={f"a{index}": list(range(10)) for index in range(9)})).runs == 10**9


def test_axes_in_the_order_of_the_spec() -> None:
    assert axes(sweep(vary={"b": [1], "a": [1]}, zip={"c": [1]}, points=[{"a": 2, "d": 3}])) == ("b", "a", "c", "d")


def shape(settings_: dict[str, Any], roles: dict[str, Any], **values: Any) -> Shape:
    experiment = sweep(settings=settings_, roles=roles, **values)
    return shape_of(expand(experiment)[0], experiment)


def test_the_batch_follows_from_the_micro_batch() -> None:
    found = shape({"bs": 8, "acc": 4}, {"micro_batch": "bs", "accumulation": "acc"}, ranks=2)
    assert (found.micro_batch, found.batch, found.accumulation) == (8, 64, 4)


def test_the_micro_batch_follows_from_the_batch_and_is_rounded_up() -> None:
    found = shape({"bs": 33}, {"batch": "bs"}, ranks=4)
    assert (found.micro_batch, found.batch) == (9, 33)


@pytest.mark.parametrize(("epochs", "steps"), [(1, 32), (3, 96), (0.5, 16), (1.5, 48)])
def test_steps_follow_from_epochs_and_rows(epochs: float, steps: int) -> None:
    assert shape({"epochs": epochs}, {"batch": 32, "train_rows": 1000, "epochs": "epochs"}).steps == steps


@pytest.mark.parametrize("value", ["32", True, -1, 0.5, "many", 2**63 - 1, 1e300])
def test_a_role_whose_setting_is_no_count_says_nothing(value: object) -> None:
    found = shape({"bs": value, "precision": "bf16"}, {"batch": "bs", "precision": "precision", "sequence": 128})
    assert (found.batch, found.micro_batch, found.precision, found.sequence) == (None, None, "bf16", 128)


def test_what_loads_and_compiles() -> None:
    found = shape({"nw": 4, "ms": 0.02, "fast": "default"}, {"workers": "nw", "load_s": "ms", "compile": "fast"})
    assert (found.workers, found.load_s, found.compiles) == (4, 0.02, True)
    assert shape({"compile": True}, {}).compiles
    assert not shape({"compile": "False"}, {}).compiles
    nothing = shape({"nw": -1}, {"workers": "nw", "compile": False})
    assert (nothing.workers, nothing.load_s, nothing.compiles) == (None, None, False)


def test_an_evaluation_has_no_steps() -> None:
    experiment = sweep(roles={"steps": 100}, controls=[{"name": "base", "train": False}])
    train, evaluation = (shape_of(run, experiment) for run in expand(experiment))
    assert (train.steps, evaluation.steps) == (100, 0)


@CALM
@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), NUMBERS | TEXTS | st.booleans()))
def test_no_setting_breaks_the_shape(values: dict[str, Any]) -> None:
    roles = dict(zip(("batch", "steps", "epochs"), ("a", "b", "c"), strict=True)) | {"train_rows": "a"}
    found = shape(values, roles)
    assert all(number is None or math.isfinite(number) for number in found if not isinstance(number, str))
