"""Other estimators on the workloads of standard input, one JSON line in and one out; needs no gpuplan beside it.

It runs under whatever Python has the tools (`pip install fitcheck-llm accelerate`); one that is not installed answers
nothing. Their arithmetic is their own: nothing is corrected, and settings that a tool knows are given to it.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any

MIB = 2**20
QUANTISED = {"nf4": "nf4", "nf4_dq": "nf4", "int8": "int8"}
OPTIMIZERS = {"adamw": "adamw", "adamw_8bit": "adam8bit", "sgd": "sgd", "sgd_momentum": "sgd-momentum"}
TARGETS = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "o_proj", "gate": "gate_proj", "up": "up_proj"}
TARGETS["down"] = "down_proj"


def main() -> None:
    """Answer every line of standard input."""
    for line in sys.stdin:
        work = json.loads(line)
        found = {name: peer(work) for name, peer in (("fitcheck-llm", _fitcheck), ("accelerate", _accelerate))}
        print(json.dumps({"id": work["id"]} | found), flush=True)


def _fitcheck(work: dict[str, Any]) -> float | str:
    """Allocated: its sum without overhead; device: its total. Best settings: flash attention where the run has it."""
    try:
        config, tool, gpus = (import_module(f"fitcheck.{name}") for name in ("config_parser", "estimator", "gpu_db"))
    except ImportError:
        return "not installed"
    strange = work["kind"] != "decoder" or work["storage"] == "gptq4" or work["method"] not in {"full", "lora"}
    if strange or work["experts"] or work["world"] > 1:
        return "not supported"
    model = config.ModelConfig(**work["model"])
    training = tool.TrainingConfig(
        precision="fp32" if work["compute"] == 4 else "bf16",
        quantization=QUANTISED.get(work["storage"], "none"),
        double_quant=work["storage"] == "nf4_dq",
        optimizer=OPTIMIZERS.get(work["optimizer"], "adamw"),
        optimizer_dtype="fp32" if work["trained_bytes"] == 4 else "bf16",
        batch_size=work["batch"],
        seq_len=work["sequence"],
        lora_rank=work["rank"] if work["method"] == "lora" else None,
        lora_targets=[TARGETS[name] for name in work["targets"]],
        grad_checkpoint=work["checkpointing"],
        flash_attn=work["attention"] == "flash",
    )
    try:
        report = tool.estimate(model, training, gpus.get_gpu(vram_mib=max(1024, work["vram_mib"])))
    except (ValueError, KeyError) as error:
        return f"refused: {error}"[:200]
    total: float = report.total_mib - (report.overhead_mib if work["metric"] == "allocated" else 0.0)
    return MIB * total


def _accelerate(work: dict[str, Any]) -> float | str:
    """`accelerate estimate-memory`, training with Adam: the most of its four figures."""
    try:
        tool = import_module("accelerate.commands.estimate")
    except ImportError:
        return "not installed"
    if work["world"] > 1:
        return "not supported"
    precision = "float32" if work["compute"] == 4 else "bfloat16"
    return float(max(tool.estimate_training_usage(4 * work["model"]["num_params"], precision).values()))


if __name__ == "__main__":
    main()
