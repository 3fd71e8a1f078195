"""The published description against a running gateway: what it promises to take it takes, what it promises to
answer it answers, and nothing else. The long run of it is in tests/faults."""

from pathlib import Path

from kit.gateway_server import hold_against, whole_server


def test_every_call_keeps_what_its_description_promises(
    local_chain, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    with whole_server(local_chain, database_url, redis_url) as (url, market):
        hold_against(url, market, tmp_path, "--max-examples", "3", "--no-shrink", "--seed", "1")
