"""What a machine and a plan cost, exactly: whole seconds, decimal prices, fractions of a cent kept until the end."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from gpuplan.place.problem import whole_seconds

if TYPE_CHECKING:
    from gpuplan.place.problem import Problem, Rentable, Rented, Solution

__all__ = ["billed_seconds", "cost_of", "in_cents", "machine_usd", "runs_usd", "total_usd"]

HOUR_S = 3600
CENT = Decimal("0.01")


def cost_of(solution: Solution, problem: Problem) -> Decimal:
    """What a plan costs, to the cent, from its assignments alone."""
    return in_cents(total_usd(solution, problem))


def total_usd(solution: Solution, problem: Problem) -> Fraction:
    """All machines, and what its runs cost beside them."""
    return sum((machine_usd(one) for one in solution.machines), Fraction(0)) + runs_usd(solution, problem)


def machine_usd(rented: Rented) -> Fraction:
    """The bill of one machine, from its last run's end."""
    hours = Fraction(billed_seconds(rented.offer, rented.end_s), HOUR_S)
    return Fraction(str(rented.offer.price_usd_per_h)) * hours


def billed_seconds(offer: Rentable, end_s: int) -> int:
    """What is billed of a machine whose last run ends at `end_s`: whole units, at least the minimum."""
    used_s = end_s - whole_seconds(offer.wait_s)
    return max(-(-used_s // offer.billing_s) * offer.billing_s, offer.minimum_s)


def runs_usd(solution: Solution, problem: Problem) -> Fraction:
    """What the runs cost beside the machines: transfers."""
    each = {job.name: Fraction(str(job.transfer_usd)) for job in problem.jobs if job.transfer_usd}
    placed = (one for machine in solution.machines for one in machine.assignments if one.job in each)
    return sum((one.runs * each[one.job] for one in placed), Fraction(0))


def in_cents(amount_usd: Fraction) -> Decimal:
    """Rounded to the cent, halves up."""
    exact = Decimal(amount_usd.numerator) / Decimal(amount_usd.denominator)
    return exact.quantize(CENT, rounding=ROUND_HALF_UP)
