"""Options that several verbs share, and the spec they describe."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from gpuplan.cli.output import DEFAULT_STATE
from gpuplan.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuplan.spec import Spec

__all__ = ["Given", "json_option", "quiet_option", "spec_from", "spec_options", "state_option"]

state_option = click.option(
    "--state", type=click.Path(path_type=Path, file_okay=False), default=DEFAULT_STATE, show_default=True,
    envvar="GPUPLAN_STATE", help="Folder of the store, the runs and the reports.",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")


class Given(NamedTuple):
    """What the command line says about the experiment."""

    path: str | None
    overrides: tuple[str, ...]
    vary: tuple[str, ...]
    seeds: str | None
    ranks: int | None
    command: tuple[str, ...]


def spec_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds SPEC, --set, --vary, --seeds, --ranks and `-- COMMAND...`; the function gets them as `given`."""

    @functools.wraps(function)
    def with_given(**options: Any) -> Any:
        own = {name: options.pop(name) for name in Given._fields if name != "command"}
        return function(given=Given(**own, command=click.get_current_context().obj or ()), **options)

    for decorate in (
        click.option("--ranks", type=click.IntRange(1, 4096), help="Without a SPEC: processes of each run."),
        click.option("--seeds", metavar="A,B", help="Without a SPEC: seeds."),
        click.option("--vary", multiple=True, metavar="NAME=A,B", help="Without a SPEC: what varies in -- COMMAND."),
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key: limits.run='2 h'."),
        click.argument("path", metavar="[SPEC]", required=False),
    ):
        with_given = decorate(with_given)
    return with_given


def spec_from(given: Given) -> Spec:
    """The checked spec that the command line names. Raises SpecError, UserError."""
    from gpuplan.spec import inline_document, load, spec_of  # noqa: PLC0415  pydantic and ruamel: 100 ms

    if given.command and given.path:
        raise UserError(f"both a spec ({given.path}) and a command after --", hint="give one of them")
    if given.command:
        document = inline_document(given.command, vary=given.vary, seeds=given.seeds, ranks=given.ranks)
        return spec_of(document, overrides=given.overrides)
    if given.vary or given.seeds or given.ranks:
        hint = "gpuplan plan --vary lr=5e-4,1e-3 -- python train.py --lr {lr}"
        raise UserError("--vary, --seeds and --ranks need a command after --", hint=hint)
    return load(given.path, given.overrides)
