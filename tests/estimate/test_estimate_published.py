"""From tensors to the device: order, room, the flush of a full card, contexts, and the probability of OOM."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuplan.data import find_gpu
from gpuplan.data.images import find_image_network
from gpuplan.data.models import find_model
from gpuplan.estimate.allocator import FITTED, Step, held_by
from gpuplan.estimate.answers import exceeds
from gpuplan.estimate.published import Confidence, Origin, confidence_in, published_peaks
from gpuplan.footprint.convolution import ImageWorkload
from gpuplan.footprint.libraries import Description, prepare
from gpuplan.footprint.perceptron import perceptron_of
from gpuplan.footprint.training import Workload
from gpuplan.model import Gpu, Line, Moment, Quantity
from gpuplan.units import GIB


def gpu(name: str = "A100 SXM 80GB") -> Gpu:
    found = find_gpu(name)
    assert found is not None
    return found


def work(name: str = "Mistral-7B", sequence: int = 4096, **asked: object) -> Workload:
    known = find_model(name)
    assert known is not None
    description = Description(library_version="4.48.1", optimizer="adamw", checkpointing=True, **asked)  # type: ignore[arg-type]
    return Workload(known, prepare(known, description).recipe, sequence)


@given(st.integers(1, 256), st.sampled_from(["T4", "V100", "A100 SXM 40GB", "H100 SXM 80GB", None]))
def test_tensors_are_part_of_segments_and_those_of_the_device(batch: int, name: str | None) -> None:
    peaks = published_peaks(work(method="lora"), batch, gpu=gpu(name) if name else None)
    assert peaks.allocated.p50 <= peaks.reserved.p50 <= peaks.device.p50
    for quantity in (peaks.allocated, peaks.reserved, peaks.device):
        assert 0 <= quantity.p10 <= quantity.p50 <= quantity.p90
    assert 0 <= peaks.oom <= 1


def test_a_measured_pair() -> None:
    """Mistral-7B LoRA on an A100 80GB, batch 4: 24.871 GiB allocated, 28.883 on the device (fms-acceleration)."""
    asked = work(method="lora", targets=("q", "k", "v", "o"), rank=16)
    peaks = published_peaks(asked, 4, gpu=gpu(), torch="2.4.1")
    assert peaks.allocated.p50 / GIB == pytest.approx(24.871, rel=0.01)
    assert peaks.device.p50 / GIB == pytest.approx(28.883, rel=0.05)
    assert peaks.oom < 0.01


def test_the_probability_of_oom_grows_with_the_batch_and_ends_at_one() -> None:
    chances = [published_peaks(work(), batch, gpu=gpu(), torch="2.4").oom for batch in (1, 8, 16, 32, 64)]
    assert chances == sorted(chances)
    assert chances[0] < 0.5 < chances[-1]
    assert chances[-1] > 0.99


def test_without_a_card_nothing_is_said_of_oom() -> None:
    assert published_peaks(work(), 64).oom == 0


def test_what_is_not_known_widens() -> None:
    narrow, wide, wider = (
        published_peaks(work(), 4, confidence=confidence).allocated for confidence in ("counted", "assumed", "guessed")
    )
    assert narrow.p90 - narrow.p10 < wide.p90 - wide.p10 < wider.p90 - wider.p10
    assert confidence_in(()) == "fitted"
    assert confidence_in((), work(fused=frozenset({"linear_loss"})).recipe) == "counted"
    assert confidence_in((), work(method="lora", fused=frozenset({"adapter"})).recipe) == "fitted"
    assert confidence_in(("the newest transformers",)) == "assumed"
    assert confidence_in(("dimensions of x are not known",)) == "guessed"


ITS_ROWS = frozenset({"fms-0017", "fms-0033", "fms-0175", "fms-0237", "fms-0351"})


@pytest.mark.parametrize(
    ("origin", "confidence"),
    [
        (Origin("hf", "4.48.1", "2.4.1"), "counted"),
        (Origin("hf", "", "2.4"), "counted"),
        (Origin("hf", "5.2.0", "2.13"), "unseen"),
        (Origin("hf"), "unseen"),
        (Origin("axolotl", "4.48.1", "2.4.1"), "unseen"),
    ],
)
def test_a_program_or_version_that_no_row_is_of_is_less_certain(origin: Origin, confidence: str) -> None:
    recipe = work(fused=frozenset({"linear_loss"})).recipe
    assert confidence_in((), recipe, origin=origin) == confidence
    held_out = confidence_in(("AdamW",), recipe, origin=origin, without=ITS_ROWS)
    assert held_out == "unseen_assumed"


def test_ways_to_share_that_no_row_is_of() -> None:
    known = Origin("hf", "4.48.1")
    for sharding, confidence in (("fsdp", "counted"), ("zero3", "unseen")):
        recipe = work(world=4, sharding=sharding, fused=frozenset({"linear_loss"})).recipe
        assert confidence_in((), recipe, origin=known) == confidence


def test_each_step_away_from_what_was_seen_is_wider() -> None:
    steps: list[Confidence] = ["counted", "fitted", "assumed", "unseen", "unseen_assumed", "guessed"]
    for metric in ("allocated", "reserved", "device"):
        found = [getattr(published_peaks(work(), 4, gpu=gpu(), confidence=step), metric) for step in steps]
        widths = [one.p90 - one.p10 for one in found]
        assert widths == sorted(widths)


def test_a_full_card_gives_its_free_blocks_back() -> None:
    moment = Moment(phase="forward", alive_bytes={"parameters": Line(intercept=10 * GIB), "logits": Line(slope=GIB)})
    step = Step((moment,), 20.0, logits=GIB / 10, cached=6.0)
    free, full = held_by(step), held_by(step, room_bytes=34 * GIB)
    assert not free.flushed
    assert free.reserved == pytest.approx((30 + 12 + 0.25) * GIB)
    assert full.flushed
    assert 30 * GIB <= full.reserved <= 34 * GIB


def test_small_networks_hold_no_quarter_of_a_gibibyte_beside_them() -> None:
    network = perceptron_of("MLP input:155_output:20_depth:7", 0.175)
    held = held_by(Step(network.moments(), 819.0))
    assert held.reserved - held.allocated < FITTED.segments_bytes / 4


def test_a_network_for_images() -> None:
    """timm's ResNet-50, fp32 and SGD on an A100: 2.808 GiB at batch 8 and 14.813 at 128 (itu-rad/GPUMemNet)."""
    facts = find_image_network("timm/resnet50")
    assert facts is not None
    small, large = (published_peaks(ImageWorkload(facts), batch, gpu=gpu("A100 SXM 40GB")) for batch in (8, 128))
    assert small.device.p50 / GIB == pytest.approx(2.808, rel=0.10)
    assert large.device.p50 / GIB == pytest.approx(14.813, rel=0.10)


def test_a_perceptron_needs_its_shape() -> None:
    with pytest.raises(ValueError, match="neither its depth"):
        perceptron_of("MLP", 1.0)


def test_the_probability_of_more_is_read_off_the_interval() -> None:
    quantity = Quantity(p10=8, p50=10, p90=16, source="closed_form", because="a test")
    assert exceeds(quantity, 10) == pytest.approx(0.5)
    assert exceeds(quantity, 16) == pytest.approx(0.1, abs=1e-4)
    assert exceeds(quantity, 8) == pytest.approx(0.9, abs=1e-4)
    certain = Quantity(p10=10, p50=10, p90=10, source="measured", because="a test")
    assert [exceeds(certain, limit) for limit in (9, 11)] == [1, 0]
    assert exceeds(quantity, 0) == 1
    nothing = Quantity(p10=0, p50=0, p90=0, source="measured", because="a test")
    assert exceeds(nothing, 1) == 0


@given(st.floats(0, 1e12), st.floats(0, 1e12), st.floats(0, 1e12), st.floats(0, 1e13), st.floats(1, 10))
def test_a_probability_falls_with_the_room(one: float, two: float, three: float, limit: float, more: float) -> None:
    low, middle, high = sorted((one, two, three))
    quantity = Quantity(p10=low, p50=middle, p90=high, source="closed_form", because="a test")
    assert 0 <= exceeds(quantity, limit * more) <= exceeds(quantity, limit) <= 1
