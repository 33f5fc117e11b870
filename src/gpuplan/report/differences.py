"""Two plans held against each other: what was asked, what would run, what it takes, where, and what is wrong.

Only readers want the answer, no planning does; so it stands among the reports. It never plans and reads no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from gpuplan.model import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gpuplan.model import Estimate, Finding, Option, Plan, Run

__all__ = ["Change", "Differences", "FindingChange", "Moved", "Moves", "RunChange", "compare"]

SAME = 1e-9
"""Relative; less is the order of additions."""


class Change(NamedTuple):
    """One value before and after, by its key path; None: not there."""

    key: str
    before: Any
    after: Any


class RunChange(NamedTuple):
    """A run of one name that is not the same run any more."""

    run: str
    changes: tuple[Change, ...]


class Moved(NamedTuple):
    """A figure with its interval before and after; `beyond`: its new middle lies outside its old p10 to p90."""

    figure: str
    before: Quantity
    after: Quantity

    @property
    def beyond(self) -> bool:
        """Whether the old interval did not allow for it."""
        return not self.before.p10 <= self.after.p50 <= self.before.p90

    @property
    def ratio(self) -> float | None:
        """New middle over old; None from zero."""
        return self.after.p50 / self.before.p50 if self.before.p50 else None


class FindingChange(NamedTuple):
    """What one check says of one place, before and after: the same matter with other figures."""

    before: Finding
    after: Finding


class Moves(NamedTuple):
    """The same move of one figure on one GPU, in all the runs that make it."""

    runs: tuple[str, ...]
    gpu: str
    moved: Moved


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """All that differs; every tuple is empty where nothing does."""

    spec: tuple[Change, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    renamed: tuple[Change, ...]
    changed: tuple[RunChange, ...]
    verdicts: tuple[RunChange, ...]
    moves: tuple[Moves, ...]
    prices: tuple[Change, ...]
    options: tuple[RunChange, ...]
    placements: tuple[Change, ...]
    totals: tuple[Moved, ...]
    counts: tuple[Change, ...]
    new_findings: tuple[Finding, ...]
    gone_findings: tuple[Finding, ...]
    changed_findings: tuple[FindingChange, ...]
    machine: tuple[Change, ...]
    inputs: tuple[Change, ...]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not any(getattr(self, name) for name in self.__slots__)


def compare(before: Plan, after: Plan) -> Differences:
    """What is different in `after`: of equal plans nothing, whenever and wherever they were made."""
    pairs, renamed = _pairs(before.runs, after.runs)
    olds, news = {old.name for old, _ in pairs}, {new.name for _, new in pairs}
    names = [(old.name, new.name) for old, new in pairs]
    new_findings = _without(after.findings, before.findings)
    gone_findings = _without(before.findings, after.findings)
    changed_findings = tuple(_changed_findings(gone_findings, new_findings))
    return Differences(
        spec=_changes(_asked(before), _asked(after)),
        added=tuple(run.name for run in after.runs if run.name not in news),
        removed=tuple(run.name for run in before.runs if run.name not in olds),
        renamed=renamed,
        changed=tuple(_run_changes(pairs)),
        verdicts=tuple(_verdicts(before, after, names)),
        moves=tuple(_moves(before, after, names)),
        prices=tuple(_price_changes(before, after)),
        options=tuple(_options(before, after)),
        placements=tuple(_placements(before, after, names)),
        totals=tuple(_moved(before.totals, after.totals)),
        counts=_changes(_counts(before.totals), _counts(after.totals)),
        new_findings=_beside(new_findings, [one.after for one in changed_findings]),
        gone_findings=_beside(gone_findings, [one.before for one in changed_findings]),
        changed_findings=changed_findings,
        machine=_changes(_machine(before), _machine(after)),
        inputs=_changes(before.fingerprints.inputs, after.fingerprints.inputs),
    )


def _pairs(before: Iterable[Run], after: Iterable[Run]) -> tuple[list[tuple[Run, Run]], tuple[Change, ...]]:
    """Runs of one key are one run, whatever they are called; the rest belong together by their names."""
    by_key: dict[str, list[Run]] = {}
    by_name = {}
    for run in before:
        by_key.setdefault(run.key, []).append(run)
        by_name[run.name] = run
    taken: set[str] = set()
    pairs, renamed, left = [], [], []
    for run in after:
        alike = [old for old in by_key.get(run.key, ()) if old.name not in taken]
        if not alike:
            left.append(run)
            continue
        old = next((one for one in alike if one.name == run.name), alike[0])
        taken.add(old.name)
        pairs.append((old, run))
        if old.name != run.name:
            renamed.append(Change(run.key, old.name, run.name))
    pairs += [(by_name[run.name], run) for run in left if run.name in by_name and run.name not in taken]
    return pairs, tuple(renamed)


def _run_changes(pairs: Iterable[tuple[Run, Run]]) -> Iterator[RunChange]:
    unlike = {"name", "key", "point"}
    for old, new in pairs:
        changes = _changes(_flat(old.model_dump(exclude=unlike)), _flat(new.model_dump(exclude=unlike)))
        if changes:
            yield RunChange(new.name, changes)


def _asked(plan: Plan) -> dict[str, Any]:
    how = {"cautious": plan.cautious, "offers_table": plan.offers_table}
    return _flat(plan.experiment.model_dump(mode="json", exclude_defaults=True)) | _flat(how)


def _flat(value: object, path: str = "") -> dict[str, Any]:
    """Leaves by key path; a list of plain values is one leaf, a list of mappings one branch for each."""
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list | tuple) and any(isinstance(one, dict) for one in value):
        children = {str(index): one for index, one in enumerate(value)}.items()
    else:
        return {} if value is None else {path: value}
    return {
        key: leaf
        for name, child in children
        for key, leaf in _flat(child, f"{path}.{name}" if path else str(name)).items()
    }


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    keys = dict.fromkeys([*before, *after])
    return tuple(Change(key, old, new) for key in keys if not _equal(old := before.get(key), new := after.get(key)))


def _equal(old: object, new: object) -> bool:
    """`1` and `1.0` are one setting, `1` and `True` are two."""
    return old == new and isinstance(old, bool) == isinstance(new, bool)


def _by_run(plan: Plan) -> dict[tuple[str, str], Estimate]:
    return {(estimate.run, estimate.gpu): estimate for estimate in plan.estimates}


def _estimate_pairs(
    before: Plan, after: Plan, names: Iterable[tuple[str, str]]
) -> Iterator[tuple[str, Estimate, Estimate]]:
    olds = _by_run(before)
    old_names = {new: old for old, new in names}
    for estimate in after.estimates:
        old = olds.get((old_names.get(estimate.run, ""), estimate.gpu))
        if old is not None:
            yield estimate.run, old, estimate


def _verdicts(before: Plan, after: Plan, names: Iterable[tuple[str, str]]) -> Iterator[RunChange]:
    for run, old, new in _estimate_pairs(before, after, names):
        if old.memory.fits != new.memory.fits:
            yield RunChange(run, (Change(new.gpu, old.memory.fits, new.memory.fits),))


def _moves(before: Plan, after: Plan, names: Iterable[tuple[str, str]]) -> Iterator[Moves]:
    """The moves that the old intervals did not allow for first, each once for all runs that make it."""
    found: dict[tuple[str, str, tuple[float, ...]], list[tuple[str, Moved]]] = {}
    for run, old, new in _estimate_pairs(before, after, names):
        for moved in _figures(old, new):
            key = (new.gpu, moved.figure, (*_ends(moved.before), *_ends(moved.after)))
            found.setdefault(key, []).append((run, moved))
    moves = [Moves(tuple(run for run, _ in alike), gpu, alike[0][1]) for (gpu, _, _), alike in found.items()]
    yield from sorted(moves, key=lambda one: not one.moved.beyond)


def _figures(old: Estimate, new: Estimate) -> Iterator[Moved]:
    yield from _moved(old.memory, new.memory)
    yield from _moved(old, new)


def _moved(old: object, new: object) -> Iterator[Moved]:
    """Every Quantity of two nouns of one class that is not what it was."""
    for name in type(new).model_fields:  # type: ignore[attr-defined]
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, Quantity) and isinstance(after, Quantity) and not _close(before, after):
            yield Moved(name, before, after)


def _ends(quantity: Quantity) -> tuple[float, float, float]:
    return quantity.p10, quantity.p50, quantity.p90


def _close(before: Quantity, after: Quantity) -> bool:
    pairs = zip(_ends(before), _ends(after), strict=True)
    return all(abs(old - new) <= SAME * max(abs(old), abs(new)) for old, new in pairs)


def _price_changes(before: Plan, after: Plan) -> Iterator[Change]:
    """The date of the prices, and prices of offers that both plans use: one that a plan leaves out has not changed."""
    yield from _changes(_flat({"prices_as_of": before.prices_as_of}), _flat({"prices_as_of": after.prices_as_of}))
    olds, news = _prices(before), _prices(after)
    yield from (change for change in _changes(olds, news) if change.key in olds and change.key in news)


def _prices(plan: Plan) -> dict[str, float]:
    """Each offer's price for an hour of one machine of it."""
    return {
        f"{machine.place} {machine.offer}": machine.price_usd_per_h
        for option in plan.options
        for machine in option.machines
    }


def _options(before: Plan, after: Plan) -> Iterator[RunChange]:
    """Options by their kind and title; one that is new or gone has a single change, of its cost."""
    olds, news = _titled(before), _titled(after)
    for title in dict.fromkeys([*olds, *news]):
        old, new = olds.get(title), news.get(title)
        changes = _changes(_option(old), _option(new))
        if old is None or new is None:
            changes = tuple(change for change in changes if change.key == "cost_usd")
        if changes:
            yield RunChange(title, changes)


def _titled(plan: Plan) -> dict[str, Option]:
    return {f"{option.kind}: {option.title}": option for option in plan.options}


def _option(option: Option | None) -> dict[str, Any]:
    if option is None:
        return {}
    return {
        "chosen": option.chosen,
        "cost_usd": option.cost_usd.p50,
        "makespan_s": option.makespan_s.p50,
        "gpus": option.gpus,
    }


def _placements(before: Plan, after: Plan, names: Iterable[tuple[str, str]]) -> Iterator[Change]:
    olds, news = _places(before), _places(after)
    for old, new in names:
        if olds.get(old) != news.get(new):
            yield Change(new, olds.get(old), news.get(new))


def _places(plan: Plan) -> dict[str, str]:
    return {
        placed.run: f"{placed.offer} machine {placed.machine}, device {', '.join(map(str, placed.devices))}"
        for placed in plan.placements
    }


def _counts(totals: object) -> dict[str, Any]:
    return {name: getattr(totals, name) for name in ("runs", "finished")}


def _without(findings: Iterable[Finding], others: Iterable[Finding]) -> tuple[Finding, ...]:
    known = {(other.severity, other.check, other.place, other.message) for other in others}
    return tuple(one for one in findings if (one.severity, one.check, one.place, one.message) not in known)


def _changed_findings(gone: Iterable[Finding], new: Iterable[Finding]) -> Iterator[FindingChange]:
    """Pairs of one check at one place, in their order."""
    left: dict[tuple[str, str, str], list[Finding]] = {}
    for one in gone:
        left.setdefault((one.severity, one.check, one.place), []).append(one)
    for one in new:
        alike = left.get((one.severity, one.check, one.place))
        if alike:
            yield FindingChange(alike.pop(0), one)


def _beside(findings: Iterable[Finding], changed: Iterable[Finding]) -> tuple[Finding, ...]:
    told = {id(one) for one in changed}
    return tuple(one for one in findings if id(one) not in told)


def _machine(plan: Plan) -> dict[str, Any]:
    """Without what comes and goes: the memory that others use at the moment."""
    machine = plan.machine
    devices = tuple(device.model_copy(update={"used_bytes": 0}) for device in machine.devices)
    return _flat(machine.model_copy(update={"devices": devices}).model_dump())
