from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from verify_world import SOUND, errors, estimates, experiment, findings, found, only, world

from gpuplan.expand import expand
from gpuplan.model import CommandFact, Experiment, FileFact
from gpuplan.verify import CHECKS, verify

SEVERITIES = ("error", "warning", "note")

SYSTEMS = {
    "pagating": {
        "name": "alpha-sweep",
        "command": "python scripts/train_pagating.py --alpha_mode {alpha_mode} --learning_rate {learning_rate}"
        " --batch_size {batch_size} --max_steps {steps} --output_dir {run_dir}",
        "settings": {"batch_size": 16, "steps": 20000},
        "vary": {
            "alpha_mode": ["static_0.0", "static_0.5", "static_1.0", "learnable", "scheduler_cosine"],
            "learning_rate": [5e-4, 1e-3],
        },
        "roles": {"micro_batch": "batch_size", "steps": "steps", "sequence": 128},
        "checkpoint": {"every": "1000 steps", "keep": 2, "resume": "--resume_from_checkpoint {checkpoint}"},
    },
    "lora": {
        "name": "lora",
        "command": "tune run lora_finetune_single_device model={model} lora_rank={rank} seed={seed}"
        " output_dir={run_dir} epochs={epochs}",
        "settings": {"epochs": 1},
        "vary": {"model": ["meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-3B"], "rank": [4, 64]},
        "seeds": [42],
        "controls": [
            {
                "name": "base-1b",
                "command": "tune run eleuther_eval --model {model}",
                "settings": {"model": "meta-llama/a"},
            }
        ],
    },
    "agnews": {
        "name": "scaling",
        "command": "python -m src.train --batch {batch} --epochs {epochs} --output_dir {run_dir}",
        "settings": {"batch": 128, "epochs": 20, "rows": 120000},
        "vary": {"ranks": [1, 2]},
        "roles": {"batch": "batch", "epochs": "epochs", "train_rows": "rows"},
    },
    "swarm": {
        "name": "sapo",
        "command": "bash -c 'cd /opt/swarm && python node.py --i {i} --j {j} > {run_dir}/log 2>&1'",
        "zip": {"i": [8, 4], "j": [0, 4]},
    },
}


def test_a_sound_experiment_is_only_described() -> None:
    assert [finding.check for finding in findings(experiment())] == ["input"]


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_systems_as_they_should_be_written_give_no_alarm(system: str) -> None:
    spec = Experiment.model_validate(SYSTEMS[system])
    alarms = [finding for finding in findings(spec, given=world()) if finding.severity != "note"]
    assert alarms == []


def test_errors_come_first_then_the_order_of_the_checks() -> None:
    broken = experiment(
        command="python train.py --lr {lr} --oops {batchsize} --out {run_dir} | tee log",
        settings={"batch": 32, "steps": 1000, "unused": 1},
        checkpoint={"every": "often"},
        copies=2,
    )
    severities = [finding.severity for finding in findings(broken)]
    assert severities == sorted(severities, key=SEVERITIES.index)
    checks = [finding.check for finding in findings(broken) if finding.severity == "error"]
    assert checks == ["shell-operator", "setting-undefined", "seed-unused", "checkpoint-every"]


def test_the_same_world_gives_the_same_findings() -> None:
    broken = experiment(command="python train.py --lr {lr} --x {y} --out same")
    assert findings(broken) == findings(broken)


def test_a_finding_says_where_what_why_and_what_to_do() -> None:
    broken = experiment(
        command="python train.py --x {y} > log", vary={"lr": [1, 2], "z": [1, 2]}, inputs=[{"path": "data/{y}"}]
    )
    for finding in findings(broken, given=world(places={"command": "experiment.yaml:2:1"})):
        assert all((finding.message, finding.place, finding.because, finding.fix))
        assert finding.place == "experiment.yaml:2:1" or ":" not in finding.place


def test_the_place_is_the_line_of_the_key_or_of_the_one_above() -> None:
    broken = experiment(vary={"lr": [0.001, 0.0005], "alpha": [0, 1]})
    assert only("varied-unused", broken).place == "vary.alpha"
    above = world(places={"vary": "experiment.yaml:4:1"})
    assert only("varied-unused", broken, given=above).place == "experiment.yaml:4:1"
    exact = world(places={"vary": "experiment.yaml:4:1", "vary.alpha": "experiment.yaml:6:3"})
    assert only("varied-unused", broken, given=exact).place == "experiment.yaml:6:3"


def test_one_trouble_of_many_runs_is_one_finding_that_counts_them() -> None:
    many = experiment(vary={"lr": [step / 1000 for step in range(1, 101)]}, command=f"{SOUND['command']} {{oops}}")
    finding = only("setting-undefined", many)
    assert finding.message == "all 200 runs (lr0.001-s1, lr0.001-s2, lr0.002-s1, ...): {oops} has no value"


def test_many_troubles_of_one_kind_are_folded_into_the_first_of_them() -> None:
    names = [f"data/part{number}.csv" for number in range(12)]
    shown = found("input-missing", experiment(inputs=[{"path": name} for name in names]))
    assert len(shown) == 5
    assert shown[0].message == "data/part0.csv does not exist"
    assert shown[-1].message == "data/part4.csv does not exist (and 7 more of this kind, at inputs.5.path first)"


def test_every_check_has_its_own_name_and_place_in_the_list() -> None:
    assert len({check.__name__ for check in CHECKS}) == len(CHECKS)


def test_no_runs_at_all_are_no_reason_to_fail() -> None:
    assert verify(experiment(), [], world=world(), estimates=[]) == ()


def test_a_thousand_runs_do_not_make_a_thousand_findings() -> None:
    many = experiment(
        vary={"lr": [step / 1000 for step in range(1, 501)]},
        command="python train.py --lr {lr} --out results --n {nope} | tee x",
    )
    assert len(findings(many)) < 20


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)
numbers = (
    st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([1e308, 0, 1])
)
scalars = texts | numbers | st.booleans()
names = st.sampled_from(["lr", "batch", "steps", "seed", "name", "run_dir", "ranks", "path", "warmup", "epochs"])
templates = st.lists(
    st.one_of(
        texts, names.map(lambda name: f"{{{name}}}"), st.sampled_from(["--out", "-o", "|", "'", '"', "$A", "~/x"])
    ),
    max_size=8,
).map(" ".join)


@st.composite
def hostile(draw: st.DrawFn) -> Experiment:
    value = {
        "name": "x",
        "command": draw(templates.filter(bool)),
        "settings": draw(st.dictionaries(names, scalars, max_size=6)),
        "vary": draw(st.dictionaries(names, st.lists(scalars, min_size=1, max_size=3), max_size=3)),
        "seeds": draw(st.lists(st.integers(0, 2**63 - 1), max_size=2)),
        "controls": draw(st.lists(st.just({"name": "c"}) | st.just({"name": "d", "train": False}), max_size=2)),
        "roles": draw(
            st.dictionaries(
                st.sampled_from(
                    ["batch", "micro_batch", "accumulation", "steps", "epochs", "warmup_steps", "train_rows"]
                ),
                names | st.integers(0, 2**63 - 1),
                max_size=5,
            )
        ),
        "inputs": [{"path": path} for path in draw(st.lists(templates.filter(bool), max_size=2))],
        "names": draw(st.none() | templates.filter(bool)),
        "checkpoint": {
            "every": draw(st.none() | texts.filter(bool)),
            "resume": draw(st.none() | templates.filter(bool)),
        },
    }
    return Experiment.model_validate({key: one for key, one in value.items() if one is not None})


@settings(max_examples=150, deadline=None)
@given(hostile(), st.sampled_from([None, 0, 3]))
def test_no_spec_makes_verify_fail(spec: Experiment, rows: int | None) -> None:
    runs = expand(spec)
    files = [FileFact(path=source.path, exists=True, size_bytes=1, rows=rows) for source in spec.inputs]
    seen = world(*files, programs=[CommandFact(program="x", problem="gone")])
    result = verify(spec, runs, world=seen, estimates=estimates(spec)[:1])
    assert result == verify(spec, runs, world=seen, estimates=estimates(spec)[:1])
    assert all(finding.message and finding.place and finding.because and finding.fix for finding in result)


def test_what_blocks_is_what_would_waste_the_runs() -> None:
    wrong = experiment(command="python train.py --lr 0.001 --seed 1 --out results", vary={"lr": [1e-3, 5e-4]})
    assert errors(wrong) == {"varied-unused", "seed-unused", "output-shared"}
