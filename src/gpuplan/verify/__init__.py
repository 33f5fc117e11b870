"""Is the experiment sound? A plain list of small checks over the runs and the World. It never looks for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuplan.verify import (
    backends,
    commands,
    compare,
    compute,
    configs,
    disk,
    inputs,
    limits,
    loaders,
    memory,
    modules,
    names,
    packing,
    parsers,
    pins,
    ranks,
    rewards,
    rows,
    searches,
    seeds,
    settings,
    steps,
    visible,
)
from gpuplan.verify.case import case_of
from gpuplan.verify.limits import Interval as Interval
from gpuplan.verify.limits import parse_interval as parse_interval
from gpuplan.verify.wanted import FilledInput as FilledInput
from gpuplan.verify.wanted import Wanted as Wanted
from gpuplan.verify.wanted import inputs_of as inputs_of
from gpuplan.verify.wanted import wanted as wanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuplan.model import Estimate, Experiment, Finding, Run, World
    from gpuplan.verify.case import Check

__all__ = ["CHECKS", "FilledInput", "Interval", "Wanted", "inputs_of", "parse_interval", "verify", "wanted"]

CHECKS: tuple[Check, ...] = (
    commands.open_quotes,
    commands.shell_syntax,
    commands.unexpanded,
    commands.programs,
    commands.undefined_fields,
    commands.mistyped_fields,
    parsers.unknown_options,
    configs.unknown_config_keys,
    pins.library_versions,
    modules.missing_libraries,
    backends.switched_to_cpu,
    settings.launch_names,
    settings.unread_axes,
    settings.unread_seeds,
    seeds.copies_have_seeds,
    seeds.seeds_overlap,
    settings.undefined_roles,
    inputs.missing_inputs,
    inputs.empty_inputs,
    inputs.missing_splits,
    inputs.missing_paths,
    rewards.empty_rewards,
    names.equal_names,
    names.duplicate_points,
    names.equal_controls,
    names.shared_outputs,
    compute.places_built,
    compute.gpu_names,
    compute.gpus_here,
    compute.ranks_have_devices,
    visible.gpus_picked_by_hand,
    visible.gpu_numbers_exist,
    visible.gpus_picked_by_code,
    searches.search_fits_gpus,
    compute.threads_have_cores,
    loaders.loaders_have_cores,
    ranks.ranks_are_worth_it,
    memory.memory_fits,
    disk.checkpoints_fit,
    steps.role_values,
    steps.warmup_ends,
    steps.steps_match_epochs,
    steps.batch_divides,
    steps.batch_within_rows,
    rows.rows_exist,
    packing.rows_are_packed,
    compare.samples_seen,
    limits.run_limit,
    limits.checkpoint_interval,
    limits.not_built,
    settings.unread_settings,
    names.no_run_folder,
    inputs.shown_inputs,
)
"""Findings of one severity are shown in this order."""

SEVERITIES = ("error", "warning", "note")
SHOWN_OF_A_KIND = 5


def verify(
    experiment: Experiment, runs: Sequence[Run], *, world: World, estimates: Iterable[Estimate] = ()
) -> tuple[Finding, ...]:
    """All findings, errors first, each kind folded; the same arguments give the same findings in the same order."""
    case = case_of(experiment, runs, world=world, estimates=estimates)
    found = [finding for check in CHECKS for finding in check(case)]
    return tuple(sorted(_folded(found), key=lambda finding: SEVERITIES.index(finding.severity)))


def _folded(findings: list[Finding]) -> list[Finding]:
    """The first findings of a kind; the last of these says how many more there are, and where."""
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in dict.fromkeys(findings):
        kinds.setdefault((finding.severity, finding.check), []).append(finding)
    return [finding for kind in kinds.values() for finding in _fold(kind)]


def _fold(kind: list[Finding]) -> list[Finding]:
    shown, hidden = kind[:SHOWN_OF_A_KIND], kind[SHOWN_OF_A_KIND:]
    if not hidden:
        return shown
    more = f"{shown[-1].message} (and {len(hidden):,} more of this kind, at {hidden[0].place} first)"
    return [*shown[:-1], shown[-1].model_copy(update={"message": more})]
