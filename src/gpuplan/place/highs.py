"""Linear and mixed-integer programs through HiGHS, row by row. It knows nothing of runs or machines.

HiGHS and not CP-SAT: docs/decisions/0009-placement.md. The import waits until a program is solved: it costs 0.1 s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    import highspy

__all__ = ["Effort", "Program", "Solved"]

TOLERANCE = 1e-6
"""HiGHS keeps rows to 1e-7 and integers to 1e-6: a bound is lowered by this share."""


class Effort(NamedTuple):
    """When a search may stop: at a relative gap, after nodes, after simplex iterations; all repeatable.

    `seconds` is the wall clock's: a safety net. Where it strikes, two runs may differ.
    """

    gap: float = 3e-3
    nodes: int = 2_000
    seconds: float = 30.0


class Solved(NamedTuple):
    """What a solver found: values (empty: none), their objective, and what no solution can beat (inf: infeasible)."""

    values: tuple[float, ...]
    objective: float
    bound: float


@dataclass(slots=True)
class Program:
    """Minimise costs over columns, subject to rows."""

    costs: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    integer: list[bool] = field(default_factory=list)
    entries: list[list[tuple[int, float]]] = field(default_factory=list)
    row_lower: list[float] = field(default_factory=list)
    row_upper: list[float] = field(default_factory=list)

    def column(self, cost: float = 0.0, *, upper: float = math.inf, integer: bool = False) -> int:
        """A new variable from 0 to `upper`; its number."""
        self.costs.append(cost)
        self.upper.append(upper)
        self.integer.append(integer)
        self.entries.append([])
        return len(self.costs) - 1

    def row(self, *, lower: float = -math.inf, upper: float = math.inf) -> int:
        """A new condition, empty yet; its number."""
        self.row_lower.append(lower)
        self.row_upper.append(upper)
        return len(self.row_lower) - 1

    def put(self, row: int, column: int, coefficient: float) -> None:
        """Let a column take part in a row, once."""
        self.entries[column].append((row, coefficient))

    def solve(
        self,
        effort: Effort = Effort(),  # noqa: B008  a tuple: nobody can change it
        *,
        relaxed: bool = False,
        keep_going: Callable[[], bool] | None = None,
    ) -> Solved:
        """The best found; with `relaxed` integers may be fractions. Stops early when `keep_going` says so."""
        import highspy  # noqa: PLC0415

        solver = highspy.Highs()  # type: ignore[no-untyped-call]
        for option, value in _options(effort):
            solver.setOptionValue(option, value)
        solver.passModel(self._model(relaxed=relaxed))
        if keep_going is not None:
            solver.cbMipInterrupt += lambda event: event.interrupt(not keep_going())
        solver.run()
        return _solved(solver, relaxed=relaxed or not any(self.integer))

    def _model(self, *, relaxed: bool) -> highspy.HighsLp:
        import highspy  # noqa: PLC0415

        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = len(self.costs), len(self.row_lower)
        model.col_cost_, model.col_lower_, model.col_upper_ = self.costs, [0.0] * len(self.costs), self.upper
        model.row_lower_, model.row_upper_ = self.row_lower, self.row_upper
        starts = [0]
        for entries in self.entries:
            starts.append(starts[-1] + len(entries))
        matrix = model.a_matrix_
        matrix.format_ = highspy.MatrixFormat.kColwise
        matrix.start_ = starts
        matrix.index_ = [row for entries in self.entries for row, _ in entries]
        matrix.value_ = [value for entries in self.entries for _, value in entries]
        if not relaxed and any(self.integer):
            whole, real = highspy.HighsVarType.kInteger, highspy.HighsVarType.kContinuous
            model.integrality_ = [whole if flag else real for flag in self.integer]
        return model


def _options(effort: Effort) -> tuple[tuple[str, bool | int | float], ...]:
    return (
        ("output_flag", False),
        ("threads", 1),
        ("random_seed", 0),
        ("mip_rel_gap", effort.gap),
        ("mip_max_nodes", effort.nodes),
        ("time_limit", effort.seconds),
    )


def _solved(solver: highspy.Highs, *, relaxed: bool) -> Solved:
    import highspy  # noqa: PLC0415

    status, info = solver.getModelStatus(), solver.getInfo()
    if status in {highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible}:
        return Solved((), math.inf, math.inf)
    found = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    values = tuple(solver.getSolution().col_value) if found else ()
    objective = info.objective_function_value if found else math.inf
    if relaxed:
        bound = objective if status == highspy.HighsModelStatus.kOptimal else -math.inf
    else:
        bound = info.mip_dual_bound
    return Solved(values, objective, bound - TOLERANCE * abs(bound) if math.isfinite(bound) else bound)
