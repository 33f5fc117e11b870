from __future__ import annotations

from priced_cases import QUICK, chosen, experiment, offer, snapshot, world

from gpuplan.expand import expand
from gpuplan.model import Compute
from gpuplan.place.kinds import MOST_ESTIMATES, kinds_to_estimate
from gpuplan.place.market import market_of, offered_gpus
from gpuplan.place.problem import Goal

MANY = {"vary": {"width": list(range(256, 256 + 8 * 60, 8))}, "settings": {"batch": 4, "steps": 100}}


def test_every_kind_is_estimated_where_that_is_quick() -> None:
    of, given = experiment(), snapshot(Compute())
    kinds = kinds_to_estimate(of, expand(of), given.offers, world=given)
    assert [gpu.name for gpu in kinds] == list(offered_gpus(given.offers))


def test_of_many_classes_a_sample_says_which_kinds_are_looked_at() -> None:
    of, given = experiment(**MANY), snapshot(Compute())
    kinds = {gpu.name for gpu in kinds_to_estimate(of, expand(of), given.offers, world=given)}
    assert 60 * len(kinds) <= MOST_ESTIMATES + 60
    assert len(kinds) < len(offered_gpus(given.offers))
    full = market_of(of, expand(of)[:20], given.offers, world=given, search=QUICK)
    best = full.solve(Goal("cheapest"))
    assert not full.unseen
    assert best is not None
    assert best.gpus <= kinds, "what is best for a part of them is among the kinds that are kept for all"
    found = chosen(of, given)
    assert any("are not looked at" in one.text for one in found.assumptions)
    assert {machine.gpu for machine in found.options[0].machines} <= kinds


def test_an_offer_of_a_gpu_that_nobody_knows_is_no_offer() -> None:
    strange = offer("x/1").model_copy(update={"gpu": "Abacus 3000"})
    of = experiment()
    assert not market_of(of, expand(of), [strange], world=world(), search=QUICK).offered
