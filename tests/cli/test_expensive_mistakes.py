"""The mistakes that the plans of real systems were made with, each in a small folder as a user would have it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gpuplan.cli.main import main
from gpuplan.errors import EXIT_BLOCKED

if TYPE_CHECKING:
    from collections.abc import Callable

Finding = dict[str, Any]


@pytest.fixture
def answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[Finding]]:
    """What a command line finds, run in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, code: int) -> list[Finding]:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--json"])
        said = capsys.readouterr()
        assert ended.value.code == code, said
        findings: list[Finding] = json.loads(said.out)["findings"]
        return findings

    return run


def of(check: str, findings: list[Finding]) -> list[tuple[str, str]]:
    return [(one["severity"], one["place"]) for one in findings if one["check"] == check]


SEARCH = """\
from dataclasses import dataclass
from omegaconf import OmegaConf

@dataclass
class Agent:
    num_workers: int
    stages: dict[str, int]

@dataclass
class Config:
    exp_name: str
    data_dir: str
    agent: Agent

Config = OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.load("bfts_config.yaml"))
"""


def test_a_staged_search_whose_loader_refuses_keys(answer: Callable[..., list[Finding]]) -> None:
    Path("launch.py").write_text(SEARCH)
    Path("experiment.yaml").write_text("name: search\ncommand: python launch.py\n")
    sound = "exp_name: run\ndata_dir: data\nagent:\n  num_workers: 4\n  stages: {stage1_max_iters: 3}\n"
    Path("bfts_config.yaml").write_text(f"{sound}  num_seeds: 3\ncompute:\n  total_pods: 2\n")
    findings = answer("check", code=EXIT_BLOCKED)
    assert of("config-key", findings) == [("error", "bfts_config.yaml:6:3"), ("error", "bfts_config.yaml:7:1")]
    Path("bfts_config.yaml").write_text(sound)
    assert of("config-key", answer("check", code=0)) == []


def test_a_sweep_on_a_rented_card_that_cannot_start(answer: Callable[..., list[Finding]]) -> None:
    Path("train.py").write_text(
        "import torch\n"
        "from transformers import TrainingArguments\n"
        "args = TrainingArguments(\n"
        "    output_dir='out',\n"
        "    eval_strategy='steps',\n"
        "    use_cpu=not torch.backends.mps.is_available(),\n"
        ")\n"
    )
    Path("Dockerfile").write_text("FROM python:3.10\nRUN pip install torch==2.0.1 transformers==4.30.2 accelerate\n")
    spec = "name: sweep\ncommand: python train.py --out {run_dir}\ncompute: {on: [vast], gpus: [RTX 5090]}\n"
    Path("experiment.yaml").write_text(spec)
    findings = answer("check", code=EXIT_BLOCKED)
    assert of("library-version", findings) == [("error", "Dockerfile:2:1")] * 3
    assert of("trains-on-cpu", findings) == [("error", "train.py:6:13")]
    Path("train.py").write_text(
        "import torch\nfrom transformers import TrainingArguments\nargs = TrainingArguments('out')\n"
    )
    Path("Dockerfile").write_text("FROM python:3.10\nRUN pip install torch==2.8.0 transformers==4.56.0 accelerate\n")
    findings = answer("check", code=0)
    assert of("library-version", findings) == of("trains-on-cpu", findings) == of("library-missing", findings) == []


def test_a_swarm_whose_nodes_have_one_seed(answer: Callable[..., list[Finding]]) -> None:
    Path("node.py").write_text("import os\nseed = int(os.environ['GPUPLAN_SEED'])\n")
    Path("experiment.yaml").write_text("name: swarm\ncommand: python node.py\ncopies: 8\nseeds: [42, 43]\n")
    assert of("seed-shared", answer("check", code=0)) == [("warning", "experiment.yaml:2:1")]
    Path("node.py").write_text("import os\nseed = int(os.environ['GPUPLAN_SEED'])\nown_seed = seed + node_id\n")
    findings = answer("check", code=0)
    assert of("seed-shared", findings) == []
    assert of("seed-overlap", findings) == [("warning", "experiment.yaml:4:1")]


def bar(step: int, total: int) -> str:
    clock = f"{step * 23 // 6000:02d}:{step * 23 // 100 % 60:02d}"
    return (
        f"\r1|{step}|Loss: {2 - step / total:.4f}:  {100 * step // total}%|#| {step}/{total} [{clock}<00:01,  4.34it/s]"
    )


def test_a_log_of_packed_rows(answer: Callable[..., list[Finding]]) -> None:
    Path("slurm-1.out").write_text("".join(bar(step, 109) for step in range(1, 110)) + "\n")
    words = ("learn", "slurm-1.out", "--gpu", "A100 80GB", "--batch-rows", "1", "--dataset-rows")
    assert of("packed-rows", answer(*words, "4000", code=0)) == [("warning", "slurm-1.out")]
    assert of("packed-rows", answer(*words, "109", code=0)) == []


def test_a_log_of_rewards_that_are_all_zero(answer: Callable[..., list[Finding]]) -> None:
    rows = [json.dumps({"step": step, "reward": 0.0, "reward_std": 0.0, "step_time_s": 2.0}) for step in range(40)]
    Path("log.jsonl").write_text("\n".join(rows) + "\n")
    assert of("no-reward-signal", answer("learn", "log.jsonl", "--gpu", "A100 80GB", code=0)) == [
        ("error", "log.jsonl")
    ]


STAGED = """\
name: search
command: python run.py --layers {layers} --rows {rows} --batch {batch}
settings: {layers: 6, rows: 5000, batch: 16, epochs: 3, sequence: 256}
stages: [{name: first, repeats: 20}, {name: last, repeats: 10}]
roles: {micro_batch: batch, train_rows: rows, epochs: epochs, sequence: sequence}
footprint:
  model: {kind: decoder, layers: layers, d_model: 768, heads: 12, feedforward: 3072, vocabulary: 50257, tied: true}
compute: {on: [vast], gpus: [L40, A100 80GB]}
"""


def test_a_plan_whose_run_is_all_waves_and_whose_memory_names_no_card(answer: Callable[..., list[Finding]]) -> None:
    Path("search.yaml").write_text(STAGED)
    estimate = "claim-estimate"

    def held(claim: str, *, code: int) -> list[tuple[str, str]]:
        return of(estimate, answer("audit", "--claim", claim, "--spec", "search.yaml", code=code))

    assert held("run @ L40 = 40 min", code=0) == []
    assert held("run @ L40 = 40 h", code=EXIT_BLOCKED) == [("error", "--claim")]
    assert held("memory = 1 GB", code=EXIT_BLOCKED) == [("error", "--claim")]
