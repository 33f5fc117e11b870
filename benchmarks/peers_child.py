"""Other estimators on the workloads of standard input, one JSON line in and one out; needs no gpuplan beside it.

It runs under whatever Python has the tools (`make peers`); one that is not installed answers nothing. Their arithmetic
is their own: nothing is corrected, and every fact of the run that a tool can be told is told to it. No tool asks a hub.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import redirect_stdout
from functools import lru_cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 2**20
QUANTISED = {"nf4": "nf4", "nf4_dq": "nf4", "int8": "int8"}
OPTIMIZERS = {
    **dict.fromkeys(("adamw", "adamw_fused", "adamw_loop", "adamw_in_backward", "adamw_paged"), "adamw"),
    **dict.fromkeys(("adamw_8bit", "adamw_8bit_paged"), "adam8bit"),
    **dict.fromkeys(("adamw_8bit_in_backward", "adamw_8bit_paged_in_backward"), "adam8bit"),
    "sgd": "sgd",
    "sgd_momentum": "sgd-momentum",
}
TARGETS = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "o_proj", "gate": "gate_proj", "up": "up_proj"}
TARGETS["down"] = "down_proj"
FUSED = ("query_key_value", "c_attn")
ZERO = {"none": 0, "ddp": 0, "zero1": 1, "zero2": 2, "zero3": 3, "fsdp": 3}
SAME_MODEL = 0.02
"""A module built from a family's name is the row's model only if their parameters agree to this share."""


def main() -> None:
    """Say which versions there are, then answer every line of standard input."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    print(json.dumps({"versions": {name: _version(name) for name in PEERS}}), flush=True)
    for line in sys.stdin:
        work = json.loads(line)
        with redirect_stdout(sys.stderr):
            found = {name: _asked(peer, work) for name, peer in PEERS.items()}
        print(json.dumps({"id": work["id"]} | found), flush=True)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _asked(peer: Callable[[dict[str, Any]], float | str], work: dict[str, Any]) -> float | str:
    try:
        return peer(work)
    except ImportError as error:
        return f"not installed ({error.name})"
    except Exception as error:  # noqa: BLE001  whatever foreign code raises, it has not answered this row
        return f"refused: {str(error) or type(error).__name__}"[:200]


def _fitcheck(work: dict[str, Any]) -> float | str:
    """Allocated: its sum without overhead; device: its total. Best settings: flash attention where the run has it."""
    config, tool, gpus = (import_module(f"fitcheck.{name}") for name in ("config_parser", "estimator", "gpu_db"))
    if work["world"] > 1:
        return "one GPU only"
    if work["kind"] != "decoder" or work["experts"]:
        return "dense decoders only"
    if work["storage"] == "gptq4" or work["method"] not in {"full", "lora"}:
        return "no GPTQ and no adapters but LoRA"
    if work["optimizer"] not in OPTIMIZERS:
        return "no such optimizer"
    model = config.ModelConfig(**work["model"])
    training = tool.TrainingConfig(
        precision="fp32" if work["compute"] == 4 else "bf16",
        quantization=QUANTISED.get(work["storage"], "none"),
        double_quant=work["storage"] == "nf4_dq",
        optimizer=OPTIMIZERS[work["optimizer"]],
        optimizer_dtype="fp32" if work["trained_bytes"] == 4 else "bf16",
        batch_size=work["batch"],
        seq_len=work["sequence"],
        lora_rank=work["rank"] if work["method"] == "lora" else None,
        lora_targets=[TARGETS[name] for name in work["targets"]],
        grad_checkpoint=work["checkpointing"],
        flash_attn=work["attention"] == "flash",
    )
    report = tool.estimate(model, training, gpus.get_gpu(vram_mib=max(1024, work["vram_mib"])))
    total: float = report.total_mib - (report.overhead_mib if work["metric"] == "allocated" else 0.0)
    return MIB * total


def _accelerate(work: dict[str, Any]) -> float | str:
    """`accelerate estimate-memory`, training with Adam: the most of its four figures."""
    tool = import_module("accelerate.commands.estimate")
    if work["world"] > 1:
        return "one GPU only"
    precision = "float32" if work["compute"] == 4 else "bfloat16"
    return float(max(tool.estimate_training_usage(4 * work["model"]["num_params"], precision).values()))


def _llm_analysis(work: dict[str, Any]) -> float | str:
    """Weights, gradients, optimizer states and activations of a GPU, as `LLMAnalysis.training` sums them.

    Both forms of the feed-forward's width are given, as it refuses one that is no multiple of the model's. The card
    decides only times and the largest batch, so that any of its own will do; a global batch keeps it from refusing
    a run that by its own figure does not fit.
    """
    tool, config = (import_module(f"llm_analysis.{name}") for name in ("analysis", "config"))
    if work["method"] != "full":
        return "full training only"
    if work["kind"] not in {"decoder", "encoder"} or work["optimizer"] not in OPTIMIZERS:
        return "no such model or optimizer"
    bits, model = 8 * work["compute"], work["model"]
    analysis = tool.LLMAnalysis(
        config.ModelConfig(
            name=model["name"], num_layers=model["num_layers"], n_head=model["num_attention_heads"],
            hidden_dim=model["hidden_size"], vocab_size=model["vocab_size"], max_seq_len=work["sequence"],
            num_key_value_heads=model["num_kv_heads"], ffn_embed_dim=model["intermediate_size"],
            expansion_ratio=model["intermediate_size"] / model["hidden_size"],
            moe_num_experts=work["experts"] or 1, moe_top_k=work["experts_per_token"] or 1,
        ),
        config.get_gpu_config_by_name("a100-sxm-80gb"),
        config.DtypeConfig(name="run", weight_bits=bits, activation_bits=bits, embedding_bits=bits),
        config.ParallelismConfig(dp_size=work["world"]),
    )  # fmt: skip
    found = analysis.training(
        batch_size_per_gpu=work["batch"],
        global_batch_size=work["batch"] * work["world"],
        seq_len=work["sequence"],
        activation_recomputation=tool.ActivationRecomputation(2 if work["checkpointing"] else 0),
        ds_zero=tool.DSZeRO(ZERO[work["sharding"]]),
        master_weights_dtype_bytes=work["trained_bytes"],
        other_op_bytes=_state_bytes(OPTIMIZERS[work["optimizer"]], trained=work["trained_bytes"]),
        flash_attn=work["attention"] == "flash",
        mlp_gated_linear_units=work["gated"],
    )
    return float(found["(weight+op_state+grad+act)_memory_per_gpu"])


def _state_bytes(optimizer: str, *, trained: int) -> int:
    """Bytes of states for each trained parameter; llm-analysis is told this number and adds master weights itself."""
    return {"adamw": 2 * trained, "adam8bit": 2, "sgd": 0, "sgd-momentum": trained}[optimizer]


def _kitsune(work: dict[str, Any]) -> float | str:
    """`kitsune.predict` on transformers' own module, on the meta device, as its own loader makes it.

    It has three estimators: one GPU, LoRA and QLoRA on one GPU, full training over several. None takes checkpointing
    or an attention kernel. QLoRA wants the module before it is quantised, in fp32. Its traces feed a language model
    random floats, which no embedding takes, so that its own last resort, a formula by layer, gives the activations.
    """
    tool, torch = import_module("kitsune.predict"), import_module("torch")
    if work["method"] not in {"full", "lora"} or work["storage"] not in {"fp32", "bf16", "nf4", "nf4_dq"}:
        return "no GPTQ or int8 and no adapters but LoRA"
    if work["world"] > 1 and work["method"] == "lora":
        return "LoRA on one GPU only"
    optimizer = OPTIMIZERS.get(work["optimizer"], "none")
    if optimizer in {"none", "adam8bit"}:
        return "no such optimizer"
    types = {2: torch.bfloat16, 4: torch.float32}
    trained, compute = types[work["trained_bytes"]], types[work["compute"]]
    shape, batch = (work["sequence"],), work["batch"]
    if work["method"] == "lora":
        module = _module(json.dumps(_dimensions(work)), types[2 if work["storage"] == "bf16" else 4])
        targets = (*(TARGETS[name] for name in work["targets"]), *FUSED)
        quantised = work["storage"] in QUANTISED
        lora = tool.LoRAConfig(rank=work["rank"], target_modules=targets, use_qlora=quantised, optimizer=optimizer)
        return float(tool.estimate_lora_memory(module, shape, batch, trained, lora).total_bytes)
    module = _module(json.dumps(_dimensions(work)), trained)
    if work["world"] > 1:
        strategy = f"zero{ZERO[work['sharding']]}" if ZERO[work["sharding"]] else "ddp"
        total = batch * work["world"]
        found = tool.estimate_multi_gpu(module, shape, total, compute, optimizer, strategy, work["world"])
        return float(found.total_bytes)
    return float(tool.predict_memory(module, shape, batch, compute, optimizer).total_bytes)


def _dimensions(work: dict[str, Any]) -> dict[str, Any]:
    """What transformers calls them, with the width of a head only where it is not the usual one."""
    model = work["model"]
    own_head = model["head_dim"] * model["num_attention_heads"] != model["hidden_size"]
    return {
        "model_type": work["family"], "parameters": model["num_params"], "classes": work["classes"],
        "encoder": work["kind"] == "encoder",
        "config": {
            "vocab_size": model["vocab_size"], "hidden_size": model["hidden_size"],
            "intermediate_size": model["intermediate_size"], "num_hidden_layers": model["num_layers"],
            "num_attention_heads": model["num_attention_heads"], "num_key_value_heads": model["num_kv_heads"],
            "tie_word_embeddings": model["tie_word_embeddings"],
        }
        | ({"head_dim": model["head_dim"]} if own_head else {})
        | ({"max_position_embeddings": work["positions"]} if work["positions"] else {})
        | ({"num_local_experts": work["experts"], "num_experts_per_tok": work["experts_per_token"]}
           if work["experts"] else {}),
    }  # fmt: skip


@lru_cache(maxsize=4)
def _module(dimensions: str, dtype: Any) -> Any:
    facts = json.loads(dimensions)
    torch, transformers = import_module("torch"), import_module("transformers")
    labels = {"num_labels": facts["classes"]} if facts["classes"] else {}
    config = transformers.AutoConfig.for_model(facts["model_type"], **facts["config"], **labels)
    if facts["classes"]:
        kind = transformers.AutoModelForSequenceClassification
    else:
        kind = transformers.AutoModelForMaskedLM if facts["encoder"] else transformers.AutoModelForCausalLM
    with torch.device("meta"):
        module = kind.from_config(config, dtype=dtype)
    built = sum(parameter.numel() for parameter in module.parameters())
    if abs(built / facts["parameters"] - 1) > SAME_MODEL:
        raise ValueError(f"transformers' {facts['model_type']} of these dimensions is another model")
    return module


PEERS: dict[str, Callable[[dict[str, Any]], float | str]] = {
    "fitcheck-llm": _fitcheck,
    "accelerate": _accelerate,
    "llm-analysis": _llm_analysis,
    "torch-kitsune": _kitsune,
}

if __name__ == "__main__":
    main()
