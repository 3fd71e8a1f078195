"""The load of the gateway's benchmark: header sets, paths, and the file that wrk's Lua script reads."""

import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

import header_sets
import request_plan
from request_plan import MIX, PlannedRequest

PATHS = {kind: [f"/{kind}/{number}" for number in range(20)] for kind in MIX}


def drawn(seed="1", weights=MIX, count=20_000):
    return request_plan.draw(seed, weights, PATHS, header_sets.COUNT, count)


def test_header_sets_are_five_hundred_and_all_different():
    sets = header_sets.draw(1)
    assert len(sets) == len(set(sets)) == 500


def test_header_sets_come_from_their_seed():
    assert header_sets.draw(7) == header_sets.draw(7)
    assert header_sets.draw(7) != header_sets.draw(8)


def test_header_sets_are_those_of_browsers_wallets_and_scripts():
    sets = [dict(each) for each in header_sets.draw(1)]
    assert all(each["User-Agent"] for each in sets)
    with_origin = [each for each in sets if "Origin" in each]
    assert all("Accept-Language" in each for each in with_origin)
    assert 0.7 < len(with_origin) / len(sets) < 0.9  # scripts send none
    assert 50 < sum("Cookie" in each for each in sets) < 300
    assert len({each["User-Agent"] for each in sets}) > 150
    assert len({each.get("Accept-Language") for each in sets}) > 10


def test_no_header_breaks_the_request_that_it_is_sent_in():
    for name, value in (header for each in header_sets.draw(1) for header in each):
        assert name.isascii()
        assert value.isascii()
        assert value == value.strip()
        assert not set("\r\n") & set(name + value)
        assert name.lower() not in {
            "host",
            "content-length",
            "authorization",
            "if-none-match",
            "x-forwarded-for",
        }


def test_a_plan_comes_from_its_seed():
    assert drawn("1") == drawn("1")
    assert drawn("1") != drawn("2")


def test_paths_and_header_sets_are_drawn_independently():
    """Each path is requested with all header sets alike, and other paths do not change the order of the header sets."""
    other = request_plan.draw("1", {"markets": 1}, PATHS, header_sets.COUNT, 20_000)
    assert [each.header_set for each in other] == [each.header_set for each in drawn("1")]
    both = Counter((each.path[-1], each.header_set % 10) for each in drawn("1"))
    expected = 20_000 / 100
    assert len(both) == 100
    assert (
        sum((count - expected) ** 2 / expected for count in both.values()) < 160
    )  # chi square with 99 degrees of freedom: p < 0.0001


def test_the_mix_is_mostly_lists():
    kinds = Counter(each.path.split("/")[1] for each in drawn())
    assert {kind: round(100 * count / 20_000) for kind, count in kinds.items()} == pytest.approx(MIX, abs=1)


def test_every_path_and_header_set_is_asked_for():
    plan = drawn()
    assert {each.path for each in plan} == {path for paths in PATHS.values() for path in paths}
    assert {each.header_set for each in plan} == set(range(header_sets.COUNT))


def test_files_say_what_is_sent(tmp_path):
    request_plan.write_plan(tmp_path / "plan", [PlannedRequest("/b", 1), PlannedRequest("/a", 0)])
    request_plan.write_header_sets(tmp_path / "sets", [(("A", "1"), ("B", "2")), (("C", "3"),)])
    assert (tmp_path / "plan").read_text() == "2 /b\n1 /a\n"
    assert (tmp_path / "sets").read_text() == "A: 1\nB: 2\n\nC: 3\n\n"
