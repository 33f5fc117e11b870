"""Which traces a plan rests on: those of the kind of device that it is for."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from gpuplan.expand import expand
from gpuplan.flow.state import State
from gpuplan.flow.trace import trace_runs
from gpuplan.spec import Spec, load
from gpuplan.world import capture
from gpuplan.world.asked import Asked
from gpuplan.world.footprints import TRACES

if TYPE_CHECKING:
    from gpuplan.model import World

pytest.importorskip("torch")

Kind = Literal["cpu", "gpu"]
STEP = """
import torch

def make_step(settings):
    model = torch.nn.Linear(64, 64, device="cuda" if torch.cuda.is_available() else "cpu")
    rows = torch.randn(settings["bs"], 64, device=model.weight.device)
    return lambda: model(rows).square().mean().backward()
"""
SPEC = f"""
name: traced
command: python train.py --rows {{bs}} --lr {{lr}}
settings: {{bs: 8}}
vary: {{lr: [1, 2]}}
roles: {{micro_batch: bs}}
footprint: {{trace: "mine:make_step"}}
environment: {{python: {sys.executable}}}
"""


def say_nothing(text: str) -> None:
    """A trace takes a second; nobody waits for it here."""


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the spec, and a trace of each kind of device in a state folder named after it."""
    folder = tmp_path_factory.mktemp("traced")
    (folder / "mine.py").write_text(STEP)
    (folder / "e.yaml").write_text(SPEC)
    kinds: tuple[Kind, ...] = ("cpu", "gpu")
    for kind in kinds:
        trace_runs(
            load(str(folder / "e.yaml")), State(folder / kind), most=4, kind=kind, timeout_s=120, say=say_nothing
        )
        shutil.copytree(folder / kind / TRACES, folder / "both" / TRACES, dirs_exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine is one without a GPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def seen(folder: Path, state: str, *overrides: str, **asked: Any) -> World:
    spec: Spec = load(str(folder / "e.yaml"), overrides)
    return capture(spec, expand(spec.experiment), state=folder / state, store=None, asked=Asked(**asked))


def kinds_of(world: World) -> list[Kind]:
    """Of each footprint; only a GPU has an allocator that reserves."""
    return ["gpu" if footprint.reserved_bytes else "cpu" for footprint in world.footprints.values()]


def test_runs_for_this_cpu_have_the_traces_of_a_cpu(traced: Path) -> None:
    assert kinds_of(seen(traced, "both")) == ["cpu", "cpu"]


@pytest.mark.parametrize(
    "override", ["compute.on=[vast]", "compute.on=[local,vast]", "compute.on=[slurm]", "compute.gpus=[RTX 4090]"]
)
def test_runs_for_gpus_have_the_traces_of_a_gpu(traced: Path, override: str) -> None:
    world = seen(traced, "both", override)
    assert kinds_of(world) == ["gpu", "gpu"]
    assert world.footprints == seen(traced, "both", override).footprints


@pytest.mark.parametrize("asked", [{"anywhere": True}, {"table": Path("offers.csv")}], ids=["anywhere", "a table"])
def test_offers_that_a_command_line_asks_for_are_gpus(traced: Path, asked: dict[str, Any]) -> None:
    assert kinds_of(seen(traced, "both", **asked)) == ["gpu", "gpu"]


def test_traces_of_the_other_kind_are_not_used_and_named(traced: Path) -> None:
    for state, override, fix in (
        ("cpu", "compute.on=[vast]", "`gpuplan trace --device gpu`"),
        ("gpu", "compute.on=[local]", "`gpuplan trace --device cpu`"),
    ):
        world = seen(traced, state, override)
        (finding,) = [one for one in world.oddities if one.check == "trace"]
        assert world.footprints == {}
        assert (finding.severity, finding.fix) == ("note", fix)
        assert finding.message.startswith("2 runs were traced as on a ")
        assert finding.place.endswith("e.yaml:7:13")


def test_without_a_trace_nothing_is_named(traced: Path) -> None:
    world = seen(traced, "neither", "compute.on=[vast]")
    assert (world.footprints, [one for one in world.oddities if one.check == "trace"]) == ({}, [])
