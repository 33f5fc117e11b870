"""The hashes by which a later world is told apart from the one that a plan was made in. It compares nothing."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from gpuplan.model import Fingerprints

if TYPE_CHECKING:
    from gpuplan.model import World
    from gpuplan.spec import Spec

__all__ = ["fingerprints"]


def fingerprints(spec: Spec, world: World) -> Fingerprints:
    """Hashes of all that a plan is made from."""
    files = {path: fact.digest if fact.exists else "" for path, fact in world.files.items()}
    machine = world.machine.model_copy(
        update={"devices": tuple(device.model_copy(update={"used_bytes": 0}) for device in world.machine.devices)}
    )
    offers = [
        offer.model_copy(update={"disk_bytes": None})
        if offer.place == "local"
        else offer  # free disk changes all the time
        for offer in (*world.offers, *(one.stated for one in world.unstated if one.stated is not None))
    ]
    return Fingerprints(
        spec=spec.digest,
        machine=_hash(machine),
        inputs=dict(sorted(files.items())),
        offers=_hash(offers),
        evidence=_hash(sorted(fact.id for fact in world.evidence)),
    )


def _hash(value: object) -> str:
    return hashlib.sha256(TypeAdapter(object).dump_json(value)).hexdigest()[:16]
