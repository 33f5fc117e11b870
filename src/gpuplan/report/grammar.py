"""One `expect:` line -> a tree of calls, figures and comparisons. It reads Python's syntax tree and never runs it.

>>> parse("final(accuracy, size=small) >= 0.7").operators
('>=',)
"""

from __future__ import annotations

import ast
import difflib
import math
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from gpuplan.errors import Problem, SpecError
from gpuplan.report.table import clean
from gpuplan.units import parse_bytes, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gpuplan.model import Scalar

__all__ = ["FUNCTIONS", "Absolute", "Binary", "Call", "Expectation", "Function", "Negative", "Node", "Number", "parse"]

LONGEST = 500
COMPARISONS: dict[type[ast.cmpop], str] = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
ARITHMETIC: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
UNIT_NAMES = {"s": "seconds", "B": "bytes", "": "a plain number"}
WORDS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Function:
    """What a call means, does it take a metric, must it say `ranks=`, and the unit of its value (None: any)."""

    meaning: str
    unit: str | None = ""
    metric: bool = False
    ranks: bool = False

    def example(self, name: str) -> str:
        """How it is written."""
        return f"{name}({'accuracy' if self.metric else 'ranks=4' if self.ranks else ''})"


FUNCTIONS: dict[str, Function] = {
    "final": Function("the metric at the end of the run", unit=None, metric=True),
    "best": Function("its best value over the run", unit=None, metric=True),
    "duration": Function("seconds of the whole run", unit="s"),
    "step_time": Function("seconds of a step, in the median, warm-up left out", unit="s"),
    "throughput": Function("samples a second of all ranks together, training only"),
    "peak_memory": Function("bytes of the largest device, or of the host where a run had no GPU", unit="B"),
    "peak_allocated": Function("bytes in tensors, by torch's counter", unit="B"),
    "peak_reserved": Function("bytes torch's allocator held", unit="B"),
    "peak_host": Function("resident bytes of the largest rank", unit="B"),
    "speedup": Function("throughput against the fewest ranks of the same configuration", ranks=True),
    "efficiency": Function("speed-up divided by the ratio of the ranks", ranks=True),
}


@dataclass(frozen=True, slots=True)
class Number:
    """A number; with a unit if it was written with one."""

    value: float
    unit: str | None


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the runs that match its filters."""

    function: str
    metric: str | None
    filters: dict[str, Scalar]
    columns: dict[str, int]

    @property
    def unit(self) -> str | None:
        """The unit of its value."""
        return FUNCTIONS[self.function].unit


@dataclass(frozen=True, slots=True)
class Absolute:
    """The distance from zero."""

    of: Node
    unit: str | None


@dataclass(frozen=True, slots=True)
class Negative:
    """The same figure on the other side of zero."""

    of: Node
    unit: str | None


@dataclass(frozen=True, slots=True)
class Binary:
    """Two figures added, subtracted, multiplied or divided, configuration by configuration."""

    operator: str
    left: Node
    right: Node
    unit: str | None


Node: TypeAlias = Number | Call | Absolute | Negative | Binary


@dataclass(frozen=True, slots=True)
class Expectation:
    """A comparison, or a chain of them: `operands[0] operators[0] operands[1] ...`."""

    text: str
    operands: tuple[Node, ...]
    operators: tuple[str, ...]

    def calls(self) -> tuple[Call, ...]:
        """Every call in it, from left to right."""
        return tuple(call for operand in self.operands for call in _calls(operand))


class Refusal(Exception):  # noqa: N818  it never leaves the package: parse and check turn it into a Problem
    """Why a line cannot be used, and the column of the reason."""

    def __init__(self, message: str, column: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.column = column
        self.hint = hint


def parse(text: str, *, path: str = "expect", line: int = 1) -> Expectation:
    """The text as a tree. Raises SpecError that names the column, what is wrong there and what is known."""
    flat = re.sub(r"\s", " ", text).strip()
    try:
        return _Reader(flat).expectation()
    except Refusal as refusal:
        problem = Problem(
            refusal.message, path=path, line=line, column=refusal.column, text=clean(flat), hint=refusal.hint
        )
        raise SpecError([problem]) from None


def meant(word: str, known: Iterable[str]) -> str:
    """`did you mean x?`, and what is known."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    listed = f"known: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}" if names else "none is known"
    return f"did you mean {near[0]}? {listed}" if near else listed


def _calls(node: Node) -> tuple[Call, ...]:
    match node:
        case Call():
            return (node,)
        case Binary():
            return _calls(node.left) + _calls(node.right)
        case Absolute() | Negative():
            return _calls(node.of)
    return ()


class _Reader:
    """One line while it is read; `text` is needed for columns and quotations."""

    def __init__(self, text: str) -> None:
        self.text = text

    def expectation(self) -> Expectation:
        tree = self.tree()
        if not isinstance(tree, ast.Compare):
            raise self.refusal(tree, *_not_a_comparison(tree))
        operators = [self.comparison(operator, tree) for operator in tree.ops]
        operands = [self.node(operand) for operand in (tree.left, *tree.comparators)]
        expectation = Expectation(self.text, tuple(operands), tuple(operators))
        if not expectation.calls():
            raise self.refusal(tree, "it compares constants only", f"known functions: {', '.join(FUNCTIONS)}")
        for left, right, place in zip(operands, operands[1:], tree.comparators, strict=False):
            self.common_unit(left, right, place)
        return expectation

    def tree(self) -> ast.expr:
        if len(self.text) > LONGEST:
            raise Refusal(f"the line is longer than {LONGEST} characters", 1)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an odd escape or literal is refused below, by its value
                return ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            raise Refusal(*_syntax(error, self.text)) from None
        except (ValueError, RecursionError, MemoryError):
            raise Refusal("it cannot be read: a zero byte, or nested too deeply", 1) from None

    def comparison(self, operator: ast.cmpop, tree: ast.Compare) -> str:
        symbol = COMPARISONS.get(type(operator))
        if symbol is None:
            hint = "use <, <=, > or >=; for equality a tolerance: abs(a - b) <= 0.01"
            raise self.refusal(tree, "a measured figure is compared with <, <=, > or >= only", hint)
        return symbol

    def node(self, tree: ast.expr) -> Node:
        match tree:
            case ast.Constant(value=value):
                return self.figure(tree, value)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                of = self.node(operand)
                return Negative(of, of.unit)
            case ast.BinOp(left=left, op=operator, right=right):
                return self.binary(tree, ARITHMETIC.get(type(operator)), self.node(left), self.node(right))
            case ast.Call(func=ast.Name(id="abs"), args=[argument], keywords=[]):
                of = self.node(argument)
                return Absolute(of, of.unit)
            case ast.Call(func=ast.Name(id=name)):
                return self.call(tree, name)
        raise self.refusal(tree, *_not_a_figure(tree, self.source(tree)))

    def figure(self, tree: ast.expr, value: object) -> Number:
        if isinstance(value, str):
            return self.figure_with_unit(tree, value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refusal(tree, f"{self.source(tree)} is not a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.refusal(tree, "the number is too large")
        return Number(number, None)

    def figure_with_unit(self, tree: ast.expr, text: str) -> Number:
        readers: dict[str, Callable[[str], float]] = {"s": parse_duration, "B": parse_bytes}
        for unit, read in readers.items():
            try:
                return Number(float(read(text)), unit)
            except ValueError:
                continue
        raise self.refusal(
            tree, f"{text!r} is neither a time nor a size", 'as in "5 min", "1h30m", "8 GiB" or "500 MB"'
        )

    def binary(self, tree: ast.expr, operator: str | None, left: Node, right: Node) -> Binary:
        if operator is None:
            raise self.refusal(tree, "only +, -, * and / are known between figures")
        if operator in "+-":
            return Binary(operator, left, right, self.common_unit(left, right, tree))
        return Binary(operator, left, right, _product_unit(operator, left.unit, right.unit))

    def common_unit(self, left: Node, right: Node, place: ast.expr) -> str | None:
        units = {unit for unit in (left.unit, right.unit) if unit is not None}
        if len(units) > 1:
            names = " with ".join(UNIT_NAMES[str(unit)] for unit in (left.unit, right.unit))
            raise self.refusal(place, f"{names} cannot be compared")
        return next(iter(units), None)

    def call(self, tree: ast.Call, name: str) -> Call:
        if name not in FUNCTIONS:
            raise self.refusal(tree, f"unknown function {name}", meant(name, {*FUNCTIONS, "abs"}))
        filters: dict[str, Scalar] = {}
        for keyword in tree.keywords:
            if keyword.arg is None or keyword.arg in filters:
                raise self.refusal(
                    keyword.value, f"{keyword.arg} stands there twice" if keyword.arg else "** is not known here"
                )
            filters[keyword.arg] = self.filter_value(keyword.value, keyword.arg)
        columns = {str(keyword.arg): self.column(keyword) for keyword in tree.keywords}
        call = Call(name, self.metric(tree, name), filters, columns | {"": self.column(tree)})
        if FUNCTIONS[name].ranks:
            self.needs_ranks(tree, call)
        return call

    def metric(self, tree: ast.Call, name: str) -> str | None:
        function = FUNCTIONS[name]
        if len(tree.args) != function.metric:
            wanted = "one metric, then filters" if function.metric else "filters only, each as setting=value"
            raise self.refusal(
                tree.args[-1] if tree.args else tree, f"{name} takes {wanted}", f"as in {function.example(name)}"
            )
        match tree.args:
            case [ast.Name(id=metric)] | [ast.Constant(value=str(metric))]:
                return metric
            case [other]:
                raise self.refusal(
                    other, f"{self.source(other)} is not the name of a metric", f'quote it: {name}("eval/loss")'
                )
        return None

    def filter_value(self, tree: ast.expr, name: str) -> Scalar:
        match tree:
            case ast.Name(id=word):
                return WORDS.get(word, word)
            case ast.Constant(value=bool() | str() as value):
                return value
            case ast.Constant(value=value) if self.figure(tree, value) and isinstance(value, int | float):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                self.figure(tree, value)
                return -value
        raise self.refusal(
            tree, f"{self.source(tree)} is not a value of {name}", f'a word, a number or a text: {name}="..."'
        )

    def needs_ranks(self, tree: ast.Call, call: Call) -> None:
        ranks = call.filters.get("ranks")
        if ranks is None:
            raise self.refusal(tree, f"{call.function} needs the number of ranks", f"as in {call.function}(ranks=4)")
        if isinstance(ranks, bool) or not isinstance(ranks, int | float) or ranks < 2 or ranks != int(ranks):
            raise Refusal("ranks has to be a whole number from 2", call.columns["ranks"])

    def source(self, tree: ast.expr) -> str:
        return ast.get_source_segment(self.text, tree) or "this"

    def column(self, tree: ast.expr | ast.keyword) -> int:
        """From 1, in characters: Python counts bytes."""
        return len(self.text.encode()[: tree.col_offset].decode()) + 1

    def refusal(self, tree: ast.expr, message: str, hint: str | None = None) -> Refusal:
        return Refusal(message, self.column(tree), hint)


def _product_unit(operator: str, left: str | None, right: str | None) -> str | None:
    if right in {None, ""}:
        return left
    if operator == "/":
        return "" if left == right else None
    return right if left in {None, ""} else None


def _syntax(error: SyntaxError, text: str) -> tuple[str, int, str]:
    for wrong, right in (("=>", ">="), ("=<", "<="), ("\u2265", ">="), ("\u2264", "<=")):
        if wrong in text:
            return f"{wrong} is not known here", text.index(wrong) + 1, f"write {right}"
    hint = 'as in final(accuracy, size=small) >= 0.88; a value that is no plain word or number is quoted: "static_0.5"'
    return f"it cannot be read: {error.msg}", min(max(error.offset or 1, 1), len(text) + 1), hint


def _not_a_comparison(tree: ast.expr) -> tuple[str, str]:
    if isinstance(tree, ast.BoolOp):
        return "`and` and `or` are not known here", "write one line for each comparison: all have to hold"
    return "there is no comparison in it", "as in final(accuracy) >= 0.88"


def _not_a_figure(tree: ast.expr, source: str) -> tuple[str, str]:
    if isinstance(tree, ast.Name):
        return f"{source} alone is not a figure", f"did you mean final({source})? {meant(source, FUNCTIONS)}"
    if isinstance(tree, ast.BoolOp):
        return "`and` and `or` are not known here", "write one line for each comparison: all have to hold"
    return f"{source} is not known here", "numbers, + - * /, abs(...) and " + ", ".join(FUNCTIONS)
