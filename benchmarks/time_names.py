"""What the name of a public model says: which models are one, and what bounds them. It knows no time and no row."""

from __future__ import annotations

import math
import re

__all__ = ["model_key", "never_in_16_bits", "regime_of", "relatives"]

REGIMES = {
    "launch": ("tacotron", "se3"),
    "bandwidth": ("ncf", "dlrm"),
    "convolution": (
        "resnet", "resnext", "ssd", "efficient", "mobilenet", "vgg", "densenet", "inception", "squeezenet",
        "shufflenet", "mnasnet", "alexnet", "googlenet", "regnet", "convnext", "maskrcnn", "unet", "nnunet",
        "yolo", "xception", "dpn", "nfnet", "wide", "seresnet", "seresnext",
    ),
    "matmul": (
        "bert", "roberta", "distilbert", "albert", "deberta", "electra", "bart", "gpt", "gpt2", "opt", "llama", "qwen",
        "mistral", "mixtral", "pythia", "phi", "gemma", "falcon", "switch", "t5", "vit", "deit", "swin", "mixer",
        "transformer", "gnmt", "tft", "fastpitch", "wav2vec", "waveglow", "jasper", "quartznet", "hifigan",
    ),
}  # fmt: skip
"""By what bounds it on a GPU: the start of many small kernels (decoders step by step, small graphs); memory
(embeddings); 2-D convolutions; matrix products (1-D convolutions over many channels are run as such). The first of
these with which a word of the name begins counts."""

ARCHITECTURES = (
    "bert", "transformerxl", "resnet50", "efficientnet", "gnmt", "ncf", "ssd", "tacotron2", "waveglow", "resnext101",
    "tft", "nnunet", "resnet", "vgg", "densenet", "squeezenet", "shufflenet", "mobilenet", "gpt", "opt",
)  # fmt: skip


NO_AUTOCAST = ("tacotron2", "waveglow")
"""Lambda's v1 and v2 give NVIDIA's script `--amp-run`, which has had `--amp` since 2020 and ignores what it does not
know (config_v1/*.sh, config_v2/*.sh, and train.py, read 2026-11-20). Rows of both names at one batch take equally long.
"""
NO_AUTOCAST_FROM_GIB = {"ncf": 72}
"""Their configurations for cards of 80 GB and more give no `--amp` to NCF; those for smaller ones do."""


def never_in_16_bits(group: str, model: str, memory_gib: float) -> bool:
    """Whether a row that is called fp16 was computed as the fp32 rows beside it."""
    project, version, *_ = (*group.split("/"), "", "")
    if project != "lambda" or version not in {"v1", "v2"}:
        return False
    key = model_key(model)
    return key.startswith(NO_AUTOCAST) or memory_gib >= NO_AUTOCAST_FROM_GIB.get(key, math.inf)


def model_key(name: str) -> str:
    """One key for `BERT-large SQuAD` and `bert_large_squad`."""
    return re.sub(r"[^a-z0-9]", "", name.lower()[:200])


def relatives(key: str) -> str:
    """The architecture that a model is a size or a version of, for a stricter hold-out."""
    return next((name for name in ARCHITECTURES if name in key), key)


def regime_of(name: str) -> str:
    """What bounds the model, "" if the name does not say it."""
    words = re.findall(r"[a-z0-9]+", name.lower()[:200])
    for regime, starts in REGIMES.items():
        if any(word.startswith(starts) for word in words):
            return regime
    return ""
