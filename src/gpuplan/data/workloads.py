"""Dimensions of the workloads of public benchmark tables that are no plain transformers. It computes nothing."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import resources
from typing import Any, Literal, NamedTuple

__all__ = ["WorkloadFacts", "find_workload", "naming_words", "workloads"]

WORD = re.compile(r"[a-z0-9]+(?:\.[0-9][a-z0-9]*)*")
DECIMAL = re.compile(r"(?<![0-9.])([0-9])_([0-9])(?=gf|[^0-9a-z.]|$)")
"""torchvision writes 1.6 as `1_6`: `regnet_y_1_6gf` is not `regnet_y_16gf`."""
WEIGHTS = re.compile(r"\.(?=[a-z])[a-z0-9_]*in1k$")
"""timm says behind a dot how weights were trained: those of 1000 classes leave the network as it is."""
BESIDE = re.compile(r"(bs|batch)\d+|\d*gpus?")
BESIDES = frozenset({
    "pytorch", "torch", "torchvision", "models", "timm", "tf", "tensorflow", "mxnet", "nvidia", "mlperf", "microsoft",
    "facebook", "google", "model", "baseline", "benchmark", "fp32", "tf32", "fp16", "bf16", "float32", "float16",
    "bfloat16", "amp", "half", "mixed", "precision", "train", "training", "pretrain", "pretraining", "pretrained",
    "finetune", "finetuning", "finetuned", "imagenet", "imagenet1k", "ilsvrc2012", "in1k", "coco", "coco2017", "squad",
    "wmt14", "wmt16", "wikitext103", "ml20m", "ljspeech", "librispeech", "ap", "ns",
})  # fmt: skip
"""What stands beside a network's name and leaves it the same: who wrote it, how and on what it is trained. Any other
word may say another network (`resnet50 d`), or one with another first layer (`resnet18 cifar10`)."""


class WorkloadFacts(NamedTuple):
    """One row: what all rows have, and the dimensions that its family reads."""

    name: str
    family: str
    optimizer: Literal["sgd_momentum", "adam"]
    dimensions: dict[str, Any]
    image: int = 0
    sequence: int = 0
    parameters: int = 0
    gmacs: float = 0.0
    kernel_overhead_us: float = 0.0
    source: str = ""
    checked: Literal["seen", "recalled"] = "recalled"


def workloads() -> dict[str, WorkloadFacts]:
    """Every row of workloads.toml by its name."""
    return dict(_table().workloads)


def find_workload(name: str) -> WorkloadFacts | None:
    """The workload that `name` means: `PyTorch_resnet50`, `SSD_AMP` and `convnext_tiny_224` are names too.

    A word that is not known leaves it without a meaning: VGG-16 would be a silently wrong answer to `vgg16 unet`.
    """
    words, table = naming_words(name), _table()
    for count in (len(words), len(words) - 1):
        found = table.workloads.get(table.readings.get("".join(words[:count]), ""))
        if found is not None and words[count:] in ([], [str(found.image)]):
            return found
    return None


def naming_words(name: str) -> list[str]:
    """The words of `name` that say which network it is."""
    words = WORD.findall(DECIMAL.sub(r"\1.\2", WEIGHTS.sub("", name.lower()[:200])))
    return [word for word in words if word not in BESIDES and not BESIDE.fullmatch(word)]


class _Table(NamedTuple):
    workloads: dict[str, WorkloadFacts]
    readings: dict[str, str]


@cache
def _table() -> _Table:
    content = tomllib.loads(resources.files(__package__).joinpath("workloads.toml").read_text(encoding="utf-8"))
    rows: list[dict[str, Any]] = content["workload"]
    readings = {
        "".join(naming_words(name)): row["name"] for row in rows for name in (row["name"], *row.get("aliases", ()))
    }
    return _Table({row["name"]: _facts(row, content["sources"]) for row in rows}, readings)


def _facts(row: dict[str, Any], sources: dict[str, Any]) -> WorkloadFacts:
    source = sources[row["source"]]
    common = {name: row[name] for name in WorkloadFacts._fields if name in row and name != "source"}
    others = {name: value for name, value in row.items() if name not in {*WorkloadFacts._fields, "aliases"}}
    return WorkloadFacts(**common, dimensions=others, source=f"{source['title']}, {source['date']}")
