from __future__ import annotations

import json
import math
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gpuplan.model import (
    BYTES,
    BYTES_PER_SECOND,
    DOLLARS,
    SECONDS,
    SOURCES,
    Control,
    Evidence,
    Experiment,
    Footprint,
    Gpu,
    Line,
    Measurement,
    Moment,
    Operators,
    Plan,
    Quantity,
    Run,
    Scalar,
    Source,
    Unit,
)

CALM = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
FULL: dict[str, Any] = {
    "name": "alpha-sweep",
    "command": "python train.py --lr {lr}",
    "settings": {"batch_size": 16, "shuffle": False, "precision": "fp32", "decay": 0.0, "note": "größe 'x'"},
    "vary": {"lr": [5e-4, 1e-3], "ranks": [1, 2]},
    "zip": {"layers": [2, 4], "width": [64, 128]},
    "points": [{"lr": 0.1}, {"copies": 2}],
    "seeds": [1, 2],
    "controls": [{"name": "base", "settings": {"lr": 0.0}, "command": "python eval.py", "train": False}],
    "names": "{lr}-{seed}",
    "roles": {"batch": "batch_size", "sequence": 128, "learning_rate": "lr"},
    "footprint": {
        "model": {"kind": "decoder", "layers": "layers", "d_model": 64}
        | dict.fromkeys(("heads", "feedforward", "vocabulary"), 8)
    },
    "ranks": 2,
    "copies": 3,
    "stages": [{"name": "one", "repeats": 2, "settings": {"lr": 1}, "gpus": ["A100 80GB"]}],
    "environment": {"python": ".venv/bin/python", "variables": {"A": "1"}},
    "inputs": [{"path": "data/{lr}", "create": "make data", "splits": ["train"]}],
    "checkpoint": {"every": "10 min", "keep": 2, "resume": "--from {checkpoint}", "signal": "SIGUSR1"},
    "compute": {"on": ["local", "slurm"], "reliability": 0.95, "disk": "50 GB", "download": "100 Mbit/s", "threads": 4},
    "limits": {"budget": "$50", "deadline": "5 days", "run": "1-02:00:00", "grace": "0.1 s"},
    "expect": ["final(accuracy) >= 0.88"],
}
LENIENT_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
SCALARS = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), LENIENT_TEXT
)


def run(**values: Any) -> Run:
    return Run(**({"name": "a", "key": "k", "settings": {}, "point": {}, "command": "python"} | values))


def test_an_experiment_survives_its_own_dump() -> None:
    experiment = Experiment.model_validate(FULL)
    assert Experiment.model_validate(experiment.model_dump(mode="json")) == experiment
    assert Experiment.model_validate_json(experiment.model_dump_json()) == experiment
    assert Experiment.model_validate(json.loads(json.dumps(experiment.model_dump(mode="json")))) == experiment


def test_every_key_of_a_spec_stands_in_the_full_one() -> None:
    assert set(FULL) | {"workload"} == set(Experiment.model_fields)


def test_figures_are_kept_in_bytes_seconds_and_dollars() -> None:
    experiment = Experiment.model_validate(FULL)
    assert experiment.compute.disk == 50 * 10**9
    assert experiment.compute.download == 12.5e6
    assert (experiment.limits.budget, experiment.limits.deadline) == (50.0, 432_000.0)
    assert (experiment.limits.run, experiment.limits.grace) == (93_600.0, 0.1)


@CALM
@given(st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,9}", fullmatch=True), SCALARS, max_size=5))
def test_settings_keep_their_value_and_type(settings: dict[str, Any]) -> None:
    experiment = Experiment(name="a", command="x", settings=settings)
    again = Experiment.model_validate_json(experiment.model_dump_json())
    assert again == experiment
    assert {name: repr(value) for name, value in again.settings.items()} == {
        name: repr(value) for name, value in settings.items()
    }


@pytest.mark.parametrize("unit", [BYTES, BYTES_PER_SECOND, SECONDS, DOLLARS], ids=lambda unit: str(unit.suffix))
@CALM
@given(value=st.floats(min_value=0, max_value=float(2**62)))
def test_a_figure_is_read_back_as_it_was_written(unit: Unit, value: float) -> None:
    figure = float(round(value)) if unit is BYTES else value
    assert unit.read(unit.write(figure)) == figure


@pytest.mark.parametrize("value", [50, 50.0, True, None, [1], {"a": 1}])
def test_a_figure_without_a_unit_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="give a unit, as in 50 GB"):
        BYTES.read(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, [1], {"a": 1}, "a\0b", "\ud800", b"x", {1}])
def test_what_no_setting_can_be(value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Scalar).validate_python(value)


@pytest.mark.parametrize("value", [True, False, 0, 1, 1.0, -0.0, 5e-324, 2**63 - 1, "", "1", "true", "größe", "a\nb"])
def test_what_a_setting_can_be(value: Scalar) -> None:
    read = TypeAdapter(Scalar).validate_python(value)
    assert (type(read), repr(read)) == (type(value), repr(value))


def test_nouns_are_frozen_and_know_their_keys() -> None:
    control = Control(name="base")
    with pytest.raises(ValidationError, match="frozen"):
        control.name = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="extra"):
        Control.model_validate({"name": "base", "nme": 1})


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "-rf", ".x", "a b", "a\n", "é", "a" * 101, "a\0"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        Control(name=name)


def test_an_interval_is_ordered() -> None:
    with pytest.raises(ValidationError, match=r"ordered: 2\.0, 1\.0, 3\.0"):
        Quantity(p10=2, p50=1, p90=3, source="assumed", because="")
    with pytest.raises(ValidationError, match="finite"):
        Quantity(p10=1, p50=1, p90=math.inf, source="assumed", because="")


def test_a_quantity_in_another_unit() -> None:
    hours = Quantity(p10=1, p50=2, p90=3, source="measured", because="a log")
    seconds = hours.times(3600)
    assert (seconds.p10, seconds.p50, seconds.p90) == (3600, 7200, 10_800)
    assert (seconds.source, seconds.because) == ("measured", "a log")


def test_the_sources_are_ranked_once_each() -> None:
    assert get_args(Source) == SOURCES


def test_the_peak_of_a_footprint_moves_with_the_batch() -> None:
    forward = Moment(phase="forward", alive_bytes={"activations": Line(slope=10), "parameters": Line(intercept=100)})
    step = Moment(phase="optimizer", alive_bytes={"optimizer": Line(intercept=300)})
    operators = (
        Operators(kind="matmul", flops=Line(slope=2), moved_bytes=Line(intercept=7), kernels=1),
        Operators(kind="optimizer", flops=Line(intercept=5), moved_bytes=Line(slope=1), kernels=1),
    )
    footprint = Footprint(
        source="closed_form",
        because="",
        parameters=25,
        gradient_bytes=100,
        checkpoint_bytes=300,
        operators=operators,
        moments=(forward, step),
    )
    assert footprint.peak(1).phase == "optimizer"
    assert footprint.peak(21) == forward
    assert forward.total_bytes(21) == 310
    assert footprint.flops(10) == 25
    assert footprint.moved_bytes(10) == 17


def test_a_role_is_a_setting_or_a_number() -> None:
    one = run(settings={"batch_size": 16})
    assert one.value_of("batch_size") == 16
    assert one.value_of("other") is None
    assert one.value_of(128) == 128
    assert one.value_of(None) is None


def test_evidence_carries_its_measurement() -> None:
    evidence = Evidence(
        id="e",
        kind="log",
        experiment="a",
        run="b",
        settings={"lr": 0.1},
        gpu="A100",
        measurement=Measurement(step_s=0.5),
        taken="2026-01-01",
    )
    assert Evidence.model_validate_json(evidence.model_dump_json()) == evidence


def test_a_plan_says_its_schema_first() -> None:
    schema = Plan.model_json_schema(by_alias=True)
    assert next(iter(schema["properties"])) == "schema"
    assert schema["properties"]["schema"]["const"] == Plan.SCHEMA


def test_a_gpu_has_no_price() -> None:
    assert not [name for name in Gpu.model_fields if "price" in name or "usd" in name]


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": [True]},
        {"seeds": ["2"]},
        {"seeds": [-1]},
        {"settings": {"a": 2**64}},
        {"roles": {"batch": True}},
        {"environment": {"variables": {"A": "a\0b"}}},
        {"limits": {"run": "0 s"}},
        {"compute": {"disk": "1e300 TB"}},
    ],
    ids=str,
)
def test_what_no_program_can_take_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Experiment.model_validate({"name": "x", "command": "y", **changes})
