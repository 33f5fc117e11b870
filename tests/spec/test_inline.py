from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpuplan.command import words
from gpuplan.errors import GpuplanError, SpecError, UserError
from gpuplan.expand import expand
from gpuplan.spec import assignment, inline_document, load, spec_of
from gpuplan.spec.read import read_text

if TYPE_CHECKING:
    from pathlib import Path

    from gpuplan.model import Experiment

CALM = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
FILE = """\
name: train
command: python train.py --lr {lr}
settings: {size: small}
vary: {lr: [1, 2]}
seeds: [1, 2]
controls: [{name: base}]
"""


def overridden(*overrides: str) -> Experiment:
    return spec_of(read_text(FILE.encode(), "e.yaml"), overrides=overrides).experiment


def inline(*words_: str, **options: Any) -> Experiment:
    return spec_of(inline_document(words_, **options)).experiment


def refused(*overrides: str) -> UserError:
    with pytest.raises(UserError) as caught:
        overridden(*overrides)
    assert caught.value.exit_code == 2
    return caught.value


# ---------------------------------------------------------------- a sweep without a file


def test_a_sweep_without_a_file_is_the_same_as_with_one(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(
        "name: train\ncommand: python train.py --lr {lr} --out '{run_dir}/a b'\n"
        "vary:\n  lr: [5e-4, 1e-3]\n  kind: [no, 'a, b']\nseeds: [1, 2]\nranks: 2\n"
    )
    document = inline_document(
        ["python", "train.py", "--lr", "{lr}", "--out", "{run_dir}/a b"],
        vary=["lr=5e-4,1e-3", "kind=no,'a, b'"],
        seeds="1,2",
        ranks=2,
    )
    spec, from_file = spec_of(document), load(str(tmp_path / "e.yaml"))
    assert spec.experiment == from_file.experiment
    assert spec.digest == from_file.digest
    assert expand(spec.experiment) == expand(from_file.experiment)
    assert spec.path == "command line"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1", [1]),
        ("1,2", [1, 2]),
        ("5e-4, 1e-3", [0.0005, 0.001]),
        ("[1,2]", [1, 2]),
        ("a b,c", ["a b", "c"]),
        ('"a,b"', ["a,b"]),
        ('"a,b",c', ["a,b", "c"]),
        ("true,no", [True, "no"]),
        ("static_0.0,learnable", ["static_0.0", "learnable"]),
        ("12:30:00", ["12:30:00"]),
        ("a=b", ["a=b"]),
        ("1,", [1]),
        ("-1,-2", [-1, -2]),
        ("models/a.bin,/b", ["models/a.bin", "/b"]),
    ],
)
def test_values_on_the_command_line(text: str, values: list[object]) -> None:
    found = inline("train", vary=[f"lr={text}"]).vary["lr"]
    assert [(type(value), value) for value in found] == [(type(value), value) for value in values]


@pytest.mark.parametrize("text", ["[1", "{", "a: b", "'", ",", "[1],2", "*a", "!x y", "\0", "\udcff", "1\nw: 2", "%"])
def test_what_is_no_value(text: str) -> None:
    with pytest.raises(UserError, match=r"--vary lr: .* is neither a value nor a list of values"):
        inline("train", vary=[f"lr={text}"])


@pytest.mark.parametrize("item", ["lr", "lr=", "=1", "", "="])
def test_what_is_no_assignment(item: str) -> None:
    with pytest.raises(UserError, match="give it as name=value") as caught:
        inline("train", vary=[item])
    assert caught.value.hint == "--vary learning_rate=5e-4,1e-3"


def test_a_name_varies_once() -> None:
    with pytest.raises(UserError, match="--vary lr=2: lr is given twice"):
        inline("train", vary=["lr=1", "lr=2"])


def test_there_has_to_be_a_command() -> None:
    with pytest.raises(UserError, match="no command") as caught:
        inline(vary=["lr=1"])
    assert caught.value.hint == "put it after two dashes, as in `-- python train.py --lr {lr}`"


def test_mistakes_have_a_place_without_a_file_too() -> None:
    with pytest.raises(SpecError) as caught:
        inline("train", vary=["my key=1", "ranks=0"], seeds="x")
    assert [str(problem).partition(" is not")[0] for problem in caught.value.problems] == [
        "command line:1:1: vary.my key: 'my key'",
        "command line:1:1: seeds.0: a whole number, please",
    ]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["python", "train.py"], "train"),
        (["python", "-u", "src/my model.v2.py", "x.py"], "x"),
        (["bash", "run.sh"], "run"),
        (["./train", "--x"], "train"),
        (["größe"], "gr-e"),
        (["--.py"], "sweep"),
        (["/x/__init__.py"], "init"),
        (["a" * 300 + ".py"], "a" * 60),
    ],
)
def test_the_name_is_that_of_the_script(command: list[str], name: str) -> None:
    assert inline(*command).name == name


@CALM
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_words_of_the_command_stay_words(command: list[str]) -> None:
    document = inline_document(command)
    assert words(document.value["command"]) == command
    try:
        spec_of(document)
    except SpecError as error:
        assert error.problems[0].path == "command line"  # noqa: PT017


def test_fields_stay_readable() -> None:
    assert inline_document(["a", "{lr}", "--x={y}", "it's"]).value["command"] == "a {lr} --x={y} " + shlex.quote("it's")


# ---------------------------------------------------------------- --set


@pytest.mark.parametrize(
    ("override", "at", "value"),
    [
        ("name=other", "name", "other"),
        ("settings.size=large", "settings", {"size": "large"}),
        ("settings.lr=5e-4", "settings", {"size": "small", "lr": 0.0005}),
        ("settings.note='a, b'", "settings", {"size": "small", "note": "a, b"}),
        ("vary.lr=[3,4]", "vary", {"lr": [3, 4]}),
        ("vary.lr.1=9", "vary", {"lr": [1, 9]}),
        ("seeds=[]", "seeds", []),
        ("seeds.0=7", "seeds", [7, 2]),
        ("ranks=4", "ranks", 4),
        ("command=python other.py", "command", "python other.py"),
    ],
)
def test_a_key_is_replaced(override: str, at: str, value: object) -> None:
    assert getattr(overridden(override), at) == value


def test_a_section_that_is_not_there_is_made() -> None:
    found = overridden("limits.budget=50 USD", "compute.disk=5 GB", "controls.0.settings.lr=0")
    assert (found.limits.budget, found.compute.disk) == (50.0, 5 * 10**9)
    assert found.controls[0].settings == {"lr": 0}


def test_an_empty_section_is_filled() -> None:
    document = read_text(b"name: a\ncommand: x\nlimits:\n", "e.yaml")
    assert spec_of(document, overrides=["limits.run=1 h"]).experiment.limits.run == 3600


def test_the_last_of_several_wins() -> None:
    assert overridden("limits.run=1 h", "limits.run=2 h").limits.run == 7200


def test_the_spec_remembers_what_was_set() -> None:
    spec = spec_of(read_text(FILE.encode(), "e.yaml"), overrides=["seeds=[3]", "ranks=2"])
    assert spec.overrides == ("seeds=[3]", "ranks=2")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("name.x=1", "--set name.x=1: there is no x to set"),
        ("vary.lr.2=1", "--set vary.lr.2=1: there is no 2 to set"),
        ("vary.lr.x=1", "--set vary.lr.x=1: there is no x to set"),
        ("vary.lr.-1=1", "--set vary.lr.-1=1: there is no -1 to set"),
        ("seeds.².x=1", "--set seeds.².x=1: there is no ² to set"),
        ("seeds." + "9" * 5000 + "=1", "--set seeds.999"),
        ("seeds.0.x=1", "--set seeds.0.x=1: there is no x to set"),
        ("seeds=1,2", "--set seeds=1,2: a list needs brackets"),
        ("ranks", "--set ranks: give it as name=value"),
        ("settings.x={", "--set settings.x: '{' is neither a value nor a list of values"),
    ],
)
def test_what_cannot_be_set(override: str, message: str) -> None:
    assert refused(override).message.startswith(message)


@pytest.mark.parametrize("override", ["ranks", "foo", "seeds=", "=1", ""])
def test_the_hint_for_what_is_no_assignment_is_a_key_that_can_be_set(override: str) -> None:
    hint = refused(override).hint
    assert hint == "--set limits.run='2 h'"
    assert overridden(shlex.split(hint)[1]).limits.run == 7200


def test_a_setting_without_a_value_has_the_hint_of_one() -> None:
    with pytest.raises(UserError) as caught:
        assignment("foo", "--set")
    assert caught.value.hint == "--set batch_size=32"


def test_how_a_list_is_set() -> None:
    assert refused("seeds=1,2").hint == "--set 'seeds=[1,2]'"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("ranks=two", "e.yaml:1:1: ranks: a whole number, please"),
        ("limits.budget=50", "e.yaml:1:1: limits.budget: give a unit, as in 50 USD"),
        ("settings.a b=1", "e.yaml:3:1: settings.a b: 'a b' is not a name"),
        ("settings.3=1", "e.yaml:3:1: settings.3: '3' is not a name"),
        ("setings.x=1", "e.yaml:1:1: setings: unknown key, did you mean settings?"),
        ("=.x=1", "--set =.x=1: give it as name=value"),
        (".=1", "e.yaml:1:1: unknown key"),
        ("vary.lr.0={a: 1}", "e.yaml:4:13: vary.lr.0: a setting is a number"),
        ("settings.\udcff=1", "e.yaml:3:1: settings"),
    ],
)
def test_what_is_set_is_checked_like_the_file(override: str, message: str) -> None:
    assert refused(override).message.startswith(message)


def test_a_mistake_after_an_override_says_so() -> None:
    assert refused("ranks=two", "seeds=[1]").hint == "this is the spec after --set ranks=two --set seeds=[1]"


@CALM
@given(TEXTS, TEXTS)
def test_no_override_ends_in_another_error(key: str, value: str) -> None:
    for item in (f"{key}={value}", f"settings.{key}={value}", f"seeds.0.{key}={value}", value):
        try:
            overridden(item)
        except GpuplanError as error:
            assert error.exit_code == 2  # noqa: PT017
