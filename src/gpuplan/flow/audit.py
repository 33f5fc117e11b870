"""A document or a list of claims, read and held against itself and, with a spec, against what gpuplan estimates."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuplan.data import find_gpu
from gpuplan.errors import SpecError, UserError
from gpuplan.estimate import estimate
from gpuplan.expand import expand, shape_of
from gpuplan.flow.plan import make_plan
from gpuplan.footprint import Unknown, footprint_of
from gpuplan.verify.claims import Audit, Claim, audit_claims, audit_document
from gpuplan.verify.claims.listed import is_list, listed_claim, listed_claims
from gpuplan.verify.claims.planned import Planned, against, chains_of
from gpuplan.world import look_at_machine
from gpuplan.world.footprints import known_footprints

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gpuplan.flow.state import State
    from gpuplan.model import Estimate, Experiment, Finding, Gpu, Plan, Run, World
    from gpuplan.spec import Spec

__all__ = ["Audited", "audit"]

LARGEST_DOCUMENT = 1_000_000
"""Bytes; a document that people read is a hundredth of it."""

LISTS = (".yaml", ".yml", ".claims")
FIX = "a Markdown or text file, or a list of claims such as `run = 1.4 h`"


class Audited(NamedTuple):
    """The audit, and against which spec."""

    audit: Audit
    spec: str | None


def audit(path: Path | None, *, claims: Iterable[str] = (), spec: Spec | None = None, state: State) -> Audited:
    """Hold the claims of the file and of the command line against each other, and against `spec`.

    Raises UserError for a file that is no text, SpecError for lines that are no claims.
    """
    given = _given(claims)
    found = audit_claims(given) if path is None else _of_file(path, given)
    if spec is None:
        return Audited(found, None)
    held = tuple(against(found.claims, _planned(spec, state, found.claims)))
    return Audited(found._replace(findings=_by_severity((*found.findings, *held))), spec.path)


def _given(claims: Iterable[str]) -> tuple[Claim, ...]:
    read = [listed_claim(text, path="--claim") for text in claims]
    problems = [one for one in read if not isinstance(one, Claim)]
    if problems:
        raise SpecError(problems)
    return tuple(one for one in read if isinstance(one, Claim))


def _of_file(path: Path, given: tuple[Claim, ...]) -> Audit:
    text = _read(path)
    if path.suffix not in LISTS and not is_list(text):
        return audit_document(text, name=path.name, stated=given)
    claims, problems = listed_claims(text, name=path.name)
    if problems:
        raise SpecError(problems)
    return audit_claims((*claims, *given))


def _read(path: Path) -> str:
    """The document. Raises UserError."""
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder", hint=f"give {FIX}")
        with path.open("rb") as file:
            content = file.read(LARGEST_DOCUMENT + 1)
        if len(content) > LARGEST_DOCUMENT:
            raise UserError(f"{path} is larger than {LARGEST_DOCUMENT // 10**6} MB", hint=f"give {FIX}")
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text", hint=f"give {FIX}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(f"{path}: {reason}", hint=f"give {FIX}") from None
    if "\0" in text:
        raise UserError(f"{path} is not text", hint=f"give {FIX}")
    if not text.strip():
        raise UserError(f"{path} is empty", hint=f"give {FIX}")
    return text


def _planned(spec: Spec, state: State, claims: tuple[Claim, ...]) -> Planned:
    """Estimates on the plan's GPUs, and on those that the spec and the claims name."""
    plan = make_plan(spec, state)
    runs = [run for run in expand(spec.experiment) if run.train]
    with state.reading() as store:
        world = look_at_machine(spec.experiment, runs, store=store)
    traced = known_footprints(spec.experiment, runs, base=spec.base, state=state.folder, on_gpu=True)
    world = world.model_copy(update={"footprints": traced})
    return Planned(
        name=plan.experiment.name,
        estimates=_estimates(plan, runs, world, claims),
        disk_bytes=plan.totals.disk_bytes,
        cost_usd=plan.totals.cost_usd if plan.totals.cost_usd.p50 > 0 else None,
        counts=_counts(spec.experiment, runs, world),
        chains=chains_of(runs),
    )


def _estimates(plan: Plan, runs: list[Run], world: World, claims: tuple[Claim, ...]) -> dict[str, tuple[Estimate, ...]]:
    devices = dict.fromkeys(claim.about.device for claim in claims if claim.about.device)
    named = [*plan.experiment.compute.gpus, *devices]
    gpus: dict[str, Gpu] = {gpu.name: gpu for name in named if (gpu := find_gpu(name)) is not None}
    found = {name: tuple(estimate(run, plan.experiment, gpu, world) for run in runs) for name, gpu in gpus.items()}
    here: dict[str, list[Estimate]] = {}
    for one in plan.estimates:
        here.setdefault(one.gpu, []).append(one)
    return found or {gpu: tuple(estimates) for gpu, estimates in here.items()}


def _counts(experiment: Experiment, runs: list[Run], world: World) -> dict[str, frozenset[float]]:
    shapes = [shape_of(run, experiment) for run in runs]
    footprints = [footprint_of(run, experiment, world) for run in runs[:1]]
    return {
        "runs": frozenset({float(len(runs))}),
        "steps": frozenset(float(shape.steps) for shape in shapes if shape.steps),
        "batch": frozenset(float(shape.micro_batch or shape.batch or 0) for shape in shapes) - {0.0},
        "epochs": frozenset(float(shape.epochs) for shape in shapes if shape.epochs),
        "sequence": frozenset(float(shape.sequence) for shape in shapes if shape.sequence),
        "parameters": frozenset(float(one.parameters) for one in footprints if not isinstance(one, Unknown)),
    }


def _by_severity(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: ("error", "warning", "note").index(finding.severity)))
