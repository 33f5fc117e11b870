"""Steps that training programs are made of, one habit each, around one small network."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH = 256


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)).cuda()


def plain(settings: dict[str, Any]) -> Callable[[], None]:
    """zero_grad last: nothing but weights and states is there between two steps."""
    model = network()
    optimizer = torch.optim.AdamW(model.parameters())
    rows = torch.randn(settings["batch_size"], WIDTH, device="cuda")

    def step() -> None:
        model(rows).pow(2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def moved(settings: dict[str, Any]) -> Callable[[], None]:
    """The device by keyword."""
    model = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)).to(device="cuda")
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        model(torch.randn(settings["batch_size"], WIDTH).to(device="cuda")).pow(2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def gradients_stay(settings: dict[str, Any]) -> Callable[[], None]:
    """zero_grad after the forward pass: the old gradients are there while it runs."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rows = torch.randn(settings["batch_size"], WIDTH, device="cuda")

    def step() -> None:
        loss = model(rows).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def accumulation(settings: dict[str, Any]) -> Callable[[], None]:
    model = network()
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        for _ in range(4):
            model(torch.randn(settings["batch_size"], WIDTH, device="cuda")).pow(2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def loaded(settings: dict[str, Any]) -> Callable[[], None]:
    """A data set in the host's memory, a loader with workers, and values printed."""
    rows = TensorDataset(torch.randn(100_000, WIDTH), torch.randint(WIDTH, (100_000,)))
    batches = iter(DataLoader(rows, batch_size=settings["batch_size"], shuffle=True, num_workers=2, pin_memory=True))
    model = network()
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        row, label = next(batches)
        loss = functional.cross_entropy(model(row.cuda(non_blocking=True)), label.to("cuda"))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        print(f"{loss.item():.3f}", loss, loss.detach().cpu().numpy())  # noqa: T201  as training programs do

    return step


def averaged(settings: dict[str, Any]) -> Callable[[], None]:
    """A second copy of the weights."""
    inner = plain(settings)
    model = network()
    average = copy.deepcopy(model)

    def step() -> None:
        inner()
        with torch.no_grad():
            for mean, parameter in zip(average.parameters(), model.parameters()):  # noqa: B905  it runs on Python 3.9 too
                mean.lerp_(parameter, 0.01)

    return step


def scaled(settings: dict[str, Any]) -> Callable[[], None]:
    """fp16 with a gradient scaler."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cuda")
    rows = torch.randn(settings["batch_size"], WIDTH, device="cuda")

    def step() -> None:
        with torch.autocast("cuda", dtype=torch.float16):
            loss = functional.cross_entropy(model(rows), torch.zeros(len(rows), dtype=torch.int64, device="cuda"))
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return step


def leaking(settings: dict[str, Any]) -> Callable[[], None]:
    inner = plain(settings)
    model = network()
    kept: list[torch.Tensor] = []

    def step() -> None:
        kept.append(model(torch.randn(settings["batch_size"] * 1024, WIDTH, device="cuda")))
        inner()

    return step


def contrastive(settings: dict[str, Any]) -> Callable[[], None]:
    """Every row against every other: batch x batch."""
    model = network()
    rows = torch.randn(settings["batch_size"] * settings.get("each", 1), WIDTH, device="cuda")

    def step() -> None:
        made = model(rows)
        functional.cross_entropy(made @ made.T, torch.arange(len(rows), device="cuda")).backward()
        model.zero_grad()

    return step


def branching(settings: dict[str, Any]) -> Callable[[], None]:
    model = network()
    rows = torch.randn(settings["batch_size"], WIDTH, device="cuda")

    def step() -> None:
        made = model(rows)
        (made.abs() if len(rows) > 4 else made.pow(2)).mean().backward()
        model.zero_grad()

    return step


def configured(settings: dict[str, Any]) -> Callable[[], None]:
    """Reads a file of its folder."""
    factor = json.loads(Path("config.json").read_text("utf-8"))["factor"]
    return plain({"batch_size": settings["batch_size"] * factor})


def precise(settings: dict[str, Any]) -> Callable[[], None]:
    """Schedules on the host keep their values; questions to the device get a guess."""
    inner = plain(settings)

    def step() -> None:
        rates = torch.linspace(0, 0.5, 5).tolist()
        assert abs(rates[4] - 0.5) < 1e-6, rates
        mask = torch.ones(3, device="cuda") > 0
        assert mask.all()
        assert not torch.isnan(torch.ones(3, device="cuda")).any()
        assert torch.ones(3, device="cuda")[mask].shape == (3,)
        assert torch.ones(3, device="cuda").is_cuda
        assert torch.tensor([1.0], device="cuda").device.type == "cuda"
        assert torch.ones(3).device.type == "cpu"
        inner()

    return step
