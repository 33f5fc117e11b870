"""A Slurm cluster as offers: for each partition and kind of node, its GPUs, limits, share and internal price.

It reads what `scontrol show node`, `scontrol show partition` and `sshare` print, as text or JSON, and submits nothing.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from gpuplan.model import Refused
from gpuplan.offers.base import Quote, UnavailableError
from gpuplan.units import MIB, parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuplan.offers.base import Item

__all__ = ["Cluster", "Slurm", "look"]

TIMEOUT_S = 20.0
GRES = re.compile(r"gpu(?::(?P<type>[^:(,]+))?:(?P<count>\d+)")
DOWN = (
    "DOWN",
    "DRAIN",
    "FAIL",
    "NOT_RESPONDING",
    "INVAL",
    "MAINT",
    "POWERED_DOWN",
    "UNKNOWN",
    "FUTURE",
    "PLANNED_DOWN",
)
UNTYPED = "a GPU without a type in its gres"


class Cluster(NamedTuple):
    """What the commands printed."""

    nodes: str
    partitions: str
    shares: str = ""


class Shape(NamedTuple):
    """What makes nodes of one partition alike."""

    partition: str
    gpu: str
    gpu_count: int
    vcpus: int
    memory_mib: int


class Slurm(NamedTuple):
    """The cluster, and what its billing unit costs for an hour, if anything."""

    cluster: Cluster
    as_of: str
    usd_per_unit: float | None = None
    name: str = "slurm"

    def items(self) -> Iterator[Item]:
        """A quote for each partition and kind of node that has GPUs. Raises UnavailableError for other output."""
        nodes = _records(self.cluster.nodes, "nodes", "NodeName")
        partitions = _records(self.cluster.partitions, "partitions", "PartitionName")
        up = Counter(shape for node in nodes if _is_up(node) for shape in _shapes(node))
        every = Counter(shape for node in nodes for shape in _shapes(node))
        by_name = {row["PartitionName"]: row for row in partitions}
        for shape, count in every.items():
            yield self._item(shape, by_name, nodes=nodes, up=up[shape], down=count - up[shape])
        if not every:
            yield Refused(offer="slurm", place="slurm", reason="no node of the cluster has a GPU", kind="source")

    def _item(
        self,
        shape: Shape,
        partitions: dict[str, dict[str, str]],
        *,
        nodes: Sequence[dict[str, str]],
        up: int,
        down: int,
    ) -> Item:
        row = partitions.get(shape.partition, {})
        if row.get("State", "UP") != "UP":
            up, down = 0, up + down
        units = _units_per_h(row.get("TRESBillingWeights", ""), shape)
        price = None if self.usd_per_unit is None or units is None else self.usd_per_unit * units
        notes = (
            f"{units:g} billing units/h" if units is not None else "",
            f"{down} of {up + down} nodes down" if down else "",
            _share(self.cluster.shares),
        )
        facts = {
            "id": f"slurm/{shape.partition}/{shape.gpu_count}x{shape.gpu}-{shape.vcpus}c",
            "place": "slurm",
            "gpu_count": shape.gpu_count,
            "price_usd_per_h": price,
            "available": up,
            "spot": _is_preempted(row, partitions.values(), nodes),
            "region": shape.partition,
            "vcpus": shape.vcpus or None,
            "host_memory_bytes": shape.memory_mib * MIB or None,
            "session_s": _limit_s(row.get("MaxTime", "")),
            "as_of": self.as_of,
            "source": "scontrol show node, show partition",
            "notes": "; ".join(filter(None, notes)),
        }
        return Quote(shape.gpu, None, facts)


def look() -> Cluster:
    """What this machine's Slurm says of itself. Raises UnavailableError without Slurm, or when it does not answer."""
    if shutil.which("scontrol") is None:
        raise UnavailableError("no Slurm here: scontrol is not on the PATH")
    return Cluster(
        _said("scontrol", "show", "node", "--oneliner"),
        _said("scontrol", "show", "partition", "--oneliner"),
        _said("sshare", "--parsable2", may_fail=True) if shutil.which("sshare") else "",
    )


def _said(*command: str, may_fail: bool = False) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, errors="replace")
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{command[0]} gave no answer within {TIMEOUT_S:g} s") from None
    except OSError as error:
        raise UnavailableError(f"{command[0]} cannot be started: {error.strerror}") from None
    if done.returncode and not may_fail:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UnavailableError(f"{' '.join(command)} failed: {said[:200]}")
    return "" if done.returncode else done.stdout


def _records(text: str, key: str, first: str) -> list[dict[str, str]]:
    """Each node or partition as scontrol's own words, from `--oneliner` text or from JSON."""
    if text.lstrip()[:1] == "{":
        return [_from_json(row, first) for row in _json_rows(text, key)]
    found = [_from_line(line) for line in text.splitlines() if line.startswith(f"{first}=")]
    if not found:
        raise UnavailableError(f"no {first}= in what scontrol printed: {text.strip()[:60]!r}")
    return found


def _json_rows(text: str, key: str) -> list[dict[str, Any]]:
    try:
        rows = json.loads(text).get(key)
    except (ValueError, RecursionError, AttributeError):
        rows = None
    if not isinstance(rows, list):
        raise UnavailableError(f"no list of {key} in scontrol's JSON")
    return [row for row in rows if isinstance(row, dict)]


def _from_line(line: str) -> dict[str, str]:
    """`Name=value` pairs; a value runs to the next ` Name=`."""
    parts = re.split(r"(?:^|\s)([A-Z][A-Za-z0-9_:/]*)=", line)
    return {name: value.strip() for name, value in zip(parts[1::2], parts[2::2], strict=False)}


def _from_json(row: dict[str, Any], first: str) -> dict[str, str]:
    """The few fields that are read, under the names of the text. Later versions nest them."""
    state = row.get("state") or _nested(row, "partition", "state") or ""
    flags = row.get("state_flags") or []
    states = [*(state if isinstance(state, list) else [state]), *(flags if isinstance(flags, list) else [])]
    limit = _nested(row, "maximums", "time") or row.get("max_time_limit")
    tiers = _nested(row, "priority", "tier") or row.get("priority_tier")
    names = row.get("partitions")
    values = {
        first: row.get("name"),
        "State": "+".join(str(one).upper() for one in states if one) or None,
        "Gres": row.get("gres"),
        "CPUTot": row.get("cpus"),
        "RealMemory": row.get("real_memory"),
        "Partitions": ",".join(map(str, names)) if isinstance(names, list) else None,
        "MaxTime": _minutes(limit),
        "PriorityTier": tiers,
        "PreemptMode": "+".join(map(str, row.get("preemption_mode") or [])).upper() or None,
        "TRESBillingWeights": _nested(row, "tres", "billing_weights") or row.get("billing_weights"),
    }
    return {name: str(value) for name, value in values.items() if value not in (None, "")}


def _nested(row: dict[str, Any], *keys: str) -> Any:
    value: Any = row
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _minutes(limit: Any) -> str | None:
    """A limit in minutes, bare or as {set, infinite, number}."""
    if isinstance(limit, dict):
        limit = None if limit.get("infinite") or not limit.get("set") else limit.get("number")
    return f"{limit} min" if isinstance(limit, int) and 0 < limit < 2**31 else None


def _shapes(node: dict[str, str]) -> Iterator[Shape]:
    """One for each partition of a node and each type of GPU in it."""
    for match in GRES.finditer(node.get("Gres", "")):
        for partition in filter(None, node.get("Partitions", "").split(",")):
            yield Shape(
                partition, match["type"] or UNTYPED, int(match["count"]), _int(node, "CPUTot"), _int(node, "RealMemory")
            )


def _int(node: dict[str, str], key: str) -> int:
    return int(node[key]) if node.get(key, "").isdigit() else 0


def _is_up(node: dict[str, str]) -> bool:
    state = node.get("State", "").upper()
    return not any(word in state for word in DOWN) and not state.endswith("*")


def _is_preempted(row: dict[str, str], partitions: Any, nodes: Sequence[dict[str, str]]) -> bool:
    """Its jobs may be stopped, for those of a partition of a higher tier on the same nodes."""
    mode = row.get("PreemptMode", "OFF").upper()
    if not any(word in mode for word in ("REQUEUE", "CANCEL")):
        return False
    beside = {name for node in nodes if (at := node.get("Partitions", "").split(",")) and row.get("PartitionName") in at
              for name in at}  # fmt: skip
    tier = _int(row, "PriorityTier")
    return any(_int(other, "PriorityTier") > tier for other in partitions if other.get("PartitionName") in beside)


def _limit_s(text: str) -> float | None:
    """`1-00:00:00` or `90 min`; UNLIMITED is no limit."""
    try:
        return parse_duration(text)
    except ValueError:
        return None


def _units_per_h(weights: str, shape: Shape) -> float | None:
    """Slurm's sum of billing weights for a whole node, as in `CPU=1.0,Mem=0.25G,GRES/gpu=10`.

    A GPU counts under its type and bare (measured: Slurm 22.05 bills 29 for `CPU=1,GRES/gpu=2,GRES/gpu:l40=5` with one
    CPU and four L40).
    """
    found = dict(part.split("=", 1) for part in weights.split(",") if "=" in part)
    if not found:
        return None
    amounts = {
        "cpu": shape.vcpus,
        "mem": shape.memory_mib,
        "gres/gpu": shape.gpu_count,
        f"gres/gpu:{shape.gpu.lower()}": shape.gpu_count,
        "node": 1,
    }
    return sum(_weight(weight) * amounts.get(name.strip().lower(), 0) for name, weight in found.items())


def _weight(text: str) -> float:
    """A suffix says of how many MiB it is the weight."""
    scale = {"K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}.get(text[-1:].upper())
    number = text[:-1] if scale else text
    return float(number) / (scale or 1.0) if re.fullmatch(r"\d+(\.\d+)?", number) else 0.0


def _share(shares: str) -> str:
    """The user's own FairShare factor, 0 to 1, from `sshare --parsable2`."""
    lines = [line.split("|") for line in shares.splitlines()]
    if len(lines) < 2 or "FairShare" not in lines[0] or "User" not in lines[0]:
        return ""
    user, factor = lines[0].index("User"), lines[0].index("FairShare")
    own = next((line for line in lines[1:] if len(line) > max(user, factor) and line[user].strip()), None)
    return f"fair-share {own[factor]}" if own and own[factor].strip() else ""
