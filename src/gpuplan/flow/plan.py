"""Spec and World -> Plan: the pure heart, and its comparison with a later world."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gpuplan.errors import SpecError
from gpuplan.estimate import estimate
from gpuplan.expand import expand
from gpuplan.flow.prints import fingerprints
from gpuplan.model import Plan
from gpuplan.place import CAUTIOUS, LOCAL, place
from gpuplan.place.search import say_nothing
from gpuplan.spec import Spec, load
from gpuplan.verify import verify
from gpuplan.world import capture
from gpuplan.world.asked import Asked, asked_of, is_asked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuplan.flow.state import State
    from gpuplan.model import Gpu, RentedMachine, Run, World
    from gpuplan.place.shown import Draft

__all__ = ["drift", "machines_elsewhere", "make_plan", "plan", "replan"]


def make_plan(
    spec: Spec, state: State, *, asked: Asked | None = None, say_better: Callable[[Draft], None] = say_nothing
) -> Plan:
    """Look at the world once, and plan; `asked` is what to look at beside what the spec names. Changes nothing.

    `say_better` as of `priced`; a plan for this machine is there at once and says nothing.
    """
    asked = asked or Asked()
    refuse_expectations(spec)
    runs = expand(spec.experiment)
    with state.reading() as store:
        world = capture(spec, runs, state=state.folder, store=store, asked=asked)
    if not is_asked(spec.experiment, asked):
        return plan(spec, runs, world, cautious=asked.cautious)
    from gpuplan.flow.priced import priced  # noqa: PLC0415  0.1 s that a plan for this machine does not pay
    from gpuplan.world.market import with_offers  # noqa: PLC0415

    return priced(spec, runs, with_offers(world, spec.experiment, asked), asked=asked, say_better=say_better)


def plan(spec: Spec, runs: Sequence[Run], world: World, *, cautious: bool = False) -> Plan:
    """The plan for `runs` on this machine, `cautious` by p90 durations; the same arguments: the same to the byte."""
    experiment = spec.experiment
    estimates = tuple(estimate(run, experiment, gpu, world) for run in runs for gpu in _devices(world))
    findings = verify(experiment, runs, world=world, estimates=estimates)
    placed = place(experiment, runs, estimates=estimates, world=world, cautious=cautious)
    return Plan(
        experiment=experiment,
        spec_path=spec.path,
        base=str(spec.base),
        overrides=spec.overrides,
        fingerprints=fingerprints(spec, world),
        prices_as_of=None,
        machine=world.machine,
        runs=tuple(runs),
        estimates=estimates,
        placements=placed.placements,
        findings=(*world.oddities, *findings),
        totals=placed.totals,
        assumptions=(CAUTIOUS,) if cautious else (),
        cautious=cautious,
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
    return make_plan(spec, state, asked=asked_of(plan))


def machines_elsewhere(plan: Plan) -> tuple[RentedMachine, ...]:
    """Those of the chosen option that are not this machine: `apply` waits for somebody to rent them."""
    chosen = [option for option in plan.options if option.chosen]
    return tuple(machine for option in chosen for machine in option.machines if machine.place != LOCAL)


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


def _machine_words(plan: Plan) -> str:
    machine = plan.machine
    return f"{len(machine.devices)} x {machine.devices[0].gpu if machine.devices else machine.cpu}"
