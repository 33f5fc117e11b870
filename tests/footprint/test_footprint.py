"""Where a run's footprint comes from, what is said when there is none, and what a gang changes in it."""

from __future__ import annotations

from typing import Any

from footprint_models import agnews, gpt2, known

from gpuplan.expand import expand
from gpuplan.footprint import Unknown, footprint_of
from gpuplan.footprint.gang import in_gang
from gpuplan.model import Control, Experiment, FootprintSource, Machine, Roles, World

MACHINE = Machine(cpu="a CPU", cores=2, memory_bytes=2**34, devices=())


def world(**fields: Any) -> World:
    return World(today="2026-11-20", machine=MACHINE, gpus={}, **fields)


def experiment(**fields: Any) -> Experiment:
    return Experiment(name="sweep", command="python train.py --batch {batch}", settings={"batch": 8}, **fields)


def test_a_trace_is_stronger_than_a_closed_form() -> None:
    asked = experiment(footprint=FootprintSource(model=agnews()))
    run = expand(asked)[0]
    traced = known(gpt2()).model_copy(update={"source": "traced"})
    assert footprint_of(run, asked, world(footprints={run.key: traced})) == traced
    assert footprint_of(run, asked, world()) == known(agnews())


def test_the_roles_give_sequence_and_precision() -> None:
    asked = experiment(
        vary={"length": [32, 64]},
        roles=Roles(sequence="length", precision="mode"),
        footprint=FootprintSource(model=gpt2(sequence=None)),
    )
    settings = asked.settings | {"mode": "bf16"}
    short, long = expand(asked.model_copy(update={"settings": settings}))
    assert footprint_of(short, asked, world()) == known(gpt2(sequence=32), precision="bf16")
    assert footprint_of(long, asked, world()) == known(gpt2(sequence=64), precision="bf16")


def test_every_missing_source_has_its_reason_and_its_remedy() -> None:
    reasons = {
        None: "the spec does not say what one step needs",
        FootprintSource(trace="mine:make_step"): "mine:make_step has not been traced",
        FootprintSource(logs="runs/*.json"): "logs tell what a step took, not what it needs",
        FootprintSource(model="models/config.json"): (
            "models/config.json was not read, and no model of that name is known"
        ),
    }
    for source, reason in reasons.items():
        asked = experiment(footprint=source)
        found = footprint_of(expand(asked)[0], asked, world())
        assert isinstance(found, Unknown)
        assert found.reason == reason
        assert "`" in found.add


def test_a_control_that_is_another_program_has_no_footprint_and_one_that_evaluates_has() -> None:
    asked = experiment(
        footprint=FootprintSource(model=agnews()),
        controls=[
            Control(name="bag-of-words", command="python bow.py"),
            Control(name="untrained", command="python eval.py", train=False),
        ],
    )
    _, other, untrained = expand(asked)
    found = footprint_of(other, asked, world())
    assert isinstance(found, Unknown)
    assert found.reason == "the control bag-of-words is another program"
    assert footprint_of(untrained, asked, world()) == known(agnews())


def test_accumulated_gradients_live_through_the_whole_step() -> None:
    plain = known(gpt2())
    accumulating = in_gang(plain, accumulation=4)
    assert all(moment.alive_bytes["gradients"].at(8) >= plain.gradient_bytes for moment in accumulating.moments)
    grown = accumulating.peak(8).total_bytes(8) - plain.peak(8).total_bytes(8)
    assert grown == plain.gradient_bytes


def test_ddp_holds_the_gradients_twice() -> None:
    plain = known(gpt2())
    ranks = in_gang(plain, ranks=4)
    for before, after in zip(plain.moments, ranks.moments, strict=True):
        assert after.total_bytes(8) - before.total_bytes(8) == plain.gradient_bytes
    assert in_gang(plain, ranks=1) is plain
