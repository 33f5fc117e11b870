"""`gpuplan audit`: does a document's arithmetic hold?"""

from __future__ import annotations

from pathlib import Path

import click

from gpuplan.cli.options import json_option, state_option
from gpuplan.cli.output import console, emit_json, print_lines
from gpuplan.errors import EXIT_BLOCKED, UserError

ROWS_SHOWN = 60


@click.command("audit")
@click.argument("document", type=click.Path(path_type=Path), required=False)
@click.option("--claim", "claims", multiple=True, metavar="'NAME=VALUE'", help="One claim more: 'run=1.4 h'.")
@click.option("--spec", "spec_path", metavar="SPEC", help="Also against what gpuplan estimates for this spec.")
@click.option("--list", "show_claims", is_flag=True, help="Every claim as it was understood.")
@state_option
@json_option
def command(
    *,
    document: Path | None,
    claims: tuple[str, ...],
    spec_path: str | None,
    show_claims: bool,
    state: Path,
    as_json: bool,
) -> int:
    """Hold the figures of DOCUMENT (prose, or a list of claims) against each other: times, costs, memory, scaling."""
    from gpuplan.flow.audit import audit  # noqa: PLC0415
    from gpuplan.flow.state import State  # noqa: PLC0415
    from gpuplan.report import audited  # noqa: PLC0415
    from gpuplan.report.planned import finding_lines  # noqa: PLC0415
    from gpuplan.report.render import as_rich  # noqa: PLC0415
    from gpuplan.report.table import limited  # noqa: PLC0415
    from gpuplan.spec import load  # noqa: PLC0415

    if document is None and not claims:
        raise UserError("nothing to audit", hint="gpuplan audit plan.md, or --claim 'run=1.4 h'")
    found = audit(document, claims=claims, spec=load(spec_path) if spec_path else None, state=State(state))
    name = str(document) if document else "--claim"
    if as_json:
        emit_json(audited.audit_json(found.audit, document=str(document) if document else None, spec=found.spec))
    else:
        out = console()
        print_lines(out, [audited.headline(found.audit, document=name)])
        if show_claims:
            table = limited(audited.claims_table(found.audit), ROWS_SHOWN, rest="--json has them all")
            out.print(as_rich(table, width=out.width))
        print_lines(out, finding_lines(found.audit.findings))
    return EXIT_BLOCKED if any(finding.severity == "error" for finding in found.audit.findings) else 0
