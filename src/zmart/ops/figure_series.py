"""Turn the stored figures of all processes into the charts of the dashboard."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from zmart.ops.recorded_figures import LATENESS_SECONDS, REQUEST_SECONDS, WRITE_SECONDS
from zmart.store.figure_history import MINUTE_S, QUARTER_S, FigureRow

SPANS_S = {MINUTE_S: 3_600, QUARTER_S: 86_400}
"""Seconds that a chart shows, by its step: the last hour in minutes, the last day in quarters of an hour."""

Values = Sequence[float | None]
StepRows = Sequence[FigureRow]


class ChartLine(msgspec.Struct, frozen=True):
    """One line of a chart: a value for each step, the oldest first; None where nothing is known."""

    name: str
    values: Values


class Chart(msgspec.Struct, frozen=True):
    """A chart. `unit` is written after its values; `step_s` is the time in seconds between two values."""

    title: str
    unit: str
    step_s: int
    lines: Sequence[ChartLine]


def charts(rows: Sequence[FigureRow], step_s: int, now_s: float) -> list[Chart]:
    """Return all charts of the span of `step_s` that ends now; `now_s` is Unix time in seconds."""
    steps = _steps(rows, step_s, now_s)

    def chart(title: str, unit: str, lines: Mapping[str, Callable[[StepRows], float | None]]) -> Chart:
        return Chart(
            title, unit, step_s, [ChartLine(n, [at(rows) for rows in steps]) for n, at in lines.items()]
        )

    return [
        chart(
            "Events indexed",
            "/min",
            {"events": _rate("events", 60), "decode errors": _rate("decode_errors", 60)},
        ),
        chart("Index behind the tip", " slots", {"lag": _level("lag_slots", max)}),
        chart("Requests", "/s", {"requests": _rate("requests"), "5xx": _rate("server_errors")}),
        chart("Response times", " ms", _percentiles(REQUEST_SECONDS, 1_000)),
        chart("Writing a batch of events", " ms", _percentiles(WRITE_SECONDS, 1_000)),
        chart("Socket connections", "", {"open": _level("connections", sum)}),
        chart("Messages to sockets", "/s", {"messages": _rate("messages")}),
        chart(
            "New connections",
            "/min",
            {"all": _rate("connected", 60), "reconnections": _rate("reconnected", 60)},
        ),
        chart(
            "Votes",
            "/min",
            {
                "accepted here": _rate("votes_accepted", 60),
                "on chain": _rate("votes_onchain", 60),
                "aggregated": _rate("votes_aggregated", 60),
            },
        ),
        chart(
            "Ticks",
            "/min",
            {"aggregator": _rate("ticks_aggregator", 60), "monitor": _rate("ticks_monitor", 60)},
        ),
        chart(
            "Decisions",
            "/min",
            {"transactions landed": _rate("effects", 60), "failed": _rate("failed_decisions", 60)},
        ),
        chart("Markets finalized", "/min", {"finalized": _rate("finalized", 60)}),
        chart("Finalization after it was due", " s", _percentiles(LATENESS_SECONDS, 1)),
        chart("Threshold accuracy, 30 days", " %", {"as counted": _accuracy}),
        chart("Fee payer", " SOL", {"balance": _scaled(_level("payer_lamports", min), 1e-9)}),
        chart(
            "Snapshots",
            "/min",
            {
                "built": _rate("snapshots_built", 60),
                "verified": _rate("snapshots_verified", 60),
                "failed": _rate("snapshots_failed", 60),
            },
        ),
        chart("IPFS storage", " MB", {"pinned": _scaled(_level("storage_bytes", max), 1e-6)}),
        chart(
            "Index queues",
            "",
            {
                "inbox": _level("inbox", max),
                "unconfirmed": _level("unconfirmed", max),
                "dead letters": _level("dead_letters", max),
            },
        ),
        chart(
            "Work queues",
            "",
            {
                "pending votes": _level("pending_votes", max),
                "due markets": _level("due_markets", max),
                "pins not verified": _level("pins_open", max),
                "documents to fetch": _level("documents_waiting", max),
            },
        ),
    ]


def _steps(rows: Sequence[FigureRow], step_s: int, now_s: float) -> list[list[FigureRow]]:
    """Return the rows of each step of the span, the present step last."""
    number = SPANS_S[step_s] // step_s
    first_s = (int(now_s // step_s) - number + 1) * step_s
    steps: list[list[FigureRow]] = [[] for _ in range(number)]
    for row in rows:
        index = int(row.began_at.timestamp() - first_s) // step_s
        if 0 <= index < number:
            steps[index].append(row)
    return steps


def _rate(name: str, per_s: float = 1.0) -> Callable[[StepRows], float | None]:
    """Return a function that computes a counter's growth in `per_s` seconds, summed over all processes."""

    def at(rows: StepRows) -> float | None:
        rates = [row.counts[name] / row.seconds for row in rows if name in row.counts]
        return sum(rates) * per_s if rates else None

    return at


def _level(name: str, together: Callable[[Iterable[float]], float]) -> Callable[[StepRows], float | None]:
    """Return a function that combines a gauge's values of all processes with `together` (sum, max or min)."""

    def at(rows: StepRows) -> float | None:
        levels = [row.levels[name] for row in rows if name in row.levels]
        return together(levels) if levels else None

    return at


def _scaled(figure: Callable[[StepRows], float | None], factor: float) -> Callable[[StepRows], float | None]:
    def at(rows: StepRows) -> float | None:
        value = figure(rows)
        return None if value is None else value * factor

    return at


def _accuracy(rows: StepRows) -> float | None:
    """Return the percentage of decisions whose outcome agrees with the counted votes; None if nothing was decided."""
    correct, wrong = _level("decisions_correct", max)(rows), _level("decisions_wrong", max)(rows)
    if correct is None or wrong is None or not correct + wrong:
        return None
    return 100 * correct / (correct + wrong)


def _percentiles(histogram: str, factor: float) -> dict[str, Callable[[StepRows], float | None]]:
    """Return functions that compute the 50th, 95th and 99th percentile of a histogram of seconds, times `factor`."""
    return {f"p{q}": _scaled(_percentile(histogram, q / 100), factor) for q in (50, 95, 99)}


def _percentile(histogram: str, share: float) -> Callable[[StepRows], float | None]:
    prefix = f"{histogram}:"

    def at(rows: StepRows) -> float | None:
        upto: dict[float, float] = {}
        for row in rows:
            for name, count in row.counts.items():
                if name.startswith(prefix):
                    bound_s = float(name.removeprefix(prefix))
                    upto[bound_s] = upto.get(bound_s, 0.0) + count
        return quantile(share, upto)

    return at


def quantile(share: float, upto: Mapping[float, float]) -> float | None:
    """Return a quantile of a histogram; None if it has no values. `share` is between 0 and 1.

    `upto` maps each upper bound of a bucket to the number of values at most that bound. The quantile is interpolated
    linearly within a bucket, as by Prometheus' histogram_quantile. If it lies in the bucket without an upper bound, the
    largest finite bound is returned.
    """
    bounds = sorted(upto)
    total = upto[bounds[-1]] if bounds else 0
    if not total:
        return None
    below_s, below = 0.0, 0.0
    for bound_s in bounds:
        if upto[bound_s] >= share * total:
            if math.isinf(bound_s):
                return below_s
            return below_s + (bound_s - below_s) * (share * total - below) / (upto[bound_s] - below)
        below_s, below = bound_s, upto[bound_s]
    return below_s
