"""docs/quickstart.md and `zmart clock advance --help` name the hours by which the local chain's deadlines pass."""

from __future__ import annotations

import re

from kit.installed import ROOT
from zmart.cli.clock import advance_clock
from zmart.market.deadlines import Deadlines
from zmart.market.durations import parse_duration
from zmart.market.fold_config import ConfigFold
from zmart.market.types import Slot, Wallet
from zmart.settings import Settings
from zmart.votes.policy import deadlines_of

HOUR_S = 3_600
CONFIG = ConfigFold(admin=Wallet(""), backend_authority=Wallet(""), protocol_fee_bps=0, updated_slot=Slot(0))


def deadlines() -> Deadlines:
    """Return the waiting times with the default settings, and the GlobalConfig that the program initializes."""
    return deadlines_of(Settings(_env_file=None), CONFIG.dispute_period)


def test_the_quickstart_names_the_hours_of_every_deadline() -> None:
    text = " ".join((ROOT / "docs/quickstart.md").read_text().split())
    due = deadlines()
    assert f"proposed {CONFIG.min_resolution_delay // HOUR_S} h after the activation" in text
    assert f"disputed for {due.resolution_s // HOUR_S} h" in text
    assert f"voted on for {due.dispute_s // HOUR_S} h" in text
    assert f"fails after {due.proposal_s // (24 * HOUR_S)} d" in text


def test_each_advance_that_is_recommended_passes_its_deadline() -> None:
    due = deadlines()
    text = (ROOT / "docs/quickstart.md").read_text()
    [command] = re.findall(r"clock advance (\w+)", text)
    assert (parse_duration(command) or 0) > max(due.resolution_s, due.dispute_s) + due.safety_s
    [hours] = re.findall(r"advance by\n(\w+), (\w+) or (\w+)\.", text)
    passed = [parse_duration(each) or 0 for each in hours]
    assert passed[0] > CONFIG.min_resolution_delay
    assert passed[1] > max(due.resolution_s, due.dispute_s) + due.safety_s
    assert passed[2] > due.proposal_s + due.safety_s


def test_the_help_of_the_command_names_an_advance_past_the_dispute_window() -> None:
    [advance, window] = re.findall(
        r"by (\w+), past a market's dispute window of (\d+) h", advance_clock.__doc__ or ""
    )[0]
    assert int(window) * HOUR_S == deadlines().resolution_s
    assert (parse_duration(advance) or 0) > int(window) * HOUR_S
