"""What the name of a public model says: which models are one, and what bounds them. It knows no time and no row."""

from __future__ import annotations

import re

__all__ = ["model_key", "regime_of", "relatives"]

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
