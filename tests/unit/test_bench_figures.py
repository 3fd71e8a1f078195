"""How benchmarks evaluate their measurements: medians, ratios, goals, percentiles over clients, correctness of rows."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

import checkout
import comparison
import gateway_report
import readers
import report
import right_rows
import same_answers
import statements
import wrk
from comparison import BARE, EXPRESS, FASTIFY, GATEWAY, Load
from turn import Turn

from zmart.errors import ConfigError, ZmartError
from zmart.store import candles, market_voting, trades

ROOT = Path(__file__).parents[2]
REPORT = """\
Running 3s test @ http://127.0.0.1:4000
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     7.10ms    2.02ms  40.11ms   90.12%
    Req/Sec     9.01k   512.00     9.80k    80.00%
  Latency Distribution
     50%  870.00us
     75%    7.92ms
     90%    9.10ms
     99%    1.20s\x20
  27012 requests in 3.00s, 500.21MB read
Requests/sec:   9003.77
Transfer/sec:    166.70MB
"""


def load(speed, p99_ms=10.0, p50_ms=5.0):
    return Load(int(speed), float(speed), p50_ms, p99_ms)


def found(gateway, express, fastify):
    return {GATEWAY: gateway, EXPRESS: express, FASTIFY: fastify, BARE: [load(9_000)]}


def rows(gateway, express, fastify, *, cached=False):
    subjects = found(gateway, express, fastify)
    return comparison.rows("lists", subjects, dict.fromkeys(subjects, 1.0), cached=cached)


def goals(gateway, express, fastify, *, cached=False):
    return [goal.met for goal in rows([gateway], [express], [fastify], cached=cached)[0].goals]


# ------------------------------------------------------------------------------------------------------- comparison


def test_each_figure_is_the_median_of_the_rounds():
    rounds = [load(100, p99_ms=9, p50_ms=3), load(900, p99_ms=1, p50_ms=2), load(200, p99_ms=5, p50_ms=1)]
    assert comparison.middle(rounds) == load(200, p99_ms=5, p50_ms=2)


def test_ratios_are_those_of_the_medians():
    first, express, fastify, bare = rows(
        [load(100), load(500), load(300)], [load(100), load(100)], [load(400)]
    )
    assert (first.subject, first.to_express, first.to_fastify, first.p99_of_express) == (
        GATEWAY,
        3.0,
        0.75,
        1.0,
    )
    assert (express.to_express, fastify.to_fastify, bare.to_express) == (1.0, 1.0, 90.0)


def test_from_the_database_the_goals_are_twice_express_half_its_p99_and_fastify():
    assert goals(load(200, 5), load(100, 10), load(200)) == [True, True, True]
    assert goals(load(199, 5), load(100, 10), load(199)) == [False, True, True]
    assert goals(load(200, 5.01), load(100, 10), load(200)) == [True, False, True]
    assert goals(load(200, 5), load(100, 10), load(201)) == [True, True, False]


def test_cached_the_goals_are_two_and_a_half_times_express_and_half_its_p99():
    assert goals(load(250, 5), load(100, 10), load(999), cached=True) == [True, True]
    assert goals(load(249, 6), load(100, 10), load(1), cached=True) == [False, False]


def test_a_goal_is_judged_before_rounding():
    assert goals(load(1_999), load(1_000), load(1))[0] is False  # rounded to two places, it is 2.00


def test_peers_have_no_goals():
    assert [bool(row.goals) for row in rows([load(1)], [load(1)], [load(1)])] == [True, False, False, False]


def test_every_subject_begins_a_round_once_and_keeps_its_neighbours():
    orders = [comparison.turns("abcd", number) for number in range(4)]
    assert [order[0] for order in orders] == list("abcd")
    assert all(sorted(order) == list("abcd") for order in orders)


# ---------------------------------------------------------------------------------------------------------- report


def reported(_progress):
    """Return the report of a gateway that is twice as fast as both peers and has the p99 of Express."""
    turns = {
        name: [Turn(load(speed), statements=1.0, checked=3, writes=1, due=2)]
        for name, speed in {GATEWAY: 2_000, EXPRESS: 1_000, FASTIFY: 1_000, BARE: 9_000}.items()
    }
    measured = gateway_report.GatewayReport("title")
    measured.add("lists", turns, cached=False)
    return measured


def test_the_table_says_of_each_goal_whether_it_is_met_and_where_it_was_measured(capsys):
    report.run(reported, gateway_report.show, as_json=False)
    printed = capsys.readouterr().out
    assert ">= 2.0x Express: met" in printed
    assert "p99 <= 0.5x Express's: MISSED" in printed
    assert ">= 1.0x Fastify: met" in printed
    assert "2 of 3 goals met; 12 answers checked under load" in printed
    assert "4 of 8 writes were committed" in printed
    assert "load before" in printed
    assert "Node.js" in printed


def test_json_says_the_same_as_the_table(capsys):
    report.run(reported, gateway_report.show, as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert [row["subject"] for row in printed["rows"]] == [GATEWAY, EXPRESS, FASTIFY, BARE]
    assert [goal["met"] for goal in printed["rows"][0]["goals"]] == [True, False, True]
    assert printed["machine"].keys() >= {"python", "node", "cores", "load_before"}


# ------------------------------------------------------------------------------------------------------------- wrk


def test_what_wrk_prints_is_read_in_milliseconds():
    assert wrk.parse(REPORT) == Load(27_012, 9003.77, p50_ms=0.87, p99_ms=1200.0)


@pytest.mark.parametrize(
    "line", ["  Non-2xx or 3xx responses: 1", "  Socket errors: connect 0, read 1, write 0, timeout 0"]
)
def test_a_request_that_was_not_answered_with_2xx_fails_the_run(line):
    with pytest.raises(ZmartError, match="2xx"):
        wrk.parse(REPORT + line)


def test_a_report_of_another_form_is_not_taken_for_figures():
    with pytest.raises(ZmartError, match="percentile"):
        wrk.parse(REPORT.replace("99%", "98%"))


# --------------------------------------------------------------------------------------------------------- readers


@pytest.mark.parametrize("connections", [1, 49, 50, 1_000, 2_500, 2_517])
def test_every_connection_is_timed_in_exactly_one_slice(connections):
    slices = readers.slices_of(connections)
    timed = [
        position for number in range(slices) for position in readers.timed_in(number, connections, slices)
    ]
    assert sorted(timed) == list(range(connections))


def test_slices_time_the_same_number_of_connections():
    slices = readers.slices_of(2_517)
    sizes = {len(readers.timed_in(number, 2_517, slices)) for number in range(slices)}
    assert max(sizes) - min(sizes) <= 1


def test_each_client_weighs_the_same_whatever_it_received():
    busy, slow = [1] * 900, [100]
    assert readers.percentile([busy, slow], 0.5) == 1
    assert readers.percentile([busy, slow], 0.51) == 100
    assert readers.percentile([[3, 1, 2]], 0.99) == 3


def test_no_timed_message_is_an_error_and_not_a_latency():
    with pytest.raises(ValueError, match="no message"):
        readers.percentile([[], []], 0.5)


def test_a_client_with_less_than_half_of_the_median_is_starved():
    assert readers.starved([100, 100, 99, 51, 49, 0, 100]) == 2


# ------------------------------------------------------------------------------------------------------ right rows


BEFORE = {"a": (1, 10), "b": (2, 20)}
AFTER = {"a": (1, 10), "b": (3, 30)}


@pytest.mark.parametrize("answered", [BEFORE, AFTER, {"a": (1, 10), "b": (3, 29)}])
def test_an_answer_may_be_any_moment_between_two_looks(answered):
    assert right_rows.problem(answered, BEFORE, AFTER) is None


@pytest.mark.parametrize(
    ("answered", "why"),
    [
        ({"a": (1, 10), "b": (1, 20)}, "behind"),
        ({"a": (1, 10), "b": (4, 30)}, "ahead"),
        ({"b": (2, 20), "a": (1, 10)}, "other rows"),
        ({"a": (1, 10)}, "other rows"),
        ({"a": (1, 10), "c": (2, 20)}, "other rows"),
        ({}, "other rows"),
    ],
)
def test_an_answer_of_another_moment_or_of_other_rows_is_wrong(answered, why):
    assert why in right_rows.problem(answered, BEFORE, AFTER)


def test_a_list_of_trades_may_have_moved_on_by_some_of_the_new_ones():
    before, after = ({str(n): (n,) for n in numbers} for numbers in (range(50), range(2, 52)))
    between = {str(n): (n,) for n in range(1, 51)}
    assert right_rows.problem(between, before, after) is None
    gap = {str(n): (n,) for n in (*range(1, 49), 50, 51)}
    assert "other rows" in right_rows.problem(gap, before, after)


def test_an_answer_that_may_be_old_is_never_ahead():
    assert right_rows.problem(BEFORE, None, AFTER) is None
    assert "ahead" in right_rows.problem({"b": (4, 0)}, None, AFTER)


def test_rows_of_an_answer_are_read_from_each_kind():
    market = {"id": "m", "total_trades": 3, "total_volume": 7}
    candle = {"timestamp": "1970-01-01T01:00:00Z", "trades": 2, "volume": 5}
    kinds = [
        ({"markets": [market]}, {"m": (3, 7)}),
        (market, {"m": (3, 7)}),
        ({"trades": [{"id": "s:0", "slot": 9}]}, {"s:0": (9,)}),
        ({"candles": [candle, {**candle, "trades": 0}]}, {"3600": (2, 5)}),
    ]
    for answer, expected in kinds:
        assert right_rows.in_answer(json.dumps(answer).encode()) == expected


def test_the_first_difference_of_two_answers_is_named():
    one = {"a": [{"b": 1}, {"b": 2}], "next_cursor": "x"}
    other = {"a": [{"b": 1}, {"b": 3}], "next_cursor": "y"}
    assert same_answers.difference(one, other, {"next_cursor"}) == "a[1].b is 2 and 3"
    assert same_answers.difference(one, one) is None


# -------------------------------------------------------------------------------------------------------- checkout


def test_the_setting_of_the_cache_is_found_by_its_name_in_the_example():
    assert checkout.cache_setting("# X=1\n# RESPONSE_CACHE_BYTES=67108864\n") == "RESPONSE_CACHE_BYTES"
    assert checkout.cache_setting((ROOT / ".env.example").read_text()).endswith("_CACHE_BYTES")
    with pytest.raises(ConfigError, match="none"):
        checkout.cache_setting("# X=1\n")


def test_another_folder_is_no_checkout(tmp_path):
    with pytest.raises(ConfigError, match="no checkout"):
        checkout.find(tmp_path)


def test_peers_run_the_statements_of_the_gateway():
    found = statements.statements()
    assert found["candles"] == candles._OF_ID
    assert found["trades"] == trades._OF_MARKET
    assert found["page"].count("$") == 2
    assert market_voting.COLUMNS in found["one"]
    assert market_voting.JOINS in found["one"]


@pytest.mark.parametrize("peer", ["express", "fastify", "ws_notify", "ws_replication"])
def test_peers_are_pinned_without_addresses(peer):
    folder = ROOT / "bench" / "peers" / peer
    expected = json.loads((folder / "package.json").read_text())["dependencies"]
    locked = json.loads((folder / "package-lock.json").read_text())["packages"]
    for name, version in expected.items():
        assert locked[f"node_modules/{name}"]["version"] == version
    assert all("resolved" not in package for package in locked.values())
    assert all(package.get("integrity") for position, package in locked.items() if position)
