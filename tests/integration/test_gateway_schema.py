"""Test of the published description against a running gateway, which must accept and answer what it says.

tests/faults has a longer run of the same check.
"""

from pathlib import Path

from kit.gateway_server import hold_against, whole_server


def test_every_call_keeps_what_its_description_promises(
    local_chain, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    with whole_server(local_chain, database_url, redis_url) as (url, market):
        hold_against(url, market, tmp_path, "--max-examples", "3", "--no-shrink", "--seed", "1")
