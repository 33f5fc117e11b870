"""`gpuplan learn`: logs become evidence; history played again; evidence shared as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from gpuplan.cli.options import json_option, state_option
from gpuplan.cli.output import console, emit_json, print_lines, say
from gpuplan.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuplan.flow.learn import Learned, Lesson
    from gpuplan.flow.state import State
    from gpuplan.learn.replay import Replayed
    from gpuplan.report.table import Table

Step: TypeAlias = "Callable[[State, dict[str, Any]], dict[str, Any]]"

ROWS_SHOWN = 30
FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("learn")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--spec", "spec_path", help="The logs are of this spec's runs: its name, settings and sizes hold.")
@click.option("--experiment", help="Without --spec: the experiment that the logs are evidence for.")
@click.option("--gpu", help="The accelerator, where a log does not name it.")
@click.option("--ranks", multiple=True, metavar="[PATTERN=]N", help="Processes, if a log does not say: '*exp021*=4'.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting that the logs do not name.")
@click.option("--dataset-rows", type=click.IntRange(1), help="Training rows of one epoch.")
@click.option("--batch-rows", type=click.IntRange(1), help="Rows of one step on one rank.")
@click.option("--backtest", is_flag=True, help="Predict each fact from the earlier ones, and show how far off that is.")
@click.option("--export", "export_path", type=FILE, help="Write all evidence here, a JSON object a line, no secrets.")
@click.option("--anonymous", is_flag=True, help="With --export: without paths, commands and names.")
@click.option("--import", "import_path", type=FILE, help="Take over the evidence in this file.")
@state_option
@json_option
def command(**given: Any) -> None:
    """Learn from the logs at PATHS (files or folders, of most trainers): each becomes evidence for later plans.

    Of several things asked at once, --import comes first, then PATHS, then --export, then --backtest.
    """
    from gpuplan.flow.state import State  # noqa: PLC0415

    if given["anonymous"] and not given["export_path"]:
        raise UserError("--anonymous says how to write a file", hint="gpuplan learn --export FILE --anonymous")
    state = State(given["state"])
    answers = [step(state, given) for step in _steps(given)]
    if given["as_json"]:
        before = {"before": answers[:-1]} if len(answers) > 1 else {}
        emit_json(answers[-1] | before)


def _steps(given: dict[str, Any]) -> list[Step]:
    """What was asked for, in this order; each says what it did, or is silent and returns it with --json."""
    asked: list[tuple[Any, Step]] = [
        (given["import_path"], _import),
        (given["paths"], _learn),
        (given["export_path"], _export),
        (given["backtest"], _back_test),
    ]
    steps = [step for wanted, step in asked if wanted]
    if not steps:
        raise UserError("no log was named", hint="gpuplan learn FILE_OR_FOLDER..., or --backtest, --export, --import")
    return steps


def _learn(state: State, given: dict[str, Any]) -> dict[str, Any]:
    from gpuplan.flow.learn import Request, learn  # noqa: PLC0415

    request = Request(given["paths"], _told(given), given["batch_rows"], _spec(given["spec_path"]))
    found = learn(request, state)
    if not given["as_json"]:
        _show(found)
    return _as_json(found)


def _told(given: dict[str, Any]) -> Any:
    from gpuplan.learn import Told  # noqa: PLC0415
    from gpuplan.spec import assignment  # noqa: PLC0415

    settings = dict(assignment(text, "--set") for text in given["settings"])
    for name, value in settings.items():
        if not isinstance(value, bool | int | float | str):
            raise UserError(f"--set {name}: one value, please", hint="--set batch_size=32")
    return Told(
        experiment=given["experiment"],
        gpu=given["gpu"],
        ranks=dict(_ranks(text) for text in given["ranks"]),
        settings=settings,
        dataset_rows=given["dataset_rows"],
    )


def _ranks(text: str) -> tuple[str, int]:
    pattern, _, count = text.rpartition("=")
    if not (count.isascii() and count.isdigit() and 0 < int(count) < 10_000):
        raise UserError(f"--ranks {text}: a whole number above zero, please", hint="--ranks 4, or --ranks '*exp021*=4'")
    return pattern or "*", int(count)


def _spec(path: str | None) -> Any:
    from gpuplan.spec import load  # noqa: PLC0415

    return load(path, ()) if path else None


def _as_json(found: Learned) -> dict[str, Any]:
    return {
        "schema": "gpuplan.learn/1",
        "learned": [
            {
                "log": lesson.log.model_dump(mode="json"),
                "evidence": lesson.fact.id if lesson.fact else None,
                "new": lesson.is_new,
                "replaces": lesson.replaces,
                "refused": lesson.refused,
            }
            for lesson in found.lessons
        ],
        "refused": [one._asdict() for one in found.refused],
        "findings": [finding.model_dump(mode="json") for finding in found.findings],
    }


def _show(found: Learned) -> None:
    from gpuplan.report.learned import lesson_table, refused_table, scaling_table  # noqa: PLC0415
    from gpuplan.report.planned import finding_lines  # noqa: PLC0415

    if found.lessons:
        _print(lesson_table([(lesson.log, _came_of_it(lesson)) for lesson in found.lessons]))
    scaled = scaling_table([lesson.log for lesson in found.lessons])
    if scaled.rows:
        _print(scaled)
    if found.refused:
        where = [(f"{one.path}:{one.line}" if one.line else one.path, one.reason) for one in found.refused]
        _print(refused_table(where))
    print_lines(console(), finding_lines(found.findings))
    new = sum(lesson.is_new for lesson in found.lessons)
    replaced = sum(lesson.replaces for lesson in found.lessons)
    known = sum(lesson.fact is not None for lesson in found.lessons) - new - replaced
    anew = f", {replaced:,} in place of what an older gpuplan read" if replaced else ""
    notes = sum(len(lesson.log.notes) for lesson in found.lessons)
    how = f"{notes:,} note{'s' * (notes > 1)} on how these figures were taken: --json" if notes else ""
    print_lines(console(), [how] if how else [])
    click.echo(f"{new:,} new facts{anew}, {known:,} known already; next: gpuplan plan, or gpuplan learn --backtest")


def _came_of_it(lesson: Lesson) -> str:
    if lesson.refused:
        return f"no: {lesson.refused}"
    return "yes" if lesson.is_new else "read anew" if lesson.replaces else "known"


def _back_test(state: State, given: dict[str, Any]) -> dict[str, Any]:
    from gpuplan.flow.learn import back_test  # noqa: PLC0415
    from gpuplan.report.learned import back_test_tables  # noqa: PLC0415

    replayed = back_test(state, _spec(given["spec_path"]))
    if not given["as_json"] and not replayed:
        click.echo("nothing to test: no fact has a step time or a peak of memory; next: gpuplan learn PATH...")
    for table in back_test_tables(replayed) if replayed and not given["as_json"] else ():
        _print(table)
    return {"schema": "gpuplan.backtest/1", "figures": [_replayed_json(one) for one in replayed]}


def _replayed_json(one: Replayed) -> dict[str, Any]:
    return {
        "run": one.run,
        "gpu": one.gpu,
        "figure": one.figure,
        "predicted": one.pair.predicted.model_dump(mode="json"),
        "measured": one.pair.measured,
    }


def _print(table: Table) -> None:
    from gpuplan.report.render import as_rich  # noqa: PLC0415
    from gpuplan.report.table import limited  # noqa: PLC0415

    out = console()
    out.print(as_rich(limited(table, ROWS_SHOWN, rest="--json has them all"), width=out.width))


def _export(state: State, given: dict[str, Any]) -> dict[str, Any]:
    from gpuplan.flow.evidence_file import export_evidence  # noqa: PLC0415

    path: Path = given["export_path"]
    count = export_evidence(state, path, nameless=given["anonymous"])
    say(f"wrote {count:,} facts to {path}", quiet=given["as_json"])
    return {"schema": "gpuplan.export/1", "path": str(path), "facts": count}


def _import(state: State, given: dict[str, Any]) -> dict[str, Any]:
    from gpuplan.flow.evidence_file import import_evidence  # noqa: PLC0415

    found = import_evidence(state, given["import_path"])
    if not given["as_json"]:
        print_lines(console(stderr=True), found.refused)
        click.echo(f"{found.new:,} new facts, {found.known:,} known already, {len(found.refused):,} lines refused")
    return {"schema": "gpuplan.import/1", **found._asdict()}
