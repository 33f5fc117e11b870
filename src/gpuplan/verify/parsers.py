"""Do the scripts take the options that they are given? Read from their text; it runs nothing and follows no import."""

from __future__ import annotations

import ast
import shlex
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.command import values_of
from gpuplan.model import ParserFact
from gpuplan.verify.case import groups, listed, near
from gpuplan.verify.commands import command_at, fact_of, makers
from gpuplan.verify.wanted import filled, head_of, words_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gpuplan.model import CommandFact, Finding, Run, Scalar
    from gpuplan.verify.case import Case

__all__ = ["parser_of", "unknown_options"]

MAKERS = frozenset(
    {"ArgumentParser", "add_argument_group", "add_mutually_exclusive_group", "add_subparsers", "add_parser"}
)
"""Calls whose result options are added to."""
OPEN_ENDED = frozenset({"parents", "prefix_chars", "argument_default"})
"""Of ArgumentParser: options come from elsewhere, or look otherwise."""
OF_EVERY_PARSER = frozenset({"--help"})


class _Line(NamedTuple):
    """A command, its program, what its fields may hold, where it stands, its runs, and whether it will be started."""

    text: str
    head: str
    values: Mapping[str, Scalar]
    fact: CommandFact
    at: str
    runs: Sequence[Run] = ()
    is_due: bool = True


class _Unknown(NamedTuple):
    """An option that a parser does not take, and whose parser."""

    option: str
    program: str
    parser: ParserFact


def unknown_options(case: Case) -> Iterator[Finding]:
    """An option that the script's parser does not take: the run ends at once, or the option is passed over."""
    for line in _lines(case):
        parser = line.fact.parser
        for option in _options_given(line) if parser else ():
            if parser and not _is_taken(option, parser):
                yield from _told(case, line, _Unknown(option, shlex.split(line.head)[-1], parser))


def parser_of(text: str) -> ParserFact | None:
    """The options in the text of a script; None where it is no Python or makes no parser of argparse."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    if not _imports_argparse(nodes) or not any(_name(call) == "ArgumentParser" for call in calls):
        return None
    added = [call for call in calls if _name(call) == "add_argument"]
    parses = [call for call in calls if _name(call) in {"parse_args", "parse_known_args"} and _is_method(call)]
    return ParserFact(
        options={option: call.lineno for call in added for option in _options_of(call)},
        is_complete=bool(parses) and all(map(_is_plain, added)) and not _is_open(nodes, calls),
        passes_over=bool(parses) and all(_name(call) == "parse_known_args" for call in parses),
    )


# ---------------------------------------------------------------- the command


def _lines(case: Case) -> Iterator[_Line]:
    """The commands of the runs, and those that make the inputs."""
    heads = groups(case, lambda run, _: (run.command, head_of(run.command, values_of(run))))
    for (command, head), runs in heads.items():
        fact = fact_of(case, runs[0])
        if head is not None and fact is not None:
            yield _Line(command, head, values_of(runs[0]), fact, command_at(case.experiment, runs[0]), runs)
    for maker in makers(case):
        yield _Line(maker.text, maker.head, {}, maker.fact, maker.at, is_due=maker.is_due)


def _options_given(command: _Line) -> Iterator[str]:
    """The long options after the script; one whose name is a setting cannot be told."""
    script = shlex.split(command.head)[-1]
    line = list(words_of(command.text))
    at = next((place for place, word in enumerate(line) if filled(word, command.values) == script), len(line))
    for word in line[at + 1 :]:
        if word == "--":
            return
        option = word.partition("=")[0]
        if option.startswith("--") and "{" not in option:
            yield option


def _is_taken(option: str, parser: ParserFact) -> bool:
    """By its name, or by the start of one, which argparse takes for it."""
    return any(known.startswith(option) for known in (*parser.options, *OF_EVERY_PARSER))


def _told(case: Case, line: _Line, unknown: _Unknown) -> Iterator[Finding]:
    """An error where argparse will refuse it, a warning where it will not; nothing where it may be another file's."""
    option, program, parser = unknown
    meant = near(option, parser.options) if parser.is_complete else _longer_form(option, parser.options)
    if not parser.is_complete and not (parser.passes_over and meant):
        return
    known = listed(parser.options, shown=12) or "none"
    because = f"its parser takes {known}"
    if parser.passes_over:
        because += f"; parse_known_args ignores any other{', and the runs are as without it' if line.runs else ''}"
    if not parser.is_complete:
        because += "; other files may add to them"
    yield case.finding(
        "note" if not line.is_due else "warning" if parser.passes_over else "error",
        "option-unknown",
        message=f"{program} does not take {option}",
        because=because,
        fix=f"did you mean {meant} ({program}:{parser.options[meant]})?" if meant else "leave it out, or add it there",
        at=line.at,
        runs=line.runs,
    )


def _longer_form(option: str, known: Iterable[str]) -> str | None:
    """The option that this one adds words to, or spells otherwise: --amp for --amp-run, --lr-max for --lr_max."""
    spelled = {one: one.replace("_", "-") for one in known}
    given = option.replace("_", "-")
    return max((one for one, text in spelled.items() if f"{given}-".startswith(f"{text}-")), key=len, default=None)


# ---------------------------------------------------------------- the script


def _imports_argparse(nodes: Iterable[ast.AST]) -> bool:
    plain = any(
        isinstance(node, ast.Import) and any(alias.name == "argparse" for alias in node.names) for node in nodes
    )
    return plain or any(isinstance(node, ast.ImportFrom) and node.module == "argparse" for node in nodes)


def _name(call: ast.Call) -> str:
    """`add_argument` of `parser.add_argument(...)`."""
    function = call.func
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def _is_method(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute)


def _options_of(call: ast.Call) -> Iterator[str]:
    texts = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    for option in (text for text in texts if isinstance(text, str) and text.startswith("--")):
        yield option
        if any(
            keyword.arg == "action" and "BooleanOptional" in ast.unparse(keyword.value) for keyword in call.keywords
        ):
            yield f"--no-{option[2:]}"


def _is_plain(call: ast.Call) -> bool:
    """Whether its names stand in it as they are, and it does not take all words that are left."""
    named = bool(call.args) and all(isinstance(argument, ast.Constant) for argument in call.args)
    takes_rest = any(
        keyword.arg == "nargs" and ("REMAINDER" in ast.unparse(keyword.value) or "..." in ast.unparse(keyword.value))
        for keyword in call.keywords
    )
    return named and not takes_rest and all(keyword.arg for keyword in call.keywords)


def _is_open(nodes: Sequence[ast.AST], calls: Sequence[ast.Call]) -> bool:
    """Whether options may come from elsewhere, or what the parser leaves is looked at."""
    reads_argv = any(isinstance(node, ast.Attribute) and node.attr == "argv" for node in nodes)
    made = [call for call in calls if _name(call) == "ArgumentParser"]
    inherits = any(keyword.arg in OPEN_ENDED or keyword.arg is None for call in made for keyword in call.keywords)
    subclasses = any(
        isinstance(node, ast.ClassDef) and any("ArgumentParser" in ast.unparse(base) for base in node.bases)
        for node in nodes
    )
    return reads_argv or inherits or subclasses or _is_handed_out(nodes, calls) or _rest_is_used(nodes)


def _is_handed_out(nodes: Iterable[ast.AST], calls: Iterable[ast.Call]) -> bool:
    """Whether a function of another file is given a parser."""
    nodes = list(nodes)
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    parsers = {name for node in nodes for name in _made_names(node)}
    for call in calls:
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        handed = any(isinstance(one, ast.Name) and (one.id in parsers or "parser" in one.id.lower()) for one in given)
        if handed and not (isinstance(call.func, ast.Name) and call.func.id in own):
            return True
    return False


def _made_names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and _name(node.value) in MAKERS:
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def _rest_is_used(nodes: Sequence[ast.AST]) -> bool:
    """Whether anything looks at what parse_known_args leaves: it does not in `args, _ = ...` and `...()[0]`."""
    ignored = {id(node.value) for node in nodes if isinstance(node, ast.Subscript) and ast.unparse(node.slice) == "0"}
    read = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
            rest = node.targets[0].elts[-1]
            if isinstance(rest, ast.Name) and (rest.id == "_" or rest.id not in read):
                ignored.add(id(node.value))
    known = [node for node in nodes if isinstance(node, ast.Call) and _name(node) == "parse_known_args"]
    return any(id(call) not in ignored for call in known)
