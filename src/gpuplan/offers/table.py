"""A user's own table of offers: CSV with any of the usual column names, units in the headers or in the cells.

Columns that it does not know are named once and not read. Nothing is guessed: a price without a known unit, and a
table without a GPU or a price column, are refused.
"""

from __future__ import annotations

import csv
import re
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from gpuplan.errors import UserError
from gpuplan.model import Refused
from gpuplan.offers.base import Quote
from gpuplan.units import GIB, MIB, parse_bandwidth, parse_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from gpuplan.offers.base import Item

__all__ = ["COLUMNS", "Table"]

MOST_ROWS = 50_000
MOST_LINE = 100_000
GB = 10**9
MEGABIT = 125_000
YES, NO = {"yes", "true", "1", "spot", "interruptible", "y"}, {"no", "false", "0", "on-demand", "on_demand", "n"}
COLUMNS: dict[str, tuple[str, ...]] = {
    "gpu": ("gpu", "gpu_name", "gpu_type", "gpu_model", "accelerator", "accelerator_name", "card"),
    "gpu_count": ("gpu_count", "gpus", "num_gpus", "count", "gpus_per_node", "accelerator_count", "n_gpus"),
    "price_usd_per_h": (
        "price_usd_per_h", "price", "usd_per_h", "price_per_hour", "hourly_price", "on_demand", "dph_total", "usd_h",
        "price_per_h", "cost_per_hour", "price_usd",
    ),
    "gpu_price": (
        "price_per_gpu", "usd_per_gpu_h", "price_per_gpu_hour", "per_gpu", "gpu_price", "price_usd_per_gpu_h",
        "price_per_gpu_h", "usd_per_gpu_hour",
    ),
    "spot_price": ("spot_price", "spot_usd_per_h", "spot_price_usd_per_h", "min_bid"),
    "memory": ("gpu_memory", "vram", "gpu_ram", "gpu_mem", "memory_per_gpu", "gpu_memory_bytes"),
    "place": ("place", "provider", "cloud", "market", "cluster", "vendor"),
    "spot": ("spot", "is_spot", "interruptible", "preemptible", "tier"),
    "available": ("available", "stock", "machines", "nodes", "quantity"),
    "reliability": ("reliability", "reliability2", "uptime"),
    "region": ("region", "location", "country", "zone", "geolocation", "datacenter"),
    "vcpus": ("vcpus", "vcpu", "cpus", "cpu", "cores", "cpu_cores"),
    "host_memory_bytes": ("host_memory", "ram", "host_ram", "cpu_ram", "system_memory", "host_memory_bytes"),
    "disk_bytes": ("disk", "disk_space", "disk_size", "storage", "disk_bytes"),
    "download_bytes_per_s": ("download", "inet_down", "bandwidth", "download_speed", "download_bytes_per_s"),
    "upload_bytes_per_s": ("upload", "inet_up", "upload_speed", "upload_bytes_per_s"),
    "upload_usd_per_gb": ("egress", "egress_usd_per_gb", "inet_up_cost", "upload_usd_per_gb"),
    "download_usd_per_gb": ("ingress_usd_per_gb", "inet_down_cost", "download_usd_per_gb"),
    "storage_usd_per_gb_month": ("storage_cost", "storage_usd_per_gb_month"),
    "billing_s": ("billing_s", "billing_seconds"),
    "minimum_s": ("minimum_s", "minimum_seconds"),
    "startup_s": ("startup_s", "startup_seconds"),
    "session_s": ("session_s", "session_seconds"),
    "interruptions_per_h": ("interruptions_per_h",),
    "network_gpus": ("network_gpus", "link", "interconnect"),
    "exclusive_with": ("exclusive_with", "machine_id"),
    "as_of": ("as_of", "date", "price_date", "updated"),
    "notes": ("notes", "note", "comment", "instance", "instance_type", "sku"),
}  # fmt: skip
BY_NAME = {name: field for field, names in COLUMNS.items() for name in names}
SIZES = {"b": 1, "bytes": 1, "mb": MIB, "mib": MIB, "gb": GIB, "gib": GIB}
"""Of a GPU's or a host's memory, where GB stands for GiB as often as not; of a disk, GB is 10^9."""


class Column(NamedTuple):
    """Which field a column is, and how its cells are read."""

    field: str
    read: Callable[[str], Any]


class Table(NamedTuple):
    """The CSV file at `path`. Rows are called by their line, as in `offers.csv:12`."""

    path: Path

    @property
    def name(self) -> str:
        """The file's own."""
        return self.path.name

    def items(self) -> Iterator[Item]:
        """A quote a row, two where it has a spot price too. Raises UserError for a file that is no such table."""
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as lines:
                yield from self._read(lines)
        except UnicodeDecodeError:
            raise UserError(f"{self.path}: not text in UTF-8", hint="export it as CSV, UTF-8") from None
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read: {error.strerror}") from None

    def _read(self, lines: TextIO) -> Iterator[Item]:
        first = lines.readline(MOST_LINE)
        delimiter = max(",;\t|", key=first.count)
        header = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter), [])]
        columns = self._columns(first, header)
        skipped = [name for name, column in zip(header, columns, strict=True) if column is None and name]
        if skipped:
            names = ", ".join(skipped[:10])
            yield self._refused("columns", f"not read: {names}; docs/reference/offers.md lists what is", "source")
        rows = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            for cells in islice(rows, MOST_ROWS):
                yield from self._row(cells, columns, line=rows.line_num + 1)
        except csv.Error as error:
            reason = f"the rest is left out: {error}"
            yield self._refused(f"{self.name}:{rows.line_num + 1}", reason, "source")
            return
        rest = sum(1 for line in lines if line.strip())
        if rest:
            reason = f"{rest:,} more rows left out: {MOST_ROWS:,} are read; put the cheapest first, or filter it"
            yield self._refused(self.name, reason, "source")

    def _columns(self, first: str, header: Sequence[str]) -> list[Column | None]:
        if first.lstrip().startswith(("<", "{", "[", "%PDF")):
            raise UserError(f"{self.path}: not a table but {first.strip()[:20]!r}...", hint="save it as CSV")
        columns = [_column(name) for name in header]
        fields = [column.field for column in columns if column]
        twice = next((field for field in fields if fields.count(field) > 1 and field != "notes"), None)
        if twice:
            named = [name for name, column in zip(header, columns, strict=True) if column and column.field == twice]
            raise UserError(f"{self.path}: {' and '.join(named)} mean the same", hint="rename one of them")
        for field in ("gpu", "gpu_price" if "gpu_price" in fields else "price_usd_per_h"):
            if field not in fields:
                hint = f"a header that is one of {', '.join(COLUMNS[field][:6])}"
                raise UserError(f"{self.path}: no column for {field}: {', '.join(header)[:200]}", hint=hint)
        return columns

    def _row(self, cells: list[str], columns: Sequence[Column | None], *, line: int) -> Iterator[Item]:
        if not any(map(str.strip, cells)):
            return
        where = f"{self.name}:{line}"
        if len(cells) != len(columns):
            yield self._refused(where, f"{len(cells)} cells, but {len(columns)} columns", "bad")
            return
        found: dict[str, Any] = {"id": where, "place": self.path.stem, "gpu_count": 1, "as_of": "", "source": self.name}
        for cell, column in zip(cells, columns, strict=True):
            if column is None or not cell.strip():
                continue
            try:
                found[column.field] = column.read(cell.strip())
            except ValueError as error:
                yield self._refused(where, f"{column.field}: {str(error)[:200]}", "bad")
                return
        yield from _quotes(found)

    def _refused(self, where: str, reason: str, kind: Any) -> Refused:
        return Refused(offer=where, place=self.path.stem, reason=reason, kind=kind)


def _quotes(found: dict[str, Any]) -> Iterator[Quote]:
    """The row on demand (or as its `spot` column says), and once more at its spot price."""
    gpu, memory = found.pop("gpu", ""), found.pop("memory", None)
    each, spot_price = found.pop("gpu_price", None), found.pop("spot_price", None)
    count = found["gpu_count"]
    if "exclusive_with" in found:
        found["exclusive_with"] = f"{found['place']}/{found['exclusive_with']}"
    if "price_usd_per_h" not in found and each is not None and isinstance(count, int):
        found["price_usd_per_h"] = each * count
    if found.get("price_usd_per_h") is not None or spot_price is None:
        yield Quote(gpu, memory, found if spot_price is None else {"spot": False, **found})
    if spot_price is not None:
        yield Quote(gpu, memory, {**found, "id": f"{found['id']}/spot", "price_usd_per_h": spot_price, "spot": True})


def _column(header: str) -> Column | None:
    """`GPU Memory (GB)`, `disk_gb` and `inet_down [Mbit/s]`, with the unit they name."""
    words = re.sub(r"[^a-z0-9]+", "_", re.sub(r"[(\[].*", "", header.lower())).strip("_")
    bracket = re.search(r"[(\[]\s*([^)\]]+?)\s*[)\]]", header.lower())
    unit = bracket[1] if bracket else ""
    field = BY_NAME.get(words)
    if field is None and "_" in words:
        base, _, suffix = words.rpartition("_")
        if suffix in SIZES or suffix in {"mbps", "gbps"}:
            field, unit = BY_NAME.get(base), suffix
    if field is None or not _priced_in_dollars(field, unit):
        return None
    return Column(field, _reader(field, unit or ("b" if words.endswith("_bytes") else "")))


def _priced_in_dollars(field: str, unit: str) -> bool:
    """`Price (EUR)` and `price [USD/month]` are not what they are taken for."""
    return "price" not in field or unit.replace(" ", "") in {
        "", "usd", "$", "usd/h", "$/h", "usd/hr", "$/hr", "usd/hour", "$/hour", "usdperhour", "usd/gpu-h", "$/gpu-h",
        "usd/gpu/h", "$/gpu/h",
    }  # fmt: skip


def _reader(field: str, unit: str) -> Callable[[str], Any]:
    if field in PLAIN_READERS:
        return PLAIN_READERS[field]
    if field in {"memory", "host_memory_bytes", "disk_bytes"}:
        sizes = SIZES | ({"gb": GB, "mb": GB // 1000} if field == "disk_bytes" else {})
        return lambda cell: _size(cell, sizes, unit or "gb")
    if field.endswith("bytes_per_s"):
        return lambda cell: _rate(cell, unit)
    if field == "reliability":
        return lambda cell: _number(cell.rstrip("% ")) / (100 if cell.endswith("%") or unit == "%" else 1)
    return _number


def _number(cell: str) -> float:
    """Dollars or a bare figure; a comma separates thousands, and only thousands."""
    text = re.sub(r"(?i)^\$\s*|\s*(usd|\$|/\s*h(our|r)?)*$", "", cell)
    if "," in text and not re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", text):
        raise ValueError(f"{cell!r} is not a number: a comma separates thousands here")
    try:
        return float(text.replace(",", ""))
    except ValueError:
        raise ValueError(f"{cell!r} is not a number") from None


def _whole(cell: str) -> int:
    number = _number(cell.removesuffix("x"))
    if number != number or number != int(min(max(number, -1e18), 1e18)):  # noqa: PLR0124  NaN is not itself
        raise ValueError(f"{cell!r} is not a whole number")
    return int(number)


def _yes_or_no(cell: str) -> bool:
    if cell.lower() not in YES | NO:
        raise ValueError(f"{cell!r} is neither yes nor no")
    return cell.lower() in YES


def _size(cell: str, sizes: dict[str, int], unit: str) -> int:
    if cell[-1].isalpha():
        return parse_bytes(cell)
    if unit not in sizes:
        raise ValueError(f"unknown unit {unit!r}")
    number = _number(cell) * sizes[unit]
    if not abs(number) < 2**63:
        raise ValueError(f"{cell!r} is not a size")
    return round(number)


def _rate(cell: str, unit: str) -> float:
    """Megabits a second where nothing is said: what every market means by a bare number."""
    if cell[-1].isalpha():
        return parse_bandwidth(cell)
    factors = {"": MEGABIT, "mbps": MEGABIT, "mbit/s": MEGABIT, "mb/s": 10**6, "gbps": 1000 * MEGABIT, "b/s": 1}
    if unit not in factors:
        raise ValueError(f"unknown unit {unit!r}")
    return _number(cell) * factors[unit]


PLAIN_READERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("gpu_count", "available", "vcpus"), _whole),
    **dict.fromkeys(("gpu", "place", "region", "as_of", "notes", "network_gpus", "exclusive_with"), str),
    "spot": _yes_or_no,
}
"""How a cell is read whatever its column's unit."""
