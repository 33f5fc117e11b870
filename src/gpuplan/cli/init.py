"""`gpuplan init`: a commented spec to start from."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import click

from gpuplan.cli.options import json_option
from gpuplan.cli.output import DEFAULT_STATE, command_line, emit_json
from gpuplan.errors import UserError

OWN_PROGRAM = "command"
"""The template without a built-in trainer."""


@click.command("init")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), default=Path("experiment.yaml"))
@click.option("--workload", metavar="NAME", help="A spec for a built-in trainer, as in: agnews.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@json_option
def command(*, path: Path, workload: str | None, force: bool, as_json: bool) -> None:
    """Write a commented spec to PATH (experiment.yaml)."""
    text = template(workload)
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(f"{path} is there already", hint="choose another name, or --force") from None
    if as_json:
        emit_json({"schema": "gpuplan.init/1", "path": str(path)})
    else:
        click.echo(f"wrote {path}\nnext: edit it, then {command_line('check', str(path), state=DEFAULT_STATE)}")


def template(workload: str | None = None) -> str:
    """The text of the spec, for the user's own program or for a built-in one. Raises UserError."""
    folder = resources.files("gpuplan.data").joinpath("templates")
    files = {entry.name.removesuffix(".yaml"): entry for entry in folder.iterdir()}
    file = files.get(workload or OWN_PROGRAM)
    if file is None:
        known = sorted(files.keys() - {OWN_PROGRAM})
        raise UserError(f"no template for {workload}", hint=f"there are: {', '.join(known)}")
    return file.read_text("utf-8")
