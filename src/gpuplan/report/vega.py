"""The house style of figures as parts of Vega-Lite dicts: size, palette, axes, legends. It holds no data.

3.3 or 6.9 inches wide, one palette that colour-blind readers can tell apart, and never colour alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar

from gpuplan.report.table import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "GREY", "PALETTE", "VEGA_LITE", "Scale", "Spec", "Width", "axis_between", "chart", "colour", "dash", "ends",
    "scale_of", "shape", "thinned",
]  # fmt: skip

Spec: TypeAlias = dict[str, Any]
Width: TypeAlias = Literal["single", "double"]
T = TypeVar("T")

VEGA_LITE = "5.20"
"""The version that figures are written for and drawn with."""
PIXELS: dict[Width, int] = {"single": 317, "double": 662}
"""3.3 and 6.9 inches at 96 dots an inch: one column and two of a paper."""
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito (2008), without its black and yellow: one vanishes on a dark page, the other on a light one."""
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 2], [10, 4])
SHAPES = ("circle", "triangle-up", "square", "diamond", "cross", "triangle-down")
GREY = "#767676"
LOG_FROM = 20.0
"""Values that differ by more than this factor are drawn on logarithmic axes."""
SCALES: dict[str, tuple[tuple[float, str], ...]] = {
    "bytes": ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")),
    "duration": ((3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms")),
}
STYLE: Spec = {
    "font": "sans-serif",
    "aria": False,
    "view": {"stroke": None},
    "axis": {
        "gridColor": "#dddddd", "domainColor": GREY, "tickColor": GREY, "labelFontSize": 10, "titleFontSize": 11,
        "titleFontWeight": "normal", "labelFlush": False, "tickCount": 5,
    },
    "legend": {
        "orient": "bottom", "direction": "vertical", "columns": 2, "title": None, "labelFontSize": 10,
        "labelLimit": 260, "symbolSize": 80, "symbolStrokeWidth": 1.8, "symbolOpacity": 1, "offset": 8,
    },
    "title": {
        "anchor": "start", "fontSize": 12, "fontWeight": "bold", "subtitleFontSize": 10, "subtitleColor": GREY,
        "offset": 10,
    },
}  # fmt: skip


class Scale(NamedTuple):
    """The unit that figures of one kind are drawn in."""

    factor: float
    unit: str


def chart(
    title: str,
    note: str,
    values: list[Spec],
    layers: list[Spec],
    *,
    width: Width,
    height: float,
    legend_entries: int = 0,
) -> Spec:
    """The layers over one set of values, in the house style; `description` is what a screen reader says."""
    heading: Spec = {"text": clean(title), "limit": PIXELS[width]}
    if note:
        heading["subtitle"] = clean(note)
    return {
        "$schema": f"https://vega.github.io/schema/vega-lite/v{VEGA_LITE.partition('.')[0]}.json",
        "description": clean(f"{title}. {note}" if note else title),
        "title": heading,
        "background": "white",
        "width": PIXELS[width],
        "height": height + 14 * math.ceil(legend_entries / 2),
        "autosize": {"type": "fit", "contains": "padding"},
        "data": {"values": values},
        "layer": layers,
        "config": STYLE,
    }


def colour(labels: Sequence[str], *, field: str = "series", colours: Sequence[str] = PALETTE) -> Spec:
    """The colour of each label; a single one needs no legend."""
    return _channel(labels, field, [colours[index % len(colours)] for index in range(len(labels))])


def dash(labels: Sequence[str], *, field: str = "series") -> Spec:
    """The dash pattern that tells lines apart without colour."""
    return _channel(labels, field, [DASHES[index % len(DASHES)] for index in range(len(labels))])


def shape(labels: Sequence[str], *, field: str = "series") -> Spec:
    """The symbol that tells points apart without colour."""
    return _channel(labels, field, [SHAPES[index % len(SHAPES)] for index in range(len(labels))])


def scale_of(kind: Literal["bytes", "duration"], values: Sequence[float]) -> Scale:
    """The largest unit in which the middle value is at least one."""
    middle = sorted(values)[len(values) // 2] if values else 0.0
    fitting = [Scale(*pair) for pair in SCALES[kind] if abs(middle) >= pair[0]]
    return fitting[0] if fitting else Scale(*SCALES[kind][-1])


def ends(values: Sequence[float]) -> list[float]:
    """Where an axis with these values starts and stops, with a little room."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low > 0 and high / low > LOG_FROM:
        return [low / 1.3, high * 1.3]
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return [max(0.0, low - room) if low >= 0 else low - room, high + room]


def axis_between(domain: Sequence[float]) -> Spec:
    """A linear axis over these ends, or a logarithmic one if they are far apart."""
    low, high = domain
    if low <= 0 or high / low <= LOG_FROM:
        return {"type": "quantitative", "scale": {"domain": list(domain), "nice": False, "zero": False}}
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(decades) < 4 else (1,)
    ticks = [factor * 10.0**decade for decade in decades for factor in factors]
    axis = {"values": [tick for tick in ticks if low <= tick <= high], "format": "~g"}
    return {"type": "quantitative", "scale": {"type": "log", "domain": list(domain), "nice": False}, "axis": axis}


def thinned(points: Sequence[T], most: int) -> Sequence[T]:
    """At most so many of them, evenly spaced, the first and the last among them."""
    if len(points) <= most:
        return points
    stride = (len(points) - 1) / (most - 1)
    return [points[round(index * stride)] for index in range(most)]


def _channel(labels: Sequence[str], field: str, values: Sequence[object]) -> Spec:
    scale = {"domain": list(labels), "range": list(values)}
    return {"field": field, "type": "nominal", "scale": scale} | ({"legend": None} if len(labels) < 2 else {})
