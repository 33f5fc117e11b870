"""Spec and World -> Plan: the pure heart, and its comparison with a later world."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from gpuplan.errors import SpecError
from gpuplan.estimate import estimate
from gpuplan.expand import expand
from gpuplan.model import Fingerprints, Plan
from gpuplan.place import place
from gpuplan.spec import Spec, load
from gpuplan.verify import verify
from gpuplan.world import capture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.flow.state import State
    from gpuplan.model import Gpu, Run, World

__all__ = ["drift", "make_plan", "plan", "replan"]


def make_plan(spec: Spec, state: State) -> Plan:
    """Look at the world once, and plan. Changes nothing."""
    refuse_expectations(spec)
    runs = expand(spec.experiment)
    with state.reading() as store:
        world = capture(spec, runs, state=state.folder, store=store)
    return plan(spec, runs, world)


def plan(spec: Spec, runs: Sequence[Run], world: World) -> Plan:
    """The plan for `runs` in `world`: the same arguments give the same plan to the byte."""
    experiment = spec.experiment
    estimates = tuple(estimate(run, experiment, gpu, world) for run in runs for gpu in _devices(world))
    findings = verify(experiment, runs, world=world, estimates=estimates)
    placed = place(experiment, runs, estimates=estimates, world=world)
    return Plan(
        experiment=experiment,
        spec_path=spec.path,
        base=str(spec.base),
        overrides=spec.overrides,
        fingerprints=_fingerprints(spec, world),
        prices_as_of=None,
        machine=world.machine,
        runs=tuple(runs),
        estimates=estimates,
        placements=placed.placements,
        findings=(*world.oddities, *findings),
        totals=placed.totals,
    )


def refuse_expectations(spec: Spec) -> None:
    """Raise SpecError for `expect:` lines that cannot be read, each at its line."""
    if not spec.experiment.expect:
        return
    from gpuplan.report.expect import check  # noqa: PLC0415  35 ms that other plans do not pay

    places = [spec.places.get(f"expect.{index}", "::") for index in range(len(spec.experiment.expect))]
    lines = [int(place.split(":")[-2] or 1) for place in places]
    problems = check(spec.experiment, path=spec.path, lines=lines)
    if problems:
        raise SpecError(problems)


def replan(plan: Plan, state: State) -> Plan:
    """Plan the same spec in the world as it is now; without its file, the experiment that is in the plan."""
    file = Path(plan.base) / Path(plan.spec_path).name
    if file.is_file():
        spec = load(str(file), plan.overrides)._replace(path=plan.spec_path)
    else:
        spec = Spec(plan.experiment, plan.spec_path, Path(plan.base), plan.fingerprints.spec, {}, plan.overrides)
    return make_plan(spec, state)


def drift(plan: Plan, now: Plan) -> tuple[str, ...]:
    """What is no longer as `plan` was made for, in words; `now` is the same spec planned again."""
    before, after = plan.fingerprints, now.fingerprints
    changed = [
        f"input {path} {'is gone' if not digest_now else 'has changed'}"
        for path, digest in before.inputs.items()
        if digest and digest != (digest_now := after.inputs.get(path, ""))
    ]
    if before.spec != after.spec:
        changed.append(f"{plan.spec_path} has changed since")
    if before.machine != after.machine:
        changed.append(f"the machine: {_machine_words(plan)} then, {_machine_words(now)} now")
    if before.offers != after.offers:
        changed.append("offers or prices have changed")
    return tuple(changed)


def _devices(world: World) -> list[Gpu]:
    """The distinct kinds of device of this machine."""
    return [world.gpus[name] for name in dict.fromkeys(device.gpu for device in world.machine.devices)]


def _fingerprints(spec: Spec, world: World) -> Fingerprints:
    files = {path: fact.digest if fact.exists else "" for path, fact in world.files.items()}
    machine = world.machine.model_copy(
        update={"devices": tuple(device.model_copy(update={"used_bytes": 0}) for device in world.machine.devices)}
    )
    return Fingerprints(
        spec=spec.digest,
        machine=_hash(machine),
        inputs=dict(sorted(files.items())),
        offers=_hash(world.offers),
        evidence=_hash(sorted(fact.id for fact in world.evidence)),
    )


def _hash(value: object) -> str:
    return hashlib.sha256(TypeAdapter(object).dump_json(value)).hexdigest()[:16]


def _machine_words(plan: Plan) -> str:
    machine = plan.machine
    return f"{len(machine.devices)} x {machine.devices[0].gpu if machine.devices else machine.cpu}"
