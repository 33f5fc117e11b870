"""What `gpuplan audit` finds in documents like those of the five systems, and that it leaves correct ones alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuplan.errors import Problem
from gpuplan.model import Estimate, MemoryEstimate, Quantity
from gpuplan.verify.claims import VOCABULARY, Audit, Claim, audit_claims, audit_document, claims_in
from gpuplan.verify.claims.claim import gap, same_device, same_model
from gpuplan.verify.claims.figures import figures
from gpuplan.verify.claims.listed import is_list, listed_claim, listed_claims
from gpuplan.verify.claims.planned import Planned, against

SEEDS = Path(__file__).parents[3] / "shared" / "reference" / "seeds"

STAGED_SEARCH = """
## Now
- Cards: 6x L40 (48GB VRAM each) = 288GB total
- Cost: ~$3.60/hour for 3x L40 per pod
## Smaller
- 1x RTX 3060 Ti (12GB) would do
## Larger
Training on big models. With 10 workers and 6 GPUs:
- Use models up to 7B parameters (requires ~14GB VRAM)
## Cost now
- Cards: 6x L40
- Cost: ~$1.80/hr per pod x 2 = **$3.60/hour**
- Per experiment: ~$18 (5 hours)
"""
SWEEP = """
## Today
On the Mac Mini M4:
- Speed: ~3.04 seconds per step
- Full 20,000 steps sweep with 10 configurations: ~168 hours
## Where
- GPU: RTX 4090 at $0.35/hour (~$7/day)
- Disk Space: 50GB+
```python
if step % 1000 == 0:
    save()
```
## Bill
- RTX 4090 @ $0.35/hour
- Each experiment (~20,000 steps) takes ~2-3 hours (vs. ~15 hours on Mac)
- All 10 experiments: ~25-30 hours total = ~$10-12 total cost
## Table
| Metric | Mac Mini M4 | RTX 4090 | Gain |
|--------|-------------|----------|------|
| Time per step | ~3.04s | ~0.25s | 12x faster |
| Single experiment (20K steps) | ~16.9 hours | ~1.4 hours | 12x faster |
| Complete sweep (10 runs) | ~7 days | ~14 hours | 12x faster |
"""
SWARM = """
| GPU | Runs |
|-----|------|
| A100 80GB | 8x gpt2 nodes |
| A100 40GB | 6x gpt2 nodes |
## GPT-2 (124M parameters)
Per node memory:
- Model weights: 0.5 GB
- Forward pass (64 sequences): 4.0 GB
- Gradients + optimizer: 1.5 GB
- Working memory: 0.5 GB
- Total: ~6.5 GB per node

All of it:
```
8 nodes x 6.5 GB = 52 GB peak usage
```
## Qwen2.5-0.5B (500M parameters)
Per node memory:
- Model weights: 1.0 GB
- Forward pass (64 sequences): 9.3 GB
- Gradients + optimizer: 3.0 GB
- Total: ~16 GB per node
## Rent an A100 80GB
- ~21 hours per experiment, 4 days for all 4 configs
- $1.29/hour x 96 hours = $124 for all 4 experiments
"""
STUDY = """
## From the log
- Model: Llama-3.2-1B
- Dataset: 5,000 words
- Batch size: 1
- Training: ~25 seconds for 1 epoch (109 steps at 4.34 it/s)

For the new one (10k words, batch_size=4, 2 epochs):
- Calculated estimate: ~16 minutes for 1B
## Batch
- Example: 1B model with batch_size=1 uses 2.4 GB
- 80 ÷ 2.4 ≈ 33x headroom
## Result
- 1B: batch_size=16 (uses ~38GB, 50% utilization)
"""
SCALING = """
Small model:
- 1 GPU: 19.53s/epoch
- 4 GPUs: 42.33s/epoch
- Speedup: 0.46x

## Goals
- Target speedup: 2.5-3.0x on 4 GPUs
"""


def audited(text: str) -> Audit:
    return audit_document(text, name="plan.md")


def said(text: str) -> dict[str, list[str]]:
    """The messages of each check."""
    found: dict[str, list[str]] = {}
    for finding in audited(text).findings:
        found.setdefault(finding.check, []).append(finding.message)
    return found


def test_the_staged_search_names_weights_for_training_and_one_pod_with_two_prices() -> None:
    found = said(STAGED_SEARCH)
    assert set(found) == {"claim-training-memory", "claim-price", "claim-card", "claim-workers"}
    assert "the weights alone, 2 B a parameter" in found["claim-training-memory"][0]
    assert found["claim-price"] == ["$3.60/hour and $1.80/hr per pod are not one price (lines 4, 12)"]
    assert found["claim-card"] == ["RTX 3060 Ti has 8 GB, not 12GB"]
    assert found["claim-workers"] == ["10 workers on 6 GPUs"]


@pytest.mark.parametrize(
    ("memory", "said"), [("6.5 GB", "less than the weights take"), ("14 GB", "the weights alone"), ("120 GB", None)]
)
def test_memory_of_a_training_by_its_bytes_a_parameter(memory: str, said: str | None) -> None:
    claims, _ = listed_claims(f"parameters = 7B\nmemory = {memory}\n", name="plan.txt")
    found = audit_claims(claims).findings
    assert [said in one.message for one in found if said] == ([True] if said else [])
    assert bool(found) == bool(said)


def test_training_needs_sixteen_bytes_a_parameter_and_the_card_is_named() -> None:
    one = next(one for one in audited(STAGED_SEARCH).findings if one.check == "claim-training-memory")
    assert one.severity == "error"
    assert "112 GB before the first activation" in one.because


def test_the_sweep_contradicts_itself_in_times_price_and_disk() -> None:
    found = said(SWEEP)
    assert found["claim-run-time"] == [
        "20,000 steps x 0.25s = 1.39 h, not 2-3 hours (lines 15, 20)",
        "20,000 steps x 3.04 seconds per step = 16.9 h, not 15 hours (lines 4, 15)",
    ]
    assert found["claim-twice"] == [
        "the time of a run on RTX 4090 is 2-3 hours and 1.4 hours (lines 15, 21)",
        "the time of all runs on RTX 4090 is 25-30 hours and 14 hours (lines 16, 22)",
    ]
    assert found["claim-price"] == ["$0.35/hour and $7/day are not one price"]
    assert "20 checkpoints x 10 runs in 50GB: room for 250 MB each" in found["claim-disk"][0]


def test_with_the_size_of_a_checkpoint_the_disk_is_too_small() -> None:
    stated = [listed_claim("checkpoint = 4.2 GB", path="--claim"), listed_claim("checkpoints = 4", path="--claim")]
    claims = [one for one in stated if isinstance(one, Claim)]
    found = audit_document("Train 10 runs on a machine.\n- Disk Space: 50GB+\n", name="p.md", stated=claims).findings
    disk = next(one for one in found if one.check == "claim-disk")
    assert disk.severity == "error"
    assert "4 checkpoints x 10 runs x 4.2 GB = 168 GB, not within 50GB" in disk.message


def test_the_swarm_leaves_no_room_for_logits_contexts_and_optimizer_states() -> None:
    found = audited(SWARM).findings
    messages = {one.check: one.message for one in found}
    logits = [one for one in found if one.check == "claim-logits"]
    assert "9.3 GB for 64 sequences is the logits of 239 tokens each" in logits[1].message
    assert "8 x 6.5 GB = 52 GB is built on it" in logits[0].because
    assert "6 x 6.5 GB = 39 GB of 40 GB (98%)" in messages["claim-copies"]
    assert "= 4 GB for 500M parameters: 8 B a parameter" in messages["claim-training-memory"]
    assert "21 hours per experiment = 84 h, not 96 hours" in messages["claim-sweep-time"]
    assert "claim-arithmetic" not in messages


def test_with_the_tokens_of_a_row_the_logits_alone_are_too_large() -> None:
    stated = listed_claim("sequence = 256", path="--claim")
    assert isinstance(stated, Claim)
    found = audit_document(SWARM, name="p.md", stated=[stated]).findings
    messages = [one.message for one in found if one.check == "claim-logits" and one.severity == "error"]
    assert any("64 sequences x 256 tokens x 151,936 words x 4 B x 3 copies = 29.9 GB" in one for one in messages)


def test_the_study_counts_packed_steps_and_draws_a_line_through_zero() -> None:
    found = said(STUDY)
    assert found["claim-packed"] == ["109 steps x batch 1 = 109, not 5,000 words x 1 (lines 4, 5, 6)"]
    assert "16 minutes for 10k words x 2; at 25 seconds for 5,000 words it is 100 s" in found["claim-rescaled"][0]
    zero = next(one for one in audited(STUDY).findings if one.check == "claim-zero-batch")
    assert "38GB at batch 16 is 16 x 2.4 GB at batch 1" in zero.message
    assert "a peak read after model init" in zero.because


def test_four_gpus_slower_than_one_points_at_the_sampler() -> None:
    found = audited(SCALING).findings
    assert [one.check for one in found] == ["claim-negative-scaling"]
    assert "4 GPUs are slower than 1: 19.53s/epoch on 1, 42.33s/epoch on 4" in found[0].message
    assert "every rank trains on all rows" in found[0].because
    assert "DistributedSampler" in found[0].fix


CORRECT = {
    "a plan whose sums are right": """
# Sweep on one RTX 4090 at $0.40/hour
- 10 runs of 20,000 steps, 0.25 s per step
- Each run takes 1.4 h, all 10 runs take 14 h
- Total cost: $5.60
- Total cost of 14 h x $0.40/hour = $5.60
""",
    "two experiments that differ": """
## Experiment A
- 1,000 steps at 0.5 s per step: each run takes 8 min
## Experiment B
- 50,000 steps at 0.5 s per step: each run takes 7 h
## Experiment C
- each run takes 3 days
""",
    "before and after": """
| Metric | Before | After | Gain |
|---|---|---|---|
| Time per step | 3.0 s | 0.25 s | 12x |
| Each run (20K steps) | 16.7 h | 1.4 h | 12x |
""",
    "two devices": """
- On an A100 80GB each run (1,000 steps) takes 10 min
- On a T4 each run (1,000 steps) takes 2 h
""",
    "training memory with its states": """
Training Llama-2-7B with AdamW: 7B parameters, requires 120 GB VRAM over 2 GPUs.
- Inference uses 14 GB for 7B parameters
- QLoRA training of 7B parameters uses 9 GB
""",
    "good scaling": """
- 1 GPU: 20 s/epoch
- 4 GPUs: 5.6 s/epoch
- Speedup: 3.6x
""",
    "copies that fit": """
GPT-2 (124M parameters) on one A100 80GB: 6 nodes x 9.5 GB = 57 GB
- Total: 9.5 GB per node
""",
    "spot and on demand": "On one H100 80GB: $2.99/hour on demand, $1.20/hour spot, $72/day on demand.",
    "prose without figures": "# Notes\nWe train a model and look at it.\n",
    "unpacked rows": """
For the log:
- Dataset: 8,000 samples, 1 epoch
- Batch size: 8, 1000 steps
""",
    "rounded days": "On the RTX 4090: ~21 hours per experiment, 4 days for all 4 experiments.\n",
    "versions, dates and ids are no figures": """
Torch 2.0.1, CUDA 11.8, 2025-10-18, exp041, job 123456, lr 5e-4, Llama-3.2-1B, 12:30:00.
`batch_size: 32 → 128`, see https://example.org/24GB/run?gpu=8
""",
    "a hub's list of models": """
- gpt2 has 124M params (~500MB), gpt2-medium 355M params (~1.4GB)
- Llama-2-7b-hf has 7B params (~14GB)
""",
}  # fmt: skip


@pytest.mark.parametrize("name", CORRECT)
def test_correct_documents_raise_no_alarm(name: str) -> None:
    assert [(one.check, one.message) for one in audited(CORRECT[name]).findings] == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("8 nodes x 6.5 GB = 62 GB", "8 nodes x 6.5 GB = 52 GB, not 62 GB"),
        ("$1.29/hour x 96 hours = $164", "$1.29/hour x 96 hours = $124, not $164"),
        ("6x L40 (48GB VRAM each) = 388GB total", "6x x 48GB = 288 GB, not 388GB"),
        ("80 ÷ 2.4 ≈ 23x headroom", "80 / 2.4 = 33.3, not 23x"),
        ("Memory: 52 GB / 80 GB (35% usage)", "52 GB / 80 GB = 65 %, not 35%"),
        ("109 steps / 4.34 it/s = 50 s", None),
        ("8 nodes x 6.5 GB = 52 hours", None),
    ],
)
def test_written_sums_are_reckoned_again_where_units_come_out_right(line: str, message: str | None) -> None:
    found = said(line).get("claim-arithmetic", [])
    assert found == ([message] if message else [])


def test_the_signs_of_typesetters_are_read_as_well() -> None:
    line = "8 nodes \N{MULTIPLICATION SIGN} 6.5\N{NO-BREAK SPACE}GB = 62 GB"
    assert "claim-arithmetic" in said(line)
    assert claims_in("2\N{EN DASH}3 hours per run", name="p").claims[0].high == 3 * 3600


def test_a_ratio_in_a_table_is_reckoned_again() -> None:
    table = "| M | A | B | Gain |\n|---|---|---|---|\n| Time per step | 3.0 s | 0.25 s | {} |\n"
    assert said(table.format("20x")) == {"claim-ratio": ["3.0 s over 0.25 s is 12x, not 20x"]}
    assert said(table.format("12x")) == {}
    assert said(table.format("20x faster")) == {"claim-ratio": ["3.0 s over 0.25 s is 12x, not 20x"]}
    assert said(table.format("12x faster")) == {}
    assert said("| M | A | B | Gain |\n|---|---|---|---|\n| Time per step | 2.5 s | 5 s | 0.5x |\n") == {}


def test_parameters_of_a_named_model() -> None:
    assert "GPT-2 has 124M parameters, not 351M" in said("GPT-2 (351M parameters)")["claim-parameters"][0]
    assert said("GPT-2 (117M parameters)") == {}
    assert said("The patch adds 226 566 144 parameters to GPT-2.") == {}


@pytest.mark.skipif(not SEEDS.is_dir(), reason="the users' own documents are not here")
@pytest.mark.parametrize(
    ("number", "checks"),
    [
        (
            "000",
            {
                *("claim-training-memory", "claim-workers", "claim-price", "claim-card"),
                *("claim-gpu-number", "claim-config-key", "claim-search"),
            },
        ),
        ("001", {"claim-run-time", "claim-twice", "claim-cost", "claim-price", "claim-disk", "claim-batches"}),
        ("002", {"claim-logits", "claim-copies", "claim-sweep-time", "claim-training-memory"}),
        ("003", {"claim-packed", "claim-rescaled", "claim-zero-batch", "claim-run-time"}),
        ("004", {"claim-negative-scaling"}),
    ],
)
def test_the_users_own_documents(number: str, checks: set[str]) -> None:
    path = next(SEEDS.glob(f"{number}_*.txt"))
    found = audit_document(path.read_text("utf-8"), name=path.name)
    assert {one.check for one in found.findings} == checks


LISTED = """
# the plan, as claims
steps = 20,000
step = 0.25 s
run = 2-3 h
runs = 10
price = 0.35 USD/h
cost = 12 USD      # as stated
sweep = 14 h
"""


def test_a_list_of_claims_is_held_against_itself() -> None:
    assert is_list(LISTED)
    claims, problems = listed_claims(LISTED, name="plan.txt")
    assert problems == ()
    messages = [one.message for one in audit_claims(claims).findings]
    assert "20,000 steps x 0.25 s = 1.39 h, not 2-3 h (lines 3, 4, 5)" in messages
    assert "14 h x 0.35 USD/h = $4.90, not 12 USD (lines 7, 8, 9)" in messages


def test_listed_statements_of_one_thing_that_differ() -> None:
    claims, _ = listed_claims("parameters = 124M\nparameters = 351M\n", name="plan.txt")
    found = audit_claims(claims).findings
    assert [one.check for one in found] == ["claim-parameters"]
    assert "5.62 GB" in found[0].because


def test_ranks_that_each_see_all_rows() -> None:
    text = "ranks = 4\nsteps = 3750\nbatch = 32\nrows = 120000\nepochs = 1\n"
    claims, _ = listed_claims(text, name="plan.txt")
    assert [one.check for one in audit_claims(claims).findings] == ["claim-sharding"]
    shared, _ = listed_claims(text.replace("3750", "938"), name="plan.txt")
    assert audit_claims(shared).findings == ()


def test_what_a_claim_is_about_keeps_two_devices_apart() -> None:
    text = "steps = 20000\nstep @ RTX 4090 = 0.25 s\nrun @ RTX 4090 = 1.4 h\nstep @ T4 = 1 s\nrun @ T4 = 5.6 h\n"
    claims, problems = listed_claims(text, name="plan.txt")
    assert problems == ()
    assert audit_claims(claims).findings == ()
    wrong, _ = listed_claims(text.replace("5.6 h", "9 h"), name="plan.txt")
    assert ["not 9 h" in one.message for one in audit_claims(wrong).findings] == [True]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("runn = 3 h", "nothing is called 'runn'", "did you mean run?"),
        ("run = 3", "run: '3' is not a time", "run = 1.4 h"),
        ("run = NaN h", "run: ", "run = 1.4 h"),
        ("memory = 6.5 h", "memory: '6.5 h' is not a size", "memory = 6.5 GB"),
        ("price = 0.35", "price: '0.35' is no price", "0.35 USD/h"),
        ("steps = many", "steps: 'many' is no number", "steps = 20000"),
        ("run = 3-2 h", "run: '3-2 h' goes down", ""),
        ("steps = 0", "steps: more than nothing", ""),
        ("steps = 1e999", "steps: '1e999' is no number", ""),
        ("hello", "'hello' is no claim", "run = 1.4 h"),
        ("= 4", "'= 4' is no claim", ""),
    ],
)
def test_lines_that_are_no_claims(text: str, message: str, hint: str) -> None:
    found = listed_claim(text, path="plan.txt", line=7)
    assert isinstance(found, Problem)
    assert found.message.startswith(message)
    assert hint in (found.hint or "")
    assert str(found).startswith("plan.txt:7:")


@pytest.mark.parametrize("name", VOCABULARY)
def test_every_example_of_the_vocabulary_is_read(name: str) -> None:
    found = listed_claim(f"{name} = {VOCABULARY[name].example}", path="x", line=1)
    assert isinstance(found, Claim)
    assert found.quantity == name
    assert found.low == found.high > 0


def test_the_page_has_every_claim_with_its_meaning() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "audit.md").read_text("utf-8")
    assert not [t.name for t in VOCABULARY.values() if f"| `{t.name}` | {t.meaning} | `{t.example}` |" not in page]


def test_figures_and_their_units() -> None:
    found = figures("~2-3 hours, 1h 46min, 6.5 GB, $0.35/hour, 4.34 it/s, 20K steps, 124M params, 12x, 133 ms/step")
    assert [(one.low, one.high) for one in found[:4]] == [
        (7200, 10800), (6360, 6360), (6.5e9, 6.5e9), (0.35 / 3600, 0.35 / 3600),
    ]  # fmt: skip
    assert [one.noun for one in found[4:]] == ["steps", "steps", "parameters", "x", "per step"]
    assert [one.low for one in found[4:]] == [4.34, 20_000, 124e6, 12, pytest.approx(0.133)]


def test_what_is_not_understood_is_counted_and_not_guessed() -> None:
    read = claims_in("Setup takes 30 minutes and a 12 GB download; after 24 hours Colab disconnects.", name="plan.md")
    assert read.claims == ()
    assert read.left_out == 3


@pytest.mark.parametrize("text", ["If a run takes 3 h on 8 nodes", "more than 3 nodes: >3 nodes", "cannot run 8 nodes"])
def test_what_is_supposed_or_denied_is_no_claim(text: str) -> None:
    assert [one for one in claims_in(text, name="p").claims if one.quantity == "nodes" and one.low != 3] == []


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="0123456789.,-~$x/ GBhs%()=|\n#*:epochstrun", max_size=300))
def test_any_text_is_audited(text: str) -> None:
    for one in audited(text).findings:
        assert one.message
        assert one.place


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10**6), st.floats(0.001, 100), st.floats(0.3, 3))
def test_a_run_time_is_contradicted_only_beyond_the_tolerance(steps: int, step_s: float, factor: float) -> None:
    def claim(quantity: str, value: float) -> Claim:
        return Claim(quantity=quantity, low=value, high=value, text="x", place="p:1", line=1)

    found = audit_claims([claim("steps", steps), claim("step", step_s), claim("run", steps * step_s * factor)]).findings
    off = max(factor, 1 / factor)
    if abs(off - 1.1) > 1e-6:
        assert bool(found) == (off > 1.1)


def test_gaps_and_names() -> None:
    claim = Claim(quantity="run", low=2, high=3, text="2-3", place="p")
    assert gap(1, 2.5, claim) == 1
    assert gap(6, 7, claim) == 2
    assert gap(1, 1, claim) == 2
    assert same_device("A100", "A100 80GB")
    assert same_device("Mac", "Mac Mini M4")
    assert not same_device("RTX 3060", "RTX 3060 Ti")
    assert not same_device("A100 40GB", "A100 80GB")
    assert same_model("1B", "Llama-3.2-1B")
    assert not same_model("1B", "3B")


def quantity(p10: float, p50: float, p90: float) -> Quantity:
    return Quantity(p10=p10, p50=p50, p90=p90, source="closed_form", because="its dimensions")


def planned() -> Planned:
    memory = MemoryEstimate(
        allocated_bytes=quantity(4e9, 5e9, 6e9), reserved_bytes=quantity(4e9, 5e9, 6e9),
        device_bytes=quantity(5e9, 6e9, 8e9), components_bytes={}, capacity_bytes=24 * 10**9, fits="OK",
    )  # fmt: skip
    estimate = Estimate(
        run="a", gpu="RTX 4090", memory=memory, step_s=quantity(0.1, 0.15, 0.2), steps=20_000,
        duration_s=quantity(2000, 3000, 4000), disk_bytes=quantity(1e10, 1.8e10, 2e10),
    )  # fmt: skip
    counts = {"steps": frozenset({20_000.0}), "parameters": frozenset({351e6})}
    return Planned("sweep", {"RTX 4090": (estimate,)}, quantity(1e11, 1.8e11, 2e11), quantity(2, 3, 4), counts)


@pytest.mark.parametrize(
    ("text", "severity", "said"),
    [
        ("run @ RTX 4090 = 1 h", None, ""),
        ("run @ RTX 4090 = 80 min", "warning", "run 80 min, but sweep is estimated at 50 min on RTX 4090"),
        ("run @ RTX 4090 = 15 h", "error", "run 15 h, but"),
        ("run @ T4 = 15 h", None, ""),
        ("memory = 6.5 GB", None, ""),
        ("memory = 2 GB", "error", "memory 2 GB, but sweep is estimated at 6 GB"),
        ("disk = 50 GB", "error", "50 GB of disk, but the runs of sweep leave 180 GB on it"),
        ("disk = 190 GB", "warning", "190 GB of disk"),
        ("disk = 1 TB", None, ""),
        ("cost = 12 USD", "error", "cost 12 USD, but sweep is estimated at $3.00 for all runs"),
        ("parameters = 124M", "error", "124M, but sweep has 351,000,000 parameters"),
        ("steps = 20000", None, ""),
        ("steps = 16000", "warning", "16000, but sweep has 20,000 steps"),
    ],
)
def test_claims_against_estimates(text: str, severity: str | None, said: str) -> None:
    claim = listed_claim(text, path="--claim")
    assert isinstance(claim, Claim)
    found = list(against([claim], planned()))
    assert [one.severity for one in found] == ([severity] if severity else [])
    assert all(said in one.message for one in found)
