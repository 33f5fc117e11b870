"""Makes src/gpuplan/data/offers.csv from a folder of dated price tables: facts, each row with source and date.

    python benchmarks/make_offers.py ../shared/catalog [--check]

It takes no row whose GPU gpuplan does not know, none of an older list where a newer one has the same machine, and none
of the rows that are known to be wrong (WRONG). What it leaves out is printed. `--check` only says whether the file is
as it would be made.
"""

from __future__ import annotations

import csv
import io
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gpuplan.offers.name import Unknown, identify
from gpuplan.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

OUTPUT = Path(__file__).parents[1] / "src" / "gpuplan" / "data" / "offers.csv"
HEADER = """\
# Prices of machines with GPUs, in US dollars for an hour of the whole machine, as public lists stated them.
# as_of is the date of the list; empty: the list is undated. Remade by benchmarks/make_offers.py; do not edit.
"""
LISTED = "sooddvs/gpu-pricing@2d9dd3a gpu_pricing_raw.csv"
CRAWLED = "skypilot-org/skypilot-catalog"
AGGREGATED = "tugot17/gpu-price-tracker@718a831"
OLD_LIST = "the-full-stack/website@2bddc6d docs/cloud-gpus/cloud-gpus.csv"
ANSWER = "a trimmed answer of Lambda's API in a public test (find_string id 58611193285)"
PLACES = {
    "AWS EC2": "aws", "AWS SageMaker": "sagemaker", "Azure": "azure", "GCP": "gcp", "OCI": "oci", "RunPod": "runpod",
    "Vultr": "vultr", "AWS": "aws", "verda(datacrunch)": "verda", "runpod secure": "runpod", "lambdalabs": "lambda",
    "datacrunch": "verda",
}  # fmt: skip
GPU_PART = "price of the GPU part alone: vCPUs and memory come on top"
WRONG = {
    ("OCI", "B111454", "on_demand"): "a sixth of the other OCI prices of this GPU: another meter",
    ("RunPod", "NVIDIA H200 NVL", "community"): "0.50 USD is a stand-in, as the list itself notes",
}
"""By provider, SKU and tier."""
RUNPOD_COUNTS = (1, 2, 4, 8)
"""RunPod prices single GPUs; the aggregated market lists its secure cloud with every number up to 8."""
ALSO = (
    ("runpod", "secure", "A100 PCIe 80GB", 1.59, None, 1, "RunPod pricing page", "2026-10"),
    ("runpod", "secure", "H100 SXM 80GB", 3.49, None, 1, "RunPod pricing page", "2026-10"),
    ("runpod", "secure", "H200 SXM 141GB", 4.59, None, 1, "RunPod pricing page", "2026-10"),
    ("runpod", "secure", "B200 SXM", 6.79, None, 1, "RunPod pricing page", "2026-10"),
    ("runpod", "community", "RTX 4090", 0.34, None, 1, "a page on RunPod prices", "2026-03"),
    ("lambda", "", "A100 SXM 80GB", 1.79, None, 8, "Lambda prices in tugot17/gpu-price-tracker@718a831", "2025-11-16"),
    ("lambda", "", "H100 SXM 80GB", 2.99, None, 8, "Lambda prices in tugot17/gpu-price-tracker@718a831", "2025-11-16"),
    ("lambda", "", "B200 SXM", 4.99, None, 8, "Lambda prices in tugot17/gpu-price-tracker@718a831", "2025-11-16"),
    ("coreweave", "", "H100 SXM 80GB", 49.24 / 8, 19.71 / 8, 8, "coreweave.com/pricing", "2026-09-20"),
    ("coreweave", "", "B200 SXM", 68.80 / 8, 34.11 / 8, 8, "coreweave.com/pricing", "2026-09-20"),
)
"""Facts read in pages: place, tier, GPU, per GPU-hour, spot, GPUs, source, date."""


class Row(NamedTuple):
    """One line of the table, and under which name the list has the GPU."""

    place: str
    stated_gpu: str
    memory_bytes: float | None
    gpu_count: int
    price_usd_per_h: float
    region: str
    kind: str
    as_of: str
    source: str
    notes: str = ""
    spot: bool = False


def main() -> None:
    """Write the table, or compare it."""
    arguments = [word for word in sys.argv[1:] if word != "--check"]
    catalog = Path(arguments[0]) if arguments else Path("../shared/catalog")
    text = table(catalog)
    if "--check" in sys.argv:
        sys.exit(0 if OUTPUT.read_text("utf-8") == text else f"{OUTPUT} is not as {catalog} makes it")
    OUTPUT.write_text(text, "utf-8")


def table(catalog: Path) -> str:
    """The file's text."""
    output = io.StringIO(newline="")
    output.write(HEADER)
    writer = csv.writer(output, lineterminator="\n")
    fields = ("id", "place", "gpu", "gpu_count", "price_usd_per_h", "spot", "region", "as_of", "source", "notes")
    writer.writerow(fields)
    unknown: Counter[str] = Counter()
    seen: dict[str, Row] = {}
    for row in newest(catalog):
        found = identify(row.stated_gpu, row.memory_bytes, count=row.gpu_count)
        if isinstance(found, Unknown):
            unknown[f"{row.place}: {found.reason}"] += 1
            continue
        kind = row.kind or found.gpu.name.replace(" ", "-")
        name = "/".join(filter(None, (row.place, kind, f"x{row.gpu_count}", row.region, "spot" if row.spot else "")))
        if name in seen:
            unknown[f"{row.place}: there twice"] += 1
            continue
        seen[name] = row
        notes = "; ".join(filter(None, (row.notes, found.note)))
        writer.writerow(
            (name, row.place, found.gpu.name, row.gpu_count, f"{row.price_usd_per_h:.6g}", "yes" if row.spot else "no",
             row.region, row.as_of, row.source, notes)
        )  # fmt: skip
    for reason, count in sorted(unknown.items()):
        print(f"left out {count:3}  {reason}")
    print(f"{len(seen)} rows")
    return output.getvalue()


def newest(catalog: Path) -> Iterator[Row]:
    """Every list, the newest first; a list gives nothing of a place and GPU that a newer one has."""
    taken: set[tuple[str, str]] = set()
    for read in (also, lambda_list, list_prices, aggregated, crawled, old_list):
        rows = list(read(catalog))
        keyed = [((row.place, _gpu(row)), row) for row in rows]
        yield from (row for key, row in keyed if key not in taken)
        taken |= {key for key, _ in keyed}


def _gpu(row: Row) -> str:
    found = identify(row.stated_gpu, row.memory_bytes, count=row.gpu_count)
    tier = row.kind if row.place == "runpod" else ""
    return f"{row.stated_gpu if isinstance(found, Unknown) else found.gpu.name}{tier}"


def also(_catalog: Path) -> Iterator[Row]:
    """What was read in pages."""
    for place, tier, gpu, price, spot, count, source, date in ALSO:
        counts = RUNPOD_COUNTS if tier == "secure" else (count,)
        for number in counts:
            yield Row(place, gpu, None, number, price * number, "", _kind(tier, gpu), date, source)
            if spot:
                yield Row(place, gpu, None, number, spot * number, "", "", date, source, spot=True)


def lambda_list(catalog: Path) -> Iterator[Row]:
    """Lambda's own answer of one day; which regions had capacity then is not kept, but the region is."""
    names = {"a100": "A100 PCIe 40GB", "a100_sxm4": "A100 SXM 40GB", "a6000": "RTX A6000"}
    for row in read(catalog, "lambda_2026-07-30.csv"):
        count, _, gpu = row["instance_type"].removeprefix("gpu_").partition("x_")
        name = "A100 SXM 40GB" if row["instance_type"] == "gpu_8x_a100" else names.get(gpu, gpu)
        yield Row(
            "lambda", name, None, int(count), float(row["usd_per_h"]), "", row["instance_type"], row["date"], ANSWER
        )


def list_prices(catalog: Path) -> Iterator[Row]:
    """List prices of clouds, stated for one GPU-hour."""
    for row in read(catalog, "list_prices_2026-06-15.csv"):
        place = PLACES[row["provider"]]
        if reason := WRONG.get((row["provider"], row["sku"], row["tier"])):
            print(f"left out   1  {place}: {row['sku']}: {reason}")
            continue
        name = row["sku"] if place == "runpod" else _form(row["gpu"], row["sku"])
        tier = {"on_demand": "secure", "community": "community"}.get(row["tier"], "") if place == "runpod" else ""
        counts = RUNPOD_COUNTS if tier == "secure" else (int(row["gpu_count"] or 1),)
        kind = _kind(tier, name) if tier else _sku(place, row["sku"])
        notes = GPU_PART if place == "gcp" else ""
        for count in counts:
            price, region = float(row["usd_per_gpu_h"]) * count, row["region"].replace("global", "")
            yield Row(
                place, name, None, count, price, region, kind, row["date"], LISTED, notes, spot=row["tier"] == "spot"
            )


def _kind(tier: str, gpu: str) -> str:
    found = identify(gpu, None)
    name = gpu if isinstance(found, Unknown) else found.gpu.name
    return f"{tier}-{name.replace(' ', '-')}" if tier else ""


def _sku(place: str, sku: str) -> str:
    """An instance type stands for itself; a sentence does not."""
    return "" if place == "gcp" else sku


def _form(gpu: str, sku: str) -> str:
    """Azure's NC machines hold PCIe cards."""
    return gpu.replace("A100 ", "A100 PCIe ") if sku.startswith("Standard_NC") else gpu


def aggregated(catalog: Path) -> Iterator[Row]:
    """The cheapest offer of each number of GPUs in an aggregated market, of places that no other list has."""
    for row in read(catalog, "primeintellect_by_config_2025-11-16.csv"):
        place = PLACES.get(row["best_provider"], row["best_provider"])
        if place in {"runpod", "verda", "hyperstack"}:
            continue
        count = int(row["config"].removesuffix("x"))
        name, price = f"{row['gpu']} {row['socket']}".strip(), float(row["min_usd_per_gpu_h"]) * count
        date, spot = row["timestamp"][:10], row["best_is_spot"] == "True"
        yield Row(place, name, None, count, price, row["best_location"], "", date, AGGREGATED, spot=spot)


def crawled(catalog: Path) -> Iterator[Row]:
    """SkyPilot's catalogue: no date in it (its format is of autumn 2025 or later)."""
    for row in read(catalog, "skypilot_catalog_excerpt.csv"):
        memory = float(row["gpu_mem_mib_each"] or 0) * MIB or None
        source = f"{CRAWLED}@{row['commit']} {row['catalog']}"
        region = "" if row["region"] in {"all", "all regions"} else row["region"]
        for key, spot in (("usd_per_h_instance", False), ("spot_usd_per_h_instance", True)):
            if float(row[key] or 0):
                place, count = PLACES.get(row["provider"], row["provider"]), int(row["gpu_count"])
                yield Row(place, row["gpu"], memory, count, float(row[key]), region, "", "", source, spot=spot)


def old_list(catalog: Path) -> Iterator[Row]:
    """Machines with T4, V100 and A10G, of which nothing newer is at hand."""
    for row in read(catalog, "fullstack_cloud_gpus_2025-03-07.csv"):
        if row["Cloud"] not in {"AWS", "Azure", "GCP"} or row["GPU Type"].split()[0] not in {"T4", "V100", "A10G"}:
            continue
        count, memory = int(row["GPUs"]), float(row["GPU RAM"]) / int(row["GPUs"]) * GIB
        for key, spot in (("On-demand", False), ("Spot", True)):
            if row[key]:
                place, kind = row["Cloud"].lower(), row["Name"].replace(" ", "-")
                if place == "gcp":
                    kind += f"-{row['GPU Type'].split()[0]}"
                price = float(row[key])
                yield Row(place, row["GPU Type"], memory, count, price, "", kind, "2025-03-07", OLD_LIST, spot=spot)


def read(catalog: Path, name: str) -> Iterator[dict[str, str]]:
    """The rows of one table."""
    with (catalog / name).open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)


if __name__ == "__main__":
    main()
