"""Ranks that are not worth it: the exchange, too little to do, loading; and those that are."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from verify_world import GB, estimate, experiment, found, only, world

from gpuplan.data import find_gpu
from gpuplan.estimate import estimate as estimated
from gpuplan.expand import expand
from gpuplan.model import Device, Evidence, History, Machine, Measurement
from gpuplan.verify.case import case_of
from gpuplan.verify.ranks import ranks_are_worth_it

if TYPE_CHECKING:
    from gpuplan.model import Experiment, Finding, Gpu, World

COMMAND = "python train.py --lr {lr} --batch {batch} --steps {steps} --seed {seed} --out {run_dir}"
GPT2 = {
    "kind": "decoder", "layers": 12, "d_model": 768, "heads": 12, "feedforward": 3072, "vocabulary": 50_257,
    "sequence": 256, "tied": True, "learned_positions": True,
}  # fmt: skip
ENCODER = {
    "kind": "encoder", "layers": 2, "d_model": 128, "heads": 4, "feedforward": 256, "vocabulary": 20_000,
    "sequence": 64, "classes": 4,
}  # fmt: skip


def card(name: str) -> Gpu:
    found = find_gpu(name)
    assert found is not None
    return found


def machine(gpu: Gpu, *, devices: int = 8, cores: int = 64, evidence: tuple[Evidence, ...] = ()) -> World:
    held = tuple(Device(index=index, gpu=gpu.name, memory_bytes=gpu.memory_bytes) for index in range(devices))
    return world(
        machine=Machine(cpu="EPYC", cores=cores, memory_bytes=512 * GB, devices=held),
        gpus={gpu.name: gpu},
        evidence=evidence,
    )


def asked(*, model: dict[str, Any] | None = None, **changed: Any) -> Experiment:
    keys: dict[str, Any] = {
        "ranks": 4,
        "vary": {"lr": [0.001]},
        "seeds": [1],
        "footprint": {"model": model or GPT2},
        "settings": {"batch": 32, "steps": 1000},
        "roles": {"batch": "batch", "steps": "steps"},
    }
    return experiment(**(keys | changed))


def findings(of: Experiment, at: World) -> list[Finding]:
    (gpu,) = at.gpus.values()
    return found("scaling", of, given=at, estimated=[estimated(run, of, gpu, at) for run in expand(of)])


def test_gradients_over_pcie_are_named_with_how_many_ranks_are_worth_it() -> None:
    (finding,) = findings(asked(), machine(card("RTX 3090")))
    assert finding.severity == "warning"
    assert "4 ranks on RTX 3090 are predicted" in finding.message
    assert "495 MB of gradients over PCIe 4" in finding.because
    assert "step on 4 ranks" in finding.because
    assert "one rank is worth it" in finding.because
    assert finding.fix.startswith("`ranks: 1`")
    assert "accumulated passes" in finding.fix
    assert finding.place == "ranks"


def test_over_nvlink_with_large_batches_nothing_is_said() -> None:
    assert findings(asked(settings={"batch": 512, "steps": 100}), machine(card("A100 SXM 80GB"))) == []


def test_more_accumulated_passes_are_worth_more_ranks() -> None:
    roles = {"micro_batch": "batch", "steps": "steps", "accumulation": 1}
    often = findings(asked(roles=roles), machine(card("RTX 3090")))
    seldom = findings(asked(roles=roles | {"accumulation": 64}), machine(card("RTX 3090")))
    assert len(often) == 1
    assert seldom == []


def test_ranks_with_too_little_to_do_are_told_so() -> None:
    (finding,) = findings(asked(model=ENCODER), machine(card("A100 SXM 80GB")))
    assert "slower than one" in finding.message
    assert "8 rows a rank take" in finding.because
    assert "all 32 on one rank" in finding.because
    assert "the start of kernels rules" in finding.because
    assert "a larger batch" in finding.fix


def test_ranks_that_starve_are_told_so() -> None:
    """Four cores load as many rows for four ranks as for one."""
    roles = {"micro_batch": "batch", "steps": "steps", "load_s": 0.05, "workers": 4}
    settings = {"batch": 64, "steps": 100}
    card_here = card("A100 SXM 80GB")
    at = machine(card_here, devices=4, cores=4)
    (finding,) = findings(asked(roles=roles, settings=settings), machine(card_here, devices=1, cores=4))
    assert "1x as fast as one, 25% of linear" in finding.message
    assert finding.because.startswith("they wait for their data")
    assert "loader workers" in finding.fix
    assert findings(asked(roles=roles | {"load_s": 1e-6}, settings=settings), at) == []


def test_as_many_ranks_as_are_worth_it_are_named() -> None:
    (finding,) = findings(asked(ranks=8, settings={"batch": 128, "steps": 9}), machine(card("RTX A6000")))
    assert "8 ranks on RTX A6000" in finding.message
    assert "4 ranks are worth it" in finding.because
    assert finding.fix.startswith("`ranks: 4`; or more rows between exchanges")


def test_a_measured_run_counts() -> None:
    """Ranks that were measured to scale need no warning, whatever the link is like."""
    of = asked()
    gpu = card("RTX 3090")
    facts = tuple(
        Evidence(
            id=f"r{ranks}", kind="run", experiment="agnews", run=f"r{ranks}", settings=expand(of)[0].settings,
            command=COMMAND, gpu=gpu.name, ranks=ranks, taken="2026-11-20",
            measurement=Measurement(step_s=1.0 / ranks, steps=1000, world_size=ranks),
        )
        for ranks in (1, 4)
    )  # fmt: skip
    assert findings(of, machine(gpu)) != []
    assert findings(of, machine(gpu, evidence=facts)) == []


def test_what_is_finished_or_alone_or_only_evaluates_is_left_alone() -> None:
    at = machine(card("RTX 3090"))
    of = asked()
    done = tuple(History(name=run.name, key=run.key, state="finished") for run in expand(of))
    assert findings(of, at.model_copy(update={"history": done})) == []
    assert findings(asked(ranks=1), at) == []
    evaluating = asked(controls=[{"name": "base", "train": False}])
    assert all("base" not in finding.message for finding in findings(evaluating, at))


@pytest.mark.parametrize("changed", [{"footprint": None}, {"roles": {"steps": "steps"}}])
def test_nothing_is_said_where_nothing_is_known(changed: dict[str, Any]) -> None:
    assert findings(asked(**changed), machine(card("RTX 3090"))) == []


def test_a_gpu_that_nobody_knows_says_nothing() -> None:
    of = asked()
    named = [estimate(run.name, gpu="another card") for run in expand(of)]
    assert found("scaling", of, given=machine(card("RTX 3090")), estimated=named) == []


def test_runs_beside_each_other_are_proposed_where_there_are_several() -> None:
    of = asked(vary={"lr": [0.1, 0.2, 0.3]})
    finding = only("scaling", of, given=(at := machine(card("RTX 3090"))), estimated=[
        estimated(run, of, card("RTX 3090"), at) for run in expand(of)
    ])  # fmt: skip
    assert "all 3 runs" in finding.message
    assert "or 4 runs at once" in finding.fix


def test_a_thousand_runs_are_judged_by_their_kinds() -> None:
    """Far fewer steps are estimated than there are runs; the time is generous, as other work may share the machine."""
    of = asked(vary={"batch": list(range(8, 258)), "ranks": [1, 2, 4, 8]}, ranks=None)
    gpu, at = card("RTX 3090"), machine(card("RTX 3090"))
    runs = expand(of)
    figures = {run.ranks: estimated(run, of, gpu, at) for run in runs[:4]}
    case = case_of(
        of, runs, world=at, estimates=[figures[run.ranks].model_copy(update={"run": run.name}) for run in runs]
    )
    started = time.process_time()
    told = list(ranks_are_worth_it(case))
    assert time.process_time() - started < 1.0
    assert len(runs) == 1000
    assert 0 < len(told) < 60
