"""The closed form against real torch: parameters and FLOPs exactly, peak memory of real CPU steps to a percent."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import pytest
from footprint_models import agnews, gpt2, known, llama_1b, operators_flops, torch_batch, torch_model

if TYPE_CHECKING:
    from gpuplan.model import Architecture

torch = pytest.importorskip("torch")

SMALL = {"layers": 3, "d_model": 128, "heads": 4, "feedforward": 384, "vocabulary": 600, "sequence": 64}
GPT = gpt2(**SMALL)
LLAMA = llama_1b(**SMALL, kv_heads=2)
FAMILIES = {"encoder": agnews(), "gpt": GPT, "llama": LLAMA}


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", [*FAMILIES, "large encoder", "untied"])
def test_parameters_are_exact(name: str) -> None:
    others = {
        "large encoder": agnews(layers=4, d_model=256, heads=8, feedforward=1024),
        "untied": gpt2(**SMALL, tied=False, learned_positions=False),
    }
    architecture = (FAMILIES | others)[name]
    model = torch_model(architecture, dropout=0.0)
    assert known(architecture).parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", FAMILIES)
def test_flops_are_exact(name: str) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    architecture = FAMILIES[name]
    model = torch_model(architecture, dropout=0.0)
    ids, labels = torch_batch(architecture, 3)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss_of(model, ids, labels).backward()
    footprint = known(architecture)
    # The counter takes a causal product for a full one; half of it is masked, and flash attention leaves it out.
    masked = operators_flops(footprint, "attention", batch=3) if architecture.kind == "decoder" else 0.0
    assert counter.get_total_flops() == footprint.flops(3) + masked


@pytest.mark.parametrize(
    ("architecture", "dropout", "precision", "rows"),
    [
        (agnews(), 0.1, "fp32", 4),
        (agnews(), 0.1, "fp32", 64),
        (agnews(), 0.0, "fp32", 64),
        (agnews(layers=4, d_model=256, heads=8, feedforward=1024), 0.1, "bf16", 32),
        (GPT, 0.0, "fp32", 16),
        (GPT, 0.1, "fp32", 16),
        (GPT, 0.0, "bf16", 16),
        (gpt2(**SMALL | {"vocabulary": 20_000}), 0.0, "fp32", 2),
        (gpt2(**SMALL, checkpointing=True), 0.0, "fp32", 32),
        (LLAMA, 0.0, "fp32", 16),
        (LLAMA, 0.0, "bf16", 16),
    ],
)
def test_the_peak_of_a_real_step(architecture: Architecture, dropout: float, precision: str, rows: int) -> None:
    measured = peak_of_a_real_step(architecture, dropout=dropout, rows=rows, autocast=precision == "bf16")
    footprint = known(architecture, {"dropout": dropout}, precision=precision, runtime="cpu")
    assert footprint.peak(rows).total_bytes(rows) == pytest.approx(measured, rel=0.02)


def loss_of(model: Any, ids: Any, labels: Any) -> Any:
    """The loss of a batch; the caller's frame keeps no logits."""
    logits = model(ids)
    return torch.nn.functional.cross_entropy(logits.view(-1, logits.shape[-1]), labels.view(-1))


def peak_of_a_real_step(architecture: Architecture, *, dropout: float, rows: int, autocast: bool) -> int:
    """Bytes of tensors alive at the peak of the second step, optimizer states and batch included."""
    model = torch_model(architecture, dropout=dropout)
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
    ids, labels = torch_batch(architecture, rows)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            logits = model(ids)
            loss = torch.nn.functional.cross_entropy(logits.view(-1, logits.shape[-1]), labels.view(-1))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    tracker = tracker_of_storages()
    states = [value for state in optimizer.state.values() for value in state.values()]
    for tensor in [*model.parameters(), *model.buffers(), *states, ids, labels]:
        tracker.see(tensor)
    with tracker:
        step()
    return int(tracker.peak)


def tracker_of_storages() -> Any:
    """A dispatch mode that follows every storage from its first output until it is freed."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Tracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.alive: dict[int, Any] = {}
            self.now = self.peak = 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = function(*args, **(kwargs or {}))
            for leaf in tree_leaves(out):
                if isinstance(leaf, torch.Tensor):
                    self.see(leaf)
            return out

        def see(self, tensor: Any) -> None:
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key in self.alive or not size:
                return

            def freed(_: object) -> None:
                if self.alive.pop(key, None) is not None:
                    self.now -= size

            self.alive[key] = weakref.ref(storage, freed)
            self.now += size
            self.peak = max(self.peak, self.now)

    return Tracker()
