"""What does not fit is said for one rank, how many there are, and all of them together."""

from __future__ import annotations

import pytest
from verify_world import estimates, experiment, found, only

GPT = {
    "model": {"kind": "decoder", "layers": 12, "d_model": 768, "heads": 12, "feedforward": 3072, "vocabulary": 50257,
              "sequence": 1024},
}  # fmt: skip


@pytest.mark.parametrize(
    ("gang", "figures"),
    [
        ({}, "20.5 GiB (18.4-22.5) of 44.7 GiB on L40"),
        ({"copies": 8}, "8 copies x 20.5 GiB (18.4-22.5) = 164 GiB of 44.7 GiB on L40"),
        (
            {"ranks": 4},
            "20.5 GiB (18.4-22.5) of 44.7 GiB on L40 for each of 4 ranks, 82 GiB of 179 GiB in all",
        ),
        (
            {"ranks": 2, "copies": 3},
            (
                "3 copies x 20.5 GiB (18.4-22.5) = 61.5 GiB of 44.7 GiB on L40 for each of 2 ranks, "
                "123 GiB of 89.4 GiB in all"
            ),
        ),
    ],
    ids=["one", "copies", "ranks", "both"],
)
@pytest.mark.parametrize(("fits", "check"), [("NO FIT", "memory"), ("TIGHT", "memory-tight")])
def test_the_figures_of_a_gang(gang: dict[str, int], figures: str, fits: str, check: str) -> None:
    spec = experiment(**gang)
    assert only(check, spec, estimated=estimates(spec, fits=fits)).message.endswith(f": {figures}")


def test_gangs_of_two_sizes_are_two_findings_and_one_where_nothing_is_known() -> None:
    spec = experiment(vary={"lr": [1], "copies": [1, 8]})
    assert len(found("memory", spec, estimated=estimates(spec, fits="NO FIT"))) == 2
    assert only("memory-unknown", spec, estimated=estimates(spec, fits="UNKNOWN")).message.startswith("all 4 runs")


def test_the_remedy_says_what_each_copy_takes_then() -> None:
    spec = experiment(settings={"batch": 64}, copies=2, footprint=GPT, roles={"micro_batch": "batch"})
    fix = only("memory", spec, estimated=estimates(spec, fits="NO FIT")).fix
    assert fix.startswith("smaller micro-batch: `batch: ")
    assert "(2 x " in fix
