from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gpuplan.errors import MAX_PROBLEMS, SpecError
from gpuplan.expand import expand
from gpuplan.model import Experiment, Limits, Roles
from gpuplan.spec import Spec, load, spec_of
from gpuplan.spec.check import SECTIONS, experiment_of, nearest
from gpuplan.spec.document import Document
from gpuplan.spec.read import read_text

BASE = "name: sweep\ncommand: python train.py --lr {lr}\n"

YAML = """\
# The same three times.
name: alpha-sweep
command: python train.py --lr {lr} --out {run_dir}
settings: {batch_size: 16, precision: fp32, shuffle: false, note: "größe: 'x'\\n", decay: 1.0}
vary:
  alpha: [static_0.5, learnable]
  lr: [5e-4, 1e-3]
zip: {layers: [2, 4], width: [64, 128]}
points: [{lr: 0.1, ranks: 2}]
seeds: [1, 2]
controls: [{name: base, settings: {lr: 0.0}, train: false}]
names: "{alpha}-{lr}-s{seed}"
roles: {micro_batch: batch_size, sequence: 128}
footprint: {model: {kind: decoder, layers: layers, d_model: 64, heads: 4, feedforward: 256, vocabulary: 1000}}
stages: [{name: first, repeats: 2, gpus: [A100 80GB]}, {name: second}]
environment: {python: .venv/bin/python, variables: {OMP_NUM_THREADS: "4"}}
inputs: [{path: "data/{alpha}", create: make data, splits: [train]}]
checkpoint: {every: 1000 steps, keep: 2, resume: "--from {checkpoint}", signal: SIGUSR1}
compute: {on: [local, slurm], gpus: [RTX 4090], reliability: 0.95, disk: 50 GB, download: 100 Mbit/s}
limits: {budget: 50 USD, deadline: 5 days, run: "1-02:00:00"}
expect: ["final(accuracy) >= 0.88"]
"""
TOML = """\
name = "alpha-sweep"
command = 'python train.py --lr {lr} --out {run_dir}'
seeds = [1, 2]
names = "{alpha}-{lr}-s{seed}"
expect = ["final(accuracy) >= 0.88"]
points = [{lr = 0.1, ranks = 2}]
settings = {batch_size = 16, precision = "fp32", shuffle = false, note = "größe: 'x'\\n", decay = 1.0}
roles = {micro_batch = "batch_size", sequence = 128}
checkpoint = {every = "1000 steps", keep = 2, resume = "--from {checkpoint}", signal = "SIGUSR1"}
limits = {budget = "50 USD", deadline = "5 days", run = "1-02:00:00"}
[vary]
alpha = ["static_0.5", "learnable"]
lr = [5e-4, 1e-3]
[zip]
layers = [2, 4]
width = [64, 128]
[[controls]]
name = "base"
settings = {lr = 0.0}
train = false
[footprint.model]
kind = "decoder"
layers = "layers"
d_model = 64
heads = 4
feedforward = 256
vocabulary = 1000
[[stages]]
name = "first"
repeats = 2
gpus = ["A100 80GB"]
[[stages]]
name = "second"
[environment]
python = ".venv/bin/python"
variables.OMP_NUM_THREADS = "4"
[[inputs]]
path = "data/{alpha}"
create = "make data"
splits = ["train"]
[compute]
on = ["local", "slurm"]
gpus = ["RTX 4090"]
reliability = 0.95
disk = "50 GB"
download = "100 Mbit/s"
"""


def document(text: str, suffix: str = "yaml") -> Document:
    return read_text(text.encode(), f"spec.{suffix}")


def experiment(text: str) -> Experiment:
    return spec_of(document(BASE + text)).experiment


def refused(text: str) -> list[str]:
    """`line:column: message` of each mistake, below the two lines of BASE."""
    with pytest.raises(SpecError) as caught:
        spec_of(document(BASE + text))
    return [f"{problem.line}:{problem.column}: {problem.message}" for problem in caught.value.problems]


# ---------------------------------------------------------------- what is right


def test_a_spec_is_the_same_in_every_format(tmp_path: Path) -> None:
    value = document(YAML).value
    for name, text in (("a.yaml", YAML), ("b.toml", TOML), ("c.json", json.dumps(value, indent=2))):
        (tmp_path / name).write_text(text, "utf-8")
    specs = [load(str(path)) for path in sorted(tmp_path.iterdir())]
    assert specs[0].experiment == specs[1].experiment == specs[2].experiment
    assert len({spec.digest for spec in specs}) == 1
    assert len({tuple(run.key for run in expand(spec.experiment)) for spec in specs}) == 1


@pytest.mark.parametrize(("text", "suffix"), [(YAML, "yaml"), (TOML, "toml")])
def test_an_experiment_survives_its_dump(text: str, suffix: str) -> None:
    found = spec_of(document(text, suffix)).experiment
    dumped = found.model_dump(mode="json")
    assert Experiment.model_validate(dumped) == found
    assert Experiment.model_validate(json.loads(json.dumps(dumped))) == found
    assert spec_of(read_text(json.dumps(dumped).encode(), "plan.json")).experiment == found


def test_numbers_texts_and_switches_are_what_they_look_like() -> None:
    found = experiment("settings: {lr: 5e-4, on: no, at: 12:30:00, day: 2026-01-01, shuffle: true, n: 1.0}").settings
    expected = {"lr": 0.0005, "on": "no", "at": "12:30:00", "day": "2026-01-01", "shuffle": True, "n": 1.0}
    assert {name: repr(value) for name, value in found.items()} == {name: repr(v) for name, v in expected.items()}


def test_the_spec_knows_where_it_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sub").mkdir()
    Path("sub/my.yaml").write_text(BASE + "vary:\n  lr: [1, 2]\n")
    spec = load("sub/my.yaml")
    assert (spec.path, spec.base) == ("sub/my.yaml", tmp_path / "sub")
    assert spec.places["vary.lr.1"] == "sub/my.yaml:4:11"
    assert spec.places["name"] == "sub/my.yaml:1:1"


def test_the_digest_is_of_the_meaning_not_of_the_text() -> None:
    def digest(text: str) -> str:
        return spec_of(document(text)).digest

    assert digest(BASE + "ranks: 1") == digest(f"# mine\n{BASE}")
    assert digest(BASE + "ranks: 2") != digest(BASE)


def test_a_value_of_a_hundred_thousand_characters_is_a_value() -> None:
    found = experiment(f"vary: {{lr: [{'x' * 100_000}]}}")
    (run,) = expand(found)
    assert len(str(run.settings["lr"])) == 100_000
    assert len(run.name) == 100


def test_true_one_and_the_float_one_are_three_values() -> None:
    assert len(expand(experiment("vary: {lr: [true, 1, 1.0, '1']}"))) == 4


def test_a_workload_fills_in_what_the_spec_leaves_out() -> None:
    spec = spec_of(document("name: a\nworkload: agnews\n"))
    assert spec.experiment.command
    assert spec.experiment.settings
    name, value = next((name, value) for name, value in spec.experiment.settings.items() if isinstance(value, int))
    own = spec_of(document(f"name: a\nworkload: agnews\nsettings: {{{name}: {int(value) + 1}}}\n"))
    assert own.experiment.settings == spec.experiment.settings | {name: int(value) + 1}
    assert Experiment.model_validate(own.experiment.model_dump(mode="json")) == own.experiment


# ---------------------------------------------------------------- what is wrong


def test_every_mistake_at_once_in_the_order_of_the_file() -> None:
    found = refused("seeds: [1, x]\nlimits: {bugdet: 5 USD}\nranks: true\nsettings:\n  a b: 1\n  c: [1]\nfoo: 1\n")
    assert [line.partition(" ")[0] for line in found] == ["3:12:", "4:10:", "5:1:", "7:3:", "8:3:", "9:1:"]


def test_every_contradiction_at_once_in_the_order_of_the_file() -> None:
    found = refused(
        'checkpoint: {files: ../x, resume: "\'"}\n'
        "settings: {ranks: 2, run_dir: x}\n"
        "seeds: [3, 3]\n"
        "zip: {a: [1], b: [1, 2]}\n"
        "vary: {a: [1, 1], copies: [0]}\n"
        'controls: [{name: c}, {name: c, command: "\'"}]\n'
    )
    assert found == [
        "3:14: checkpoint.files: leaves the run's folder",
        "3:27: checkpoint.resume: no closing quotation",
        "4:12: settings.ranks: ranks is not a setting of the program; it stands beside settings",
        "4:22: settings.run_dir: gpuplan fills {run_dir} itself; no setting can be called so",
        "5:12: seeds.1: 3 stands twice",
        "6:1: zip: lists of different lengths: a has 1, b has 2",
        "6:7: zip.a: varied under vary too",
        "7:8: vary.a: a value stands twice",
        "7:28: vary.copies.0: 0 is not a number of copies from 1 to 4096",
        "8:24: controls.1.name: c stands twice",
        "8:33: controls.1.command: no closing quotation",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("setings: {}", "setings: unknown key, did you mean settings?"),
        ("seed: [1]", "seed: unknown key, did you mean seeds?"),
        ("Ranks: 2", "Ranks: unknown key, did you mean ranks?"),
        ("limits: {bugdet: 5 USD}", "limits.bugdet: unknown key, did you mean budget?"),
        ("roles: {micro-batch: 5}", "roles.micro-batch: unknown key, did you mean micro_batch?"),
        ("checkpoint: {evry: 5}", "checkpoint.evry: unknown key, did you mean every?"),
        ("controls: [{name: a, setting: {}}]", "controls.0.setting: unknown key, did you mean settings?"),
        ("footprint: {trase: 'a:b'}", "footprint.trase: unknown key, did you mean trace?"),
        ("deadline: 5 days", "deadline: unknown key here; it belongs under limits:"),
        ("gpus: [A100]", "gpus: unknown key here; it belongs under compute:"),
        ("compute: {seeds: [1]}", "compute.seeds: unknown key here; it belongs at the top of the file"),
        ("hyperdrive: 9", "hyperdrive: unknown key"),
    ],
)
def test_what_was_meant(text: str, message: str) -> None:
    (found,) = refused(text)
    assert found.partition(": ")[2] == message


def test_a_workload_that_was_meant() -> None:
    with pytest.raises(SpecError, match=r"spec\.yaml:2:1: workload: agnew is not a workload, did you mean agnews\?"):
        spec_of(document("name: a\nworkload: agnew\n"))


def test_the_nearest_word() -> None:
    assert nearest("learning_rat", ["learning_rate", "layers"]) == "learning_rate"
    assert nearest("x", ["learning_rate", "layers"]) is None
    assert nearest("x" * 100_000, SECTIONS[()].model_fields) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ranks: 0", "ranks: at least 1, please"),
        ("copies: 4097", "copies: at most 4096, please"),
        ("compute: {reliability: 1.5}", "compute.reliability: at most 1.0, please"),
        ("roles: {batch: 1.5}", "roles.batch: the name of a setting or a number, please"),
        ("roles: {batch: {}}", "roles.batch: the name of a setting or a number, please"),
        ("roles: {precision: 16}", "roles.precision: a text, please"),
        ("footprint: {model: 3}", "footprint.model: a mapping, please: key: value"),
        ("footprint: {}", "footprint: takes exactly one of model, trace, logs"),
        ("vary: {lr: []}", "vary.lr: an empty list; give at least one value"),
        ("names: ''", "names: empty"),
        ("names: a/b", "names: a run's name is one folder, without slashes"),
        ("seeds: [1.5]", "seeds.0: a whole number, please"),
        ("controls: [{name: a, train: 3}]", "controls.0.train: true or false, please"),
        ("inputs: [{path: ''}]", "inputs.0.path: empty"),
        ("stages: [{name: a, settings: {name: b}}]", "stages.0.settings.name: gpuplan fills {name} itself; "),
        ("points: [{stage: 1}]", "points.0.stage: gpuplan fills {stage} itself; "),
        ("inputs: [{path: a, create: \"''\"}]", "inputs.0.create: empty"),
        ('controls: [{name: a, command: \'sh -c "x \\"{b}\\""\'}]', "controls.0.command: {b} stands inside quotes"),
    ],
)
def test_what_a_mistake_is_called(text: str, message: str) -> None:
    (found,) = refused(text)
    assert found.partition(": ")[2].startswith(message)


def test_a_spec_without_name_and_command_misses_both() -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(document("ranks: 2\n"))
    assert [problem.message for problem in caught.value.problems] == ["name: missing", "command: missing"]
    assert caught.value.problems[0].hint == "add `name: ...`"


def test_of_very_many_mistakes_the_first_are_told() -> None:
    text = "".join(f"k{index}: 1\n" for index in range(5000))
    with pytest.raises(SpecError) as caught:
        spec_of(document(BASE + text))
    assert [problem.line for problem in caught.value.problems] == list(range(3, MAX_PROBLEMS + 3))
    assert caught.value.message.endswith("and more like these")


def test_a_hundred_thousand_runs_are_allowed_and_one_more_is_not() -> None:
    numbers = ", ".join(map(str, range(100)))
    spec: Spec = spec_of(
        document(BASE + f"vary: {{a: [{numbers}], b: [{numbers}]}}\nstages: [{{name: s, repeats: 10}}]")
    )
    assert spec.experiment.stages[0].repeats == 10
    (found,) = refused(f"vary: {{a: [{numbers}], b: [{numbers}]}}\nstages: [{{name: s, repeats: 11}}]")
    assert found == "3:1: 10000 points x 11 waves = 110000 runs; at most 100,000"


def test_a_document_that_is_no_mapping() -> None:
    values: tuple[object, ...] = (None, [], "x", 3)
    for value in values:
        with pytest.raises(SpecError, match="a spec is a mapping"):
            experiment_of(Document("spec.yaml", [], value, {}))


def test_every_section_knows_its_keys() -> None:
    models: dict[Any, Any] = dict(SECTIONS)
    assert models["limits",] is Limits
    assert models["roles",] is Roles
    nested = {name for name, field in Experiment.model_fields.items() if "model_fields" in dir(field.annotation)}
    assert {at[0] for at in models if at} >= nested
