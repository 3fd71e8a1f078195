"""The limits of PostgreSQL in deploy/compose.yaml suffice for all services that use it, by the numbers of the docs."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import yaml

from kit.connection_table import SCALING, connections
from zmart.services.contract import SERVICES

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text("utf-8"))["services"]
SECOND_MACHINE = r"^    docker compose up -d --no-deps (.*)$"
_RESERVED = 3  # superuser_reserved_connections, PostgreSQL's default
_SHARED_MB = 128  # shared_buffers, PostgreSQL's default
_SPARE = 20
"""Connections that nobody counts: `migrate`, a backup, a person, and what a restarted process has not closed yet."""


def processes() -> Counter[str]:
    """Return how often compose.yaml runs each service."""
    return Counter(one["command"][1] for one in COMPOSE.values() if one.get("command", [""])[0] == "run")


def on_a_second_machine() -> Counter[str]:
    """Return how often the README starts each service on a second machine."""
    [names] = re.findall(SECOND_MACHINE, (ROOT / "deploy" / "README.md").read_text("utf-8"), re.MULTILINE)
    return Counter(COMPOSE[name]["command"][1] for name in names.split())


def most_of(number: Counter[str]) -> int:
    return sum(connections()[service] * times for service, times in number.items())


def max_connections() -> int:
    [limit] = re.findall(r"max_connections=(\d+)", " ".join(COMPOSE["postgres"].get("command", [])))
    return int(limit)


def memory_mb() -> int:
    number, unit = re.fullmatch(r"(\d+)([mg])", COMPOSE["postgres"]["mem_limit"]).groups()
    return int(number) * {"m": 1, "g": 1024}[unit]


def test_every_service_has_its_number_of_connections_in_the_docs() -> None:
    assert connections().keys() == processes().keys() == on_a_second_machine().keys() == set(SERVICES)


def test_postgresql_takes_the_connections_of_all_services_of_two_machines() -> None:
    needed = most_of(processes() + on_a_second_machine())
    assert max_connections() - _RESERVED >= needed + _SPARE


def test_postgresql_has_the_memory_for_all_of_its_connections() -> None:
    [session_mb] = re.findall(r"a session takes up to (\d+) MB of PostgreSQL's memory", SCALING)
    assert memory_mb() >= max_connections() * int(session_mb) + _SHARED_MB


def test_the_docs_name_the_sums_and_the_limit() -> None:
    one, two = most_of(processes()), most_of(processes() + on_a_second_machine())
    stated = f"sets {max_connections()}, for the {one} of one machine or the {two} of two"
    assert stated in " ".join(SCALING.split())
