"""Libraries that a document installs, against the GPUs that it names and against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuplan.data import find_gpu
from gpuplan.model import Finding
from gpuplan.verify.claims.labels import devices
from gpuplan.verify.pins import kernel_clashes, pair_clashes
from gpuplan.verify.requirements import requirements_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuplan.verify.claims.passages import Passage
    from gpuplan.verify.requirements import Requirement

__all__ = ["library_versions"]


def library_versions(text: str, passages: Sequence[Passage], name: str) -> Iterator[Finding]:
    """`pip install` lines with a torch that has no kernels for a GPU of the document, or with another's companions."""
    lines: dict[str, list[Requirement]] = {}
    for one in requirements_in(text, name) if "pip" in text else ():
        place = one.place.removesuffix(":1")
        lines.setdefault(place, []).append(one._replace(place=place))
    capabilities = _capabilities(passages) if lines else {}
    for asked in lines.values():
        kernels = list(kernel_clashes(asked, capabilities))
        for clash in (*kernels, *pair_clashes(asked)):
            is_all = clash not in kernels or len(kernels) == len(capabilities)
            yield Finding(
                severity="error" if is_all else "warning",
                check="claim-library",
                message=clash.message,
                place=clash.place,
                because=clash.because,
                fix=clash.fix,
            )


def _capabilities(passages: Sequence[Passage]) -> dict[str, float]:
    """Of the GPUs that are named, by their names."""
    named = dict.fromkeys(device for part in passages for device in devices(part.text))
    gpus = {name: find_gpu(name) for name in named}
    return {name: float(gpu.compute_capability) for name, gpu in gpus.items() if gpu and gpu.compute_capability}
