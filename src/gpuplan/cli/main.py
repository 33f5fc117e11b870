"""The `gpuplan` command: verbs found by name when they are called, errors turned into exit codes.

It imports click alone, so that `gpuplan --help` answers at once.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import traceback

import click

from gpuplan import __version__
from gpuplan.errors import EXIT_INTERRUPTED, EXIT_MACHINE, GpuplanError, SpecError

__all__ = ["main"]

VERBS = {
    "init": "Write a commented spec to start from.",
    "check": "Is the spec sound? Count, names, findings.",
    "probe": "Measure this machine and the real command, briefly.",
    "trace": "What does a step of your own code hold? Without a GPU.",
    "fit": "Will it fit, with which batch, on which GPU, how many on a card?",
    "price": "What would it cost, anywhere? On every GPU, at every place.",
    "plan": "What will it take? Memory, time, placement; changes nothing.",
    "apply": "Carry out a plan on this machine.",
    "watch": "Live table of the runs.",
    "ps": "The runs and their states.",
    "logs": "A run's output.",
    "stop": "Ask runs to checkpoint and end.",
    "report": "Results, predicted against measured, expectations.",
    "learn": "Logs of any trainer become evidence; history played again.",
    "show": "Everything recorded of a run; schemas.",
    "gpus": "This machine's devices, and known accelerators.",
    "offers": "What can be rented or had, for how much, and why not the rest.",
    "audit": "Does a document's arithmetic hold? Against itself, and against a spec.",
    "diff": "What differs between two plan files.",
}


class Verbs(click.Group):
    """A group whose commands are imported only when they are called."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """The verbs, in the order of use."""
        return list(VERBS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The verb `name`; while `--help` is printed, only its line."""
        if name not in VERBS:
            return None
        if context.resilient_parsing:
            return click.Command(name, short_help=VERBS[name])
        module = importlib.import_module(f"gpuplan.cli.{name}")
        command: click.Command = module.command
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs with a line each, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but a wrong verb names the nearest right one."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            import difflib  # noqa: PLC0415  only after a typo

            near = difflib.get_close_matches(args[0], VERBS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", context)
        return super().resolve_command(context, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "GPUPLAN"})
@click.version_option(__version__, prog_name="gpuplan")
def cli() -> None:
    """Plan, size, place, run, watch and judge GPU experiments, from measurements instead of guesses.

    Exit codes: 0 done; 1 a bug or the machine's fault; 2 usage or spec; 3 blocking findings or drift;
    4 applied, but runs failed; 5 something to install; 6 an expectation not met; 130 interrupted.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    given = sys.argv[1:] if arguments is None else arguments
    cut = given.index("--") if "--" in given else len(given)
    words, command = given[:cut], tuple(given[cut + 1 :])
    wants_json = "--json" in words
    try:
        result = cli.main(words, prog_name="gpuplan", standalone_mode=False, obj=command)
        code = result if isinstance(result, int) else 0
    except click.exceptions.Exit as leave:
        code = leave.exit_code
    except click.ClickException as error:
        code = _say(error.format_message(), None, error.exit_code, wants_json=wants_json)
    except GpuplanError as error:
        code = _say_error(error, wants_json=wants_json)
    except (KeyboardInterrupt, click.Abort):
        code = _say("interrupted", None, EXIT_INTERRUPTED, wants_json=wants_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_MACHINE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        code = _say(f"{where}{error.strerror or error}", _mend(error), EXIT_MACHINE, wants_json=wants_json)
    except Exception as error:  # noqa: BLE001  a bug of ours ends in one line, not in a traceback
        code = _say_bug(error, wants_json=wants_json)
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    sys.exit(code)


def _mend(error: OSError) -> str:
    """What to do about it: mostly a folder is missing, or the disk is full."""
    import shlex  # noqa: PLC0415  only after a mistake
    from pathlib import Path  # noqa: PLC0415

    folder = Path(error.filename).parent if isinstance(error, FileNotFoundError) and error.filename else None
    if folder is not None and not folder.exists():
        return f"`mkdir -p {shlex.quote(str(folder))}`, and the same command again"
    return "mend it and run the same command again"


def _say_error(error: GpuplanError, *, wants_json: bool) -> int:
    problems = [
        {"path": problem.path, "line": problem.line, "column": problem.column, "message": problem.message}
        for problem in (error.problems if isinstance(error, SpecError) else ())
    ]
    return _say(error.message, error.hint, error.exit_code, wants_json=wants_json, problems=problems)


def _say_bug(error: Exception, *, wants_json: bool) -> int:
    if os.environ.get("GPUPLAN_DEBUG"):
        traceback.print_exc()
    message = f"a bug in gpuplan: {type(error).__name__}: {error}"
    return _say(message, "run it again with GPUPLAN_DEBUG=1 and report what it prints", 1, wants_json=wants_json)


def _say(
    message: str, hint: str | None, code: int, *, wants_json: bool, problems: list[dict[str, object]] | None = None
) -> int:
    if wants_json:
        error: dict[str, object] = {"message": message, "hint": hint, "exit_code": code}
        if problems:
            error["problems"] = problems
        sys.stdout.write(json.dumps({"schema": "gpuplan.error/1", "error": error}) + "\n")
    sys.stderr.write(f"gpuplan: {message}\n" if "\n" not in message else f"{message}\n")
    if hint:
        sys.stderr.write(f"  -> {hint}\n")
    return code
