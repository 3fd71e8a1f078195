"""Charts of metrics show rates over the measured time, and gaps where nothing was measured."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge

from zmart.ops.chart_drawing import HEIGHT, draw, number, path
from zmart.ops.figure_series import Chart, ChartLine, charts, quantile
from zmart.ops.history import StepCounter
from zmart.ops.recorded_figures import COUNTS, LEVELS, RecordedMetric, present
from zmart.store.figure_history import MINUTE_S, QUARTER_S, FigureRow

_NOW_S = 1_800_000_030


def row(
    at_s: int, counts: dict[str, float] | None = None, seconds: float = 60.0, **levels: float
) -> FigureRow:
    began_at = datetime.fromtimestamp(at_s // MINUTE_S * MINUTE_S, UTC)
    return FigureRow(
        began_at=began_at, service="s", instance="i", seconds=seconds, counts=counts or {}, levels=levels
    )


def line(rows: list[FigureRow], title: str, name: str, step_s: int = MINUTE_S) -> list[float | None]:
    [chart] = [chart for chart in charts(rows, step_s, _NOW_S) if chart.title == title]
    [found] = [line for line in chart.lines if line.name == name]
    return list(found.values)


# ------------------------------------------------------------------------------------------------------ recording


def test_only_the_chosen_samples_are_read_and_what_is_unknown_is_left_out() -> None:
    registry = CollectorRegistry()
    events = Counter("events", "e", ["name"], registry=registry)
    events.labels("A").inc(3)
    events.labels("B").inc(4)
    Gauge("unknown", "u", registry=registry).set(float("nan"))
    chosen = [
        RecordedMetric("all", "events_total"),
        RecordedMetric("some", "events_total", {"name": ("B", "C")}),
        RecordedMetric("none", "events_total", {"name": ("C",)}),
        RecordedMetric("each", "events_total", by="name"),
        RecordedMetric("unknown", "unknown"),
        RecordedMetric("absent", "not_registered"),
    ]
    assert present(chosen, registry) == {"all": 7, "some": 4, "none": 0, "each:A": 3, "each:B": 4}


def test_counts_grow_within_a_step_and_begin_again_with_the_next() -> None:
    counter = StepCounter(60)

    def beat(now_s: float, moment_s: float, total: float, *, stored: bool = True) -> tuple[int, float, float]:
        period = counter.period(now_s, moment_s, {"n": total}, {})
        if stored:
            counter.written(moment_s, {"n": total})
        return period.began_s, round(period.seconds, 3), period.counts["n"]

    counter._since_s = 0.0
    counter._written = 0.0, {}
    assert beat(120, 5.0, 10) == (120, 5.0, 10)
    assert beat(170, 55.0, 30) == (120, 55.0, 30)
    assert beat(185, 70.0, 36) == (180, 15.0, 6)
    assert beat(230, 115.0, 40, stored=False) == (180, 60.0, 10)
    # the growth while nothing could be written is spread over all of that time
    assert beat(600, 485.0, 451) == (600, 415.0, 415)


# ---------------------------------------------------------------------------------------------------------- series


def test_a_rate_is_of_all_processes_over_the_time_that_was_measured() -> None:
    rows = [row(_NOW_S, {"requests": 50}, seconds=10), row(_NOW_S, {"requests": 60}, seconds=30), row(_NOW_S)]
    assert line(rows, "Requests", "requests") == [*[None] * 59, 7.0]


def test_a_level_is_summed_or_the_worst_as_its_meaning_is() -> None:
    rows = [
        row(_NOW_S, connections=3, lag_slots=9, payer_lamports=2e9),
        row(_NOW_S, connections=4, lag_slots=7, payer_lamports=1e9),
    ]
    assert line(rows, "Socket connections", "open")[-1] == 7
    assert line(rows, "Index behind the tip", "lag")[-1] == 9
    assert line(rows, "Fee payer", "balance")[-1] == 1.0


def test_steps_are_in_order_and_older_ones_are_left_out() -> None:
    rows = [row(_NOW_S - ago * 60, inbox=ago) for ago in (75, 59, 1, 0)]
    assert line(rows, "Index queues", "inbox") == [59, *[None] * 57, 1, 0]
    assert len(line(rows, "Index queues", "inbox", QUARTER_S)) == 96


def test_every_line_of_the_charts_is_recorded() -> None:
    """Every line of every chart uses a metric that is recorded: a line without one would stay empty."""
    counts = {metric.name: 6.0 for metric in COUNTS if not metric.by}
    histograms = [metric.name for metric in COUNTS if metric.by]
    buckets = {f"{name}:{bound}": 10.0 for name in histograms for bound in ("0.1", "+Inf")}
    levels = {metric.name: 6.0 for metric in LEVELS}
    drawn = charts([row(_NOW_S, {**counts, **buckets}, **levels)], MINUTE_S, _NOW_S)
    assert [(c.title, each.name) for c in drawn for each in c.lines if each.values[-1] is None] == []
    assert len(drawn) >= 12


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 0.1), (0.25, 0.05), (0.75, 0.6625), (0.95, 1.0), (1.0, 1.0)]
)
def test_a_quantile_is_linear_within_its_bucket(share: float, expected: float) -> None:
    assert quantile(share, {0.1: 50, 1.0: 90, float("inf"): 100}) == pytest.approx(expected)


def test_no_values_have_no_quantile() -> None:
    assert quantile(0.5, {}) is None
    assert quantile(0.5, {0.1: 0, float("inf"): 0}) is None


@given(st.lists(st.integers(0, 50), min_size=2, max_size=6), st.floats(0.01, 1))
def test_quantiles_grow_and_stay_within_the_bounds(sizes: list[int], share: float) -> None:
    upto, total = {}, 0
    for bound, size in enumerate(sizes, start=1):
        total += size
        upto[float(bound)] = total
    value = quantile(share, upto)
    assert value is None if total == 0 else 0 <= value <= len(sizes)
    if value is not None:
        assert value <= quantile(1.0, upto) + 1e-9


# --------------------------------------------------------------------------------------------------------- drawing


def test_a_line_is_interrupted_where_nothing_is_known() -> None:
    assert path([None, 1.0, 2.0, None, 4.0], 4.0).count("M") == 2
    assert path([None, None], 1.0) == ""
    assert f" {HEIGHT - 2.0:.1f}" in path([0.0], 1.0), "zero is the lower edge"


def test_a_chart_says_in_words_what_it_shows() -> None:
    drawn = draw(Chart("Lag", " slots", 60, [ChartLine("lag", [3.0, 41.0, None]), ChartLine("none", [None])]))
    assert drawn.label == "Lag: lag 41 slots, none unknown"
    assert drawn.top == "50 slots"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.01234, "0.0123"), (12.34, "12.3"), (7.0, "7"), (1234567.0, "1\u202f234\u202f567")],
)
def test_numbers_have_three_digits_or_are_whole(value: float, text: str) -> None:
    assert number(value) == text
