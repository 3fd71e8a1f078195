"""Compare a running gateway with its published description for minutes, by schemathesis."""

from pathlib import Path

import pytest

from kit.gateway_server import hold_against, whole_server


@pytest.mark.slow
def test_every_call_keeps_its_description_for_long(
    local_chain, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    with whole_server(local_chain, database_url, redis_url) as (url, market):
        hold_against(url, market, tmp_path, "--max-examples", "100", "--max-time", "270")
