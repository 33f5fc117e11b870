"""What a trace could not know, in sentences for the user. It changes no number."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Dict, List

from .state import STATE

if TYPE_CHECKING:
    from .observe import Observation
    from .sites import Site

__all__ = ["notes_of"]

MOST_PLACES = 3


def notes_of(observation: Observation, *, workdir: str) -> List[str]:
    """The assumptions behind one observation."""
    found: List[str] = []
    if observation.attention:
        kernels = ", ".join("{} ({}x)".format(name, count) for name, count in sorted(observation.attention.items()))
        device = "compute capability {}.{}".format(*STATE.capability) if STATE.gpu else "a CPU"
        found.append("attention kernels for {}: {}".format(device, kernels))
    if observation.guesses:
        found.append(_of_guesses(observation.guesses, observation.sites, workdir))
    if STATE.ranks > 1:
        found.append("what the first of {} ranks holds, without NCCL's own buffers".format(STATE.ranks))
    if {"convolution", "depthwise"} & {deed[1] for deed in observation.deeds} and STATE.gpu:
        found.append("the workspaces of cuDNN's convolutions are not in it")
    if observation.kernels:
        names = ", ".join(observation.kernels[:MOST_PLACES])
        found.append("what other libraries' kernels hold while they run is not known: {}".format(names))
    found += [NOTES[name] for name in observation.notes]
    return found + _of_memory(observation)


NOTES = {
    "compile": "what `torch.compile` or `torch.jit.script` would compile was traced as it stands",
    "communication hook": "a communication hook of DistributedDataParallel was left out",
    "generation": "generation was traced to its limit: no sequence ends before",
    "outliers": "no activation is out of the range of 8 bits: how many are depends on values",
    "unpacked": "a product with 4-bit weights unpacks them; with few rows a GPU may read them packed",
    "recurrent": "a recurrent layer is traced step by step; what cuDNN's kernel keeps is not known",
}


def _of_guesses(guesses: Dict[str, int], sites: List[Site], workdir: str) -> str:
    places: List[str] = []
    for number in sorted(guesses, key=lambda key: -guesses[key]):
        line = sites[int(number)][0] or sites[int(number)][1]
        place = "{}:{}".format(os.path.relpath(line[0], workdir), line[1]) if line else "PyTorch"
        if place not in places:
            places.append(place)
    shown = ", ".join(places[:MOST_PLACES]) + (" and elsewhere" if len(places) > MOST_PLACES else "")
    return (
        "{} values of tensors a step are asked for and unknown ({}): numbers are taken as 0 or 1, `all()` as true (no "
        "padding), other conditions as false; on a GPU each one waits for it".format(sum(guesses.values()), shown)
    )


def _of_memory(observation: Observation) -> List[str]:
    sizes: List[Any] = [
        (observation.leak_bytes, "each step leaves {} more on the device, after {} steps still"),
        (observation.cycle_bytes, "{} stay on the device in reference cycles until Python collects them"),
        (observation.host_bytes, "{} stay in the host's memory and are not counted"),
    ]
    return [text.format(_mib(size), observation.steps) for size, text in sizes if size >= 2**20]


def _mib(size_bytes: int) -> str:
    return "{:,.0f} MiB".format(size_bytes / 2**20)
