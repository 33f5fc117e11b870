"""Every figure once, as a Vega-Lite dict: the same for page, paper and notebook. Nothing is fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from gpuplan.errors import MissingError
from gpuplan.report.table import clean, show
from gpuplan.report.vega import (
    GREY,
    PALETTE,
    VEGA_LITE,
    axis_between,
    chart,
    colour,
    dash,
    ends,
    scale_of,
    shape,
    thinned,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuplan.report.curves import Bands
    from gpuplan.report.vega import Scale, Spec, Width

__all__ = ["INSTALL", "Bar", "Compared", "Speed", "compared", "curve", "durations", "render_svg", "speedup"]

INSTALL = "pip install 'gpuplan[report]'"
MOST_MARKS = 2_000
MOST_BARS = 24


class Compared(NamedTuple):
    """One run's prediction with its 80 % interval, and what was measured."""

    p10: float
    p50: float
    p90: float
    measured: float


class Speed(NamedTuple):
    """Speed-ups at one number of ranks against the smallest; None where a figure is missing."""

    ranks: int
    apparent: float | None
    true: float | None
    ideal: float


class Bar(NamedTuple):
    """The mean duration of one configuration, and the interval that had been predicted."""

    label: str
    seconds: float
    p10: float | None = None
    p90: float | None = None


def curve(title: str, metric: str, bands: Bands, *, width: Width = "single") -> Spec:
    """A metric over the steps: a line for each configuration, a band over its seeds."""
    values = [
        {"x": band.step, "y": band.mean, "low": band.low, "high": band.high, "series": label}
        for label, line in bands.lines.items()
        for band in thinned(line, MOST_MARKS)
    ]
    labels = list(bands.lines)
    x = {"field": "x", "type": "quantitative", "title": bands.step, "scale": {"zero": False, "nice": False}}
    y = {"type": "quantitative", "title": clean(metric), "scale": {"zero": False}}
    legend = {"legend": {"symbolType": "stroke", "symbolSize": 350}} if len(labels) > 1 else {}
    shared = {"x": x, "color": colour(labels) | legend}
    area = {
        "mark": {"type": "area", "opacity": 0.18},
        "encoding": shared | {"y": y | {"field": "low"}, "y2": {"field": "high"}},
    }
    line = {
        "mark": {"type": "line", "strokeWidth": 1.6, "point": all(len(one) < 3 for one in bands.lines.values())},
        "encoding": shared | {"y": y | {"field": "y"}, "strokeDash": dash(labels) | legend},
    }
    has_band = any(value["low"] != value["high"] for value in values)
    return chart(
        title,
        bands.note,
        values,
        [area, line] if has_band else [line],
        width=width,
        height=220,
        legend_entries=len(labels),
    )


def compared(
    title: str, points: Sequence[Compared], *, kind: Literal["bytes", "duration"], width: Width = "single"
) -> Spec:
    """Predicted against measured with the 80 % interval; on the dashed diagonal the prediction was right."""
    scale = scale_of(kind, [point.measured for point in points])
    values = [_compared_value(point, scale) for point in thinned(points, MOST_MARKS)]
    domain = ends([value[key] for value in values for key in ("measured", "low", "high")])
    axis = axis_between(domain)
    x = axis | {"field": "measured", "title": f"measured ({scale.unit})"}
    y = axis | {"field": "predicted", "title": f"predicted ({scale.unit})"}
    labels = ["inside the interval", "outside"]
    for value in values:
        value["inside"] = labels[not value["low"] <= value["measured"] <= value["high"]]
    hue = colour(labels, field="inside")
    diagonal = {
        "data": {"values": [{"measured": end, "predicted": end} for end in domain]},
        "mark": {"type": "line", "color": GREY, "strokeDash": [4, 3], "strokeWidth": 1},
        "encoding": {"x": x, "y": y},
    }
    interval = {
        "mark": {"type": "rule", "strokeWidth": 1.2, "opacity": 0.7},
        "encoding": {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}, "color": hue},
    }
    dot = {
        "mark": {"type": "point", "filled": True, "size": 45, "opacity": 0.9},
        "encoding": {"x": x, "y": y, "color": hue, "shape": shape(labels, field="inside")},
    }
    note = "bars: 80 % interval; dashed line: predicted = measured"
    return chart(title, note, values, [diagonal, interval, dot], width=width, height=290, legend_entries=2)


def speedup(title: str, points: Sequence[Speed], *, width: Width = "single") -> Spec:
    """Speed-up against ranks: what the epoch times say, what the samples per second say, and the ideal."""
    labels = ["true (samples per second)", "apparent (epoch time)", "ideal"]
    values = [value for point in points for value in _speed_values(point, labels)]
    ticks = {"values": sorted({point.ranks for point in points}), "format": "d"}
    room = {"domain": ends([float(point.ranks) for point in points]), "nice": False, "zero": False}
    encoding = {
        "x": {"field": "ranks", "type": "quantitative", "title": "ranks", "axis": ticks, "scale": room},
        "y": {"field": "speedup", "type": "quantitative", "title": "speed-up"},
        "color": colour(labels, field="kind", colours=(PALETTE[0], PALETTE[1], GREY)),
    }
    line = {
        "mark": {"type": "line", "strokeWidth": 1.6},
        "encoding": encoding | {"strokeDash": dash(labels, field="kind")},
    }
    dot = {
        "transform": [{"filter": f"datum.kind !== '{labels[-1]}'"}],
        "mark": {"type": "point", "filled": True, "size": 45},
        "encoding": encoding | {"shape": shape(labels, field="kind")},
    }
    text = {"mark": {"type": "text", "dy": -9, "fontSize": 10}, "encoding": encoding | {"text": {"field": "text"}}}
    return chart(title, "", values, [line, dot, text], width=width, height=240, legend_entries=3)


def durations(title: str, bars: Sequence[Bar], *, width: Width = "single") -> Spec:
    """How long each configuration ran, the longest first, over the interval that had been predicted."""
    longest = sorted(bars, key=lambda bar: -bar.seconds)[:MOST_BARS]
    scale = scale_of("duration", [bar.seconds for bar in longest])
    values = [_bar_value(bar, scale) for bar in longest]
    has_predictions = any(value["low"] is not None for value in values)
    labels = ["measured", "predicted, 80 % interval"] if has_predictions else ["measured"]
    y = {"field": "label", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 130, "grid": False}}
    x = {"type": "quantitative", "title": f"duration ({scale.unit})"}
    hues = colour(labels, colours=(PALETTE[0], PALETTE[1]))
    bar = {
        "mark": {"type": "bar", "height": {"band": 0.55}},
        "encoding": {"x": x | {"field": "duration"}, "y": y, "color": hues | {"field": "measured_is"}},
    }
    predicted = {
        "transform": [{"filter": "datum.low !== null"}],
        "mark": {"type": "rule", "strokeWidth": 3},
        "encoding": {
            "x": x | {"field": "low"},
            "x2": {"field": "high"},
            "y": y,
            "color": hues | {"field": "predicted_is"},
        },
    }
    layers: list[Spec] = [bar, predicted] if has_predictions else [bar]
    left_out = len(bars) - len(longest)
    note = f"the {len(longest)} longest of {len(bars):,}" if left_out else ""
    return chart(title, note, values, layers, width=width, height=90 + 20 * len(values), legend_entries=len(labels))


def render_svg(spec: Spec) -> str:
    """The figure as SVG, drawn on this machine. Raises MissingError with the command that installs what draws it."""
    try:
        import vl_convert  # noqa: PLC0415  an extra
    except ImportError:
        raise MissingError("figures are drawn by vl-convert, which is not installed", hint=INSTALL) from None
    svg: str = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE, allowed_base_urls=[], show_warnings=True)
    return svg


def _compared_value(point: Compared, scale: Scale) -> Spec:
    figures = {"measured": point.measured, "predicted": point.p50, "low": point.p10, "high": point.p90}
    return {name: figure / scale.factor for name, figure in figures.items()}


def _speed_values(point: Speed, labels: Sequence[str]) -> list[Spec]:
    """What is drawn at one number of ranks; the base and the ideal line say nothing that needs a figure."""
    kinds = zip(labels, (point.true, point.apparent, point.ideal), strict=True)
    return [
        {
            "ranks": point.ranks,
            "speedup": value,
            "kind": kind,
            "text": show(value, "ratio") if kind != labels[-1] and point.ideal > 1 else "",
        }
        for kind, value in kinds
        if value is not None
    ]


def _bar_value(bar: Bar, scale: Scale) -> Spec:
    return {
        "label": clean(bar.label),
        "duration": bar.seconds / scale.factor,
        "low": bar.p10 / scale.factor if bar.p10 is not None else None,
        "high": bar.p90 / scale.factor if bar.p90 is not None else None,
        "measured_is": "measured",
        "predicted_is": "predicted, 80 % interval",
    }
