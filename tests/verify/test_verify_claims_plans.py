"""What `gpuplan audit` finds in plans beside their sums: unequal batches, GPU numbers, configurations, libraries."""

from __future__ import annotations

import pytest

from gpuplan.expand import expand
from gpuplan.model import Estimate, Experiment, MemoryEstimate, Quantity
from gpuplan.verify.claims import Claim, audit_document
from gpuplan.verify.claims.listed import listed_claim
from gpuplan.verify.claims.planned import Planned, against, chains_of

GB = 10**9


def said(text: str) -> dict[str, list[str]]:
    """The messages of each check."""
    found: dict[str, list[str]] = {}
    for finding in audit_document(text, name="plan.md").findings:
        found.setdefault(finding.check, []).append(f"{finding.severity} {finding.place}: {finding.message}")
    return found


# ---------------------------------------------------------------- faster, at another batch

TABLE = """
| Metric | Desktop | Rented (RTX 4090) | Gain |
|--------|---------|-------------------|------|
| Time per step | 3.04s | 0.25s | {gain} |
| Batch size | 4 | {batch} | more |

Each run has 20,000 steps.
"""


def test_a_step_at_another_batch_is_no_measure_of_speed() -> None:
    (finding,) = audit_document(TABLE.format(gain="12x faster", batch=16), name="p").findings
    assert (finding.check, finding.severity) == ("claim-batches", "warning")
    assert finding.message.startswith("12x faster compares a step of 4 rows with one of 16: for each row it is 48.6x")
    assert finding.message.endswith("(lines 4, 5)")
    assert "20,000 steps see 80,000 rows on the one and 320,000 on the other" in finding.because


@pytest.mark.parametrize(("gain", "batch"), [("12x faster", 4), ("yes", 16)])
def test_equal_batches_and_tables_that_claim_no_speed_are_fine(gain: str, batch: int) -> None:
    assert said(TABLE.format(gain=gain, batch=batch)) == {}


def test_lines_of_prose_are_held_against_each_other_too() -> None:
    text = "Speed:\n- laptop: 2 s per step, batch size 8\n- server: 0.5 s per step, batch size 32\n- so 4x faster\n"
    assert "for each row it is 16x" in said(text)["claim-batches"][0]
    assert "claim-batches" not in said(text.replace("32", "8"))


# ---------------------------------------------------------------- GPU numbers

PODS = """
- Cards: 6x L40 in two pods (3 per pod)
```python
PLACES = {{"a": "cuda:0", "b": "cuda:2", "c": "cuda:{last}"}}
```
"""


def test_gpu_numbers_end_where_the_machine_does() -> None:
    (message,) = said(PODS.format(last=5))["claim-gpu-number"]
    assert message.startswith("error plan.md:4: cuda:5 on machines of 3 GPUs each (3 per pod)")
    assert said(PODS.format(last=1)) == {}


def test_without_a_machine_all_gpus_of_the_document_count() -> None:
    text = "We have 4 GPUs.\n\nThe last worker is on cuda:{}.\n"
    assert said(text.format(4))["claim-gpu-number"][0].startswith("warning")
    assert said(text.format(3)) == {}
    assert said("The model is on cuda:7.") == {}


@pytest.mark.parametrize("text", ["8 processes per node, cuda:5", "2 per node, cuda:5", "$3 per pod, cuda:5"])
def test_other_counts_for_each_machine_are_not_its_gpus(text: str) -> None:
    assert said(text) == {}


# ---------------------------------------------------------------- printed configurations

BFTS = """
### bfts_config.yaml
```yaml
experiment:
  num_syn_datasets: 3
  size: [1, 2]
hardware:
  gpus: 3
agent:
  num_workers: 6
  stages:
    stage9_max_iters: 3
  multi_seed_eval:
    num_seeds: 5
```
{cards}
"""


def test_keys_that_the_known_loader_refuses() -> None:
    keys = said(BFTS.format(cards=""))["claim-config-key"]
    assert keys == [
        "warning plan.md:6: bfts_config.yaml would have experiment.size, which its loader refuses",
        "warning plan.md:7: bfts_config.yaml would have hardware, which its loader refuses",
    ]


def test_seeds_and_workers_beyond_the_gpus_of_one_machine() -> None:
    assert said(BFTS.format(cards="Each machine: 3 GPUs per pod."))["claim-search"] == [
        "warning plan.md:14: 5 seeds on machines of 3 GPUs each: 2 of them would train on the CPU (lines 14, 16)",
        "note plan.md:10: 6 workers on machines of 3 GPUs each: 3 are never started (lines 10, 16)",
    ]
    assert "claim-search" not in said(BFTS.format(cards="Each machine: 8 GPUs per pod."))


def test_listed_seeds_are_ignored() -> None:
    text = BFTS.format(cards="").replace("num_seeds: 5", "seeds: [42, 123]")
    (message,) = said(text)["claim-search"]
    assert message == (
        "warning plan.md:14: agent.multi_seed_eval.seeds lists seeds, which the search takes and never reads"
    )


def test_other_blocks_under_the_name_of_the_file_are_left_alone() -> None:
    assert said("### bfts_config.yaml\n```yaml\nname: a\ncommand: b\nagent: c\n```\n") == {}
    assert said("### config.yaml\n```yaml\nagent:\n  num_wrkers: 3\n```\n") == {}


# ---------------------------------------------------------------- libraries


def test_a_torch_without_kernels_for_the_card_of_the_document() -> None:
    text = "Rent an RTX {}.\n```dockerfile\nRUN pip3 install torch=={} --index-url https://example.org/whl/{}\n```\n"
    (message,) = said(text.format("5090", "2.4.0", "cu124"))["claim-library"]
    assert message.startswith("error plan.md:3: torch==2.4.0 for CUDA 12.4 has no kernels for the RTX 5090")
    assert "for CUDA 12.6" in said(text.format("5090", "2.7.1", "cu126"))["claim-library"][0]
    assert said(text.format("5090", "2.7.1", "cu128")) == {}
    assert said(text.format("4090", "2.0.1", "cu118")) == {}


def test_of_several_cards_one_without_kernels_is_a_warning() -> None:
    text = "RTX 4090 or RTX 5090\n\n`pip install torch==2.4.0`\n"
    assert said(text)["claim-library"][0].startswith("warning")


def test_companions_of_another_torch() -> None:
    line = "```\npip install torch==2.0.1 torchvision=={}\n```\n"
    assert "built for torch 2.1, not for torch==2.0.1" in said(line.format("0.16.0"))["claim-library"][0]
    assert said(line.format("0.15.2")) == {}


# ---------------------------------------------------------------- against estimates


def quantity(p10: float, p50: float, p90: float) -> Quantity:
    return Quantity(p10=p10, p50=p50, p90=p90, source="closed_form", because="its dimensions")


def estimate(run: str, gpu: str, *, memory_gb: float = 20, duration_s: float = 600) -> Estimate:
    size = quantity(0.8 * memory_gb * GB, memory_gb * GB, 1.4 * memory_gb * GB)
    memory = MemoryEstimate(
        allocated_bytes=size, reserved_bytes=size, device_bytes=size, components_bytes={}, capacity_bytes=80 * GB,
        fits="OK",
    )  # fmt: skip
    duration = quantity(0.8 * duration_s, duration_s, 1.3 * duration_s)
    return Estimate(
        run=run, gpu=gpu, memory=memory, step_s=quantity(0.1, 0.15, 0.2), steps=10, duration_s=duration,
        disk_bytes=quantity(1, 2, 3),
    )  # fmt: skip


def held(text: str, planned: Planned) -> list[str]:
    claim = listed_claim(text, path="--claim")
    assert isinstance(claim, Claim)
    return [f"{one.severity}: {one.message}" for one in against([claim], planned)]


def swarm(**counts: float) -> Planned:
    gpus = {gpu: (estimate("a", gpu), estimate("b", gpu, memory_gb=22)) for gpu in ("A100 SXM 80GB", "L4")}
    return Planned("sapo", gpus, quantity(1, 2, 3), None, {name: frozenset({value}) for name, value in counts.items()})


def test_memory_without_a_device_is_held_against_all_of_them() -> None:
    (message,) = held("memory = 6.5 GB", swarm())
    assert message.startswith("error: memory 6.5 GB, but sapo is estimated at 22 GB on any of A100 SXM 80GB, L4, 16 GB")
    assert held("memory = 21 GB", swarm()) == []
    assert held("run = 3 h", swarm()) == []  # a time without a device may be of any other


def test_figures_of_another_model_are_not_of_the_spec() -> None:
    assert held("memory @ Qwen2.5-0.5B = 6.5 GB", swarm(parameters=124e6)) == []
    assert held("memory @ gpt2 = 6.5 GB", swarm(parameters=124e6)) != []
    assert held("memory @ 7B = 6.5 GB", swarm(parameters=124e6)) == []


def test_figures_at_another_batch_are_not_of_the_spec() -> None:
    text = "- L4: gpt2 with batch_size=16 uses 3 GB\n"
    claims = audit_document(text, name="p").claims
    assert {claim.quantity for claim in claims} >= {"memory", "batch"}
    assert list(against(claims, swarm(batch=4.0))) != []  # the batch itself
    assert [one.check for one in against(claims, swarm(batch=4.0))] == ["claim-spec"]
    assert [one.check for one in against(claims, swarm(batch=16.0))] == ["claim-estimate"]


def staged() -> Planned:
    """Two stages of three and one waves, ten minutes each."""
    spec = Experiment.model_validate(
        {
            "name": "search",
            "command": "python run.py --lr {lr}",
            "vary": {"lr": [0.1, 0.2]},
            "stages": [{"name": "first", "repeats": 3}, {"name": "last"}],
        }
    )
    runs = expand(spec)
    estimates = tuple(estimate(run.name, "L40") for run in runs)
    return Planned("search", {"L40": estimates}, quantity(1, 2, 3), None, {}, chains_of(runs))


def test_a_run_of_a_staged_spec_is_all_of_its_waves() -> None:
    assert [len(chain) for chain in staged().chains] == [4, 4]
    assert held("run @ L40 = 40 min", staged()) == []
    assert held("run @ L40 = 10 min", staged()) == []  # or one of them
    (message,) = held("run @ L40 = 5 h", staged())
    assert message.startswith("error: run 5 h, but search is estimated at 40 min for all 4 waves on L40, 32 min to 52")
    assert held("run @ L40 = 4 min", staged()) != []


def test_waves_may_share_the_gpus_that_the_document_has() -> None:
    claims = [listed_claim(text, path="p", line=1) for text in ("run @ L40 = 20 min", "gpus = 4")]
    assert list(against([one for one in claims if isinstance(one, Claim)], staged())) == []
    assert held("run @ L40 = 20 min", staged()) != []
