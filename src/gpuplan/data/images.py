"""Facts on networks for images, found by the usual names. It never looks at weights or a network."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import resources
from typing import NamedTuple

__all__ = ["ImageFacts", "find_image_network"]

DETECTOR = re.compile(r"\b(r|x)-?(\d{2,3})\b", re.IGNORECASE)
DETECTOR_WORDS = ("rcnn", "r-cnn", "retinanet", "fpn", "detectron", "panoptic", "cascade", "keypoint", "rpn")


class ImageFacts(NamedTuple):
    """One network: parameters, outputs of one image, how often each is kept, and the image's edge in pixels."""

    name: str
    parameters: float
    outputs: float
    kept: float
    image: int
    source: str
    detector: bool = False


def find_image_network(name: str) -> ImageFacts | None:
    """The network that `name` means, or the backbone of the detector that it names."""
    detector = any(word in name.lower() for word in DETECTOR_WORDS)
    found = DETECTOR.search(name) if detector else None
    if found:
        key = "resnext101" if found.group(1).lower() == "x" else f"resnet{found.group(2)}"
        facts = _networks().get(key)
        return facts._replace(detector=True) if facts else None
    key = re.sub(r"[^a-z0-9]", "", name.rsplit("/", 1)[-1].lower())
    names = sorted(_networks(), key=len, reverse=True)
    match = next((other for other in names if key.startswith(other.replace("_", ""))), None)
    return (
        _networks()[match]
        if match
        else _networks().get({"inception": "inception_v3", "efficientnet": "efficientnet_b0"}.get(key, ""))
    )


@cache
def _networks() -> dict[str, ImageFacts]:
    content = tomllib.loads(resources.files(__package__).joinpath("images.toml").read_text(encoding="utf-8"))
    source = content["sources"]["timm"]
    return {
        name: ImageFacts(
            name=name,
            parameters=1e6 * row["parameters"],
            outputs=1e6 * row["activations"],
            kept=content["blocks"][row["block"]],
            image=row["image"],
            source=f"{source['title']}, {source['date']}",
        )
        for name, row in content["networks"].items()
    }
