"""The report of a soak as one HTML page without scripts or other files: the verdicts, and a plot of each figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from kit.soak.day import Day
from kit.soak.verdicts import Verdict

_WIDTH, _HEIGHT = 720, 180
_COLOURS = (
    "#1f77b4",
    "#d62728",
    "#2ca02c",
    "#9467bd",
    "#8c564b",
    "#e377c2",
    "#7f7f7f",
    "#bcbd22",
    "#17becf",
    "#ff7f0e",
)
_STYLE = (
    "body{font:15px/1.5 system-ui;max-width:760px;margin:2rem auto;padding:0 1rem}table{border-collapse:collapse}"
    "td{padding:.2rem .8rem .2rem 0;vertical-align:top}.no{color:#b00020;font-weight:600}svg{width:100%;height:auto}"
    "svg text{font:11px system-ui}"
)

Series = Mapping[str, Sequence[tuple[float, float]]]


def render(title: str, day: Day, verdicts: Sequence[Verdict]) -> str:
    """Return the whole page as HTML."""
    plots = {
        "Memory by process, MiB": _by_name(day, "memory_mib"),
        "Open handles by process": _by_name(day, "handles"),
        "Log bytes": {"all logs": [(figures.at_s, figures.log_bytes) for figures in day.figures]},
        "Rows of tables of what is under way": _rows(
            day, ("inbox", "service_status", "unconfirmed_transactions")
        ),
        "Rows of the history": _rows(day, ("chain_events", "trades", "feed_changes", "markets")),
        "Ticks": _by_name(day, "ticks"),
    }
    failed = "".join(
        f"<li>{probe.at_s:.0f} s: {escape(probe.service)} {escape(probe.path)}: {escape(probe.why)}</li>"
        for probe in day.probes
        if probe.why
    )
    body = "".join(f"<h2>{escape(name)}</h2>{plot(series)}" for name, series in plots.items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f"<h1>{escape(title)}</h1>{_table(verdicts)}{body}"
        f"<h2>Failed probes</h2><ul>{failed or '<li>none</li>'}</ul></html>"
    )


def _table(verdicts: Sequence[Verdict]) -> str:
    rows = "".join(
        f"<tr><td>{'holds' if verdict.holds else '<span class=no>FAILS</span>'}</td>"
        f"<td>{escape(verdict.promise)}</td><td>{escape(verdict.figures)}</td></tr>"
        for verdict in verdicts
    )
    return f"<table>{rows}</table>"


def _by_name(day: Day, field: str) -> Series:
    names = sorted({name for figures in day.figures for name in getattr(figures, field)})
    return {
        name: [(f.at_s, getattr(f, field)[name]) for f in day.figures if name in getattr(f, field)]
        for name in names
    }


def _rows(day: Day, tables: Sequence[str]) -> Series:
    return {table: [(f.at_s, f.rows[table]) for f in day.figures if table in f.rows] for table in tables}


def plot(series: Series) -> str:
    """Return a plot of the series over time as SVG, with the largest value, and a legend with the last values."""
    points = [point for line in series.values() for point in line]
    if not points:
        return "<p>No figures.</p>"
    last, highest = max(x for x, _ in points) or 1, max(y for _, y in points) or 1
    lines, legend = "", ""
    for number, (name, line) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{x / last * _WIDTH:.1f},{_HEIGHT - y / highest * _HEIGHT:.1f}" for x, y in line)
        lines += f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{path}"/>'
        legend += f'<span style="color:{colour}">{escape(name)} ({line[-1][1]:,.0f})</span> ' if line else ""
    return (
        f'<svg viewBox="0 -14 {_WIDTH} {_HEIGHT + 18}" role="img"><text x="0" y="-3">{highest:,.0f}</text>{lines}'
        f"</svg><p>{legend}</p>"
    )
