"""Weighted least squares with a penalty on every coefficient, for sparse rows. It never chooses the penalties.

Conjugate gradients on the normal equations (Hestenes and Stiefel 1952) with a diagonal preconditioner: a few hundred
coefficients are solved in a fraction of a second without numpy, which the planner does not need otherwise.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Equation", "ridge"]

TOLERANCE = 1e-9
"""Of the squared residual against that of the start."""
MOST_ROUNDS = 2000


Name = TypeVar("Name", bound=Hashable)


class Equation(NamedTuple, Generic[Name]):
    """One observation: the coefficients that add up to `target`, each with its factor."""

    factors: Mapping[Name, float]
    target: float
    weight: float = 1.0


def ridge(equations: Sequence[Equation[Name]], penalties: Mapping[Name, float]) -> dict[Name, float]:
    """The coefficients with the least sum of weighted squared errors and of penalty times squared coefficient.

    `penalties` names every coefficient of `equations`; each is above zero.
    """
    names = list(penalties)
    place = {name: index for index, name in enumerate(names)}
    rows = [
        ([place[name] for name in equation.factors], list(equation.factors.values()), equation.weight)
        for equation in equations
    ]
    system = _System(rows, list(penalties.values()))
    right = [0.0] * len(names)
    for (columns, factors, weight), equation in zip(rows, equations, strict=True):
        for column, factor in zip(columns, factors, strict=True):
            right[column] += weight * factor * equation.target
    return dict(zip(names, _solved(system, right), strict=True))


class _System(NamedTuple):
    """The normal equations, kept as the rows that they are made of."""

    rows: list[tuple[list[int], list[float], float]]
    penalties: list[float]

    def times(self, vector: list[float]) -> list[float]:
        product = [penalty * value for penalty, value in zip(self.penalties, vector, strict=True)]
        for columns, factors, weight in self.rows:
            along = weight * sum(factor * vector[column] for column, factor in zip(columns, factors, strict=True))
            for column, factor in zip(columns, factors, strict=True):
                product[column] += factor * along
        return product

    def diagonal(self) -> list[float]:
        entries = list(self.penalties)
        for columns, factors, weight in self.rows:
            for column, factor in zip(columns, factors, strict=True):
                entries[column] += weight * factor * factor
        return entries


def _solved(system: _System, right: list[float]) -> list[float]:
    scale = [1 / entry for entry in system.diagonal()]
    solution, residual = [0.0] * len(right), list(right)
    scaled = [factor * value for factor, value in zip(scale, residual, strict=True)]
    direction, length = list(scaled), _dot(residual, scaled)
    enough = TOLERANCE * length
    for _ in range(MOST_ROUNDS):
        if length <= enough:
            break
        image = system.times(direction)
        step = length / _dot(direction, image)
        solution = [value + step * along for value, along in zip(solution, direction, strict=True)]
        residual = [value - step * along for value, along in zip(residual, image, strict=True)]
        scaled = [factor * value for factor, value in zip(scale, residual, strict=True)]
        before, length = length, _dot(residual, scaled)
        direction = [value + length / before * along for value, along in zip(scaled, direction, strict=True)]
    return solution


def _dot(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))
