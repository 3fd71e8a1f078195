"""`zmart doctor` answers within five seconds while the chain and the services that need it hang."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from solders.keypair import Keypair

from kit.machine_time import machine_time, seconds_since
from zmart.local import doctor
from zmart.local.stack import StackRecord
from zmart.settings import load_settings


def test_while_the_chain_and_services_hang_the_doctor_waits_for_the_slowest_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key.json"
    key.write_text(json.dumps(list(bytes(Keypair()))))
    key.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as hung:  # connections are accepted, and nothing is answered
        url = f"http://127.0.0.1:{hung.getsockname()[1]}"
        paths = dict.fromkeys(("chain", "indexer", "aggregator", "monitor"), f"{url}/ready")
        record = StackRecord(environment={}, ports={}, addresses={}, ready_paths=paths, started_at=0.0)
        monkeypatch.setattr(doctor, "read_record", lambda _: record)
        settings = load_settings(
            _env_file=None,
            zmart_env="local",
            zmart_home=tmp_path,
            solana_rpc_url=url,
            database_url=url.replace("http://", "postgresql://u@") + "/d",
            redis_url=url.replace("http://", "redis://"),
            backend_keypair_path=key,
        )
        monkeypatch.setattr(doctor, "stack_settings", lambda: settings)
        began = machine_time()
        local = load_settings(_env_file=None, zmart_home=tmp_path)
        findings = {finding.name: finding for finding in doctor._running(local, [])}
        assert seconds_since(began) <= 5
    servers = {"GlobalConfig", "PostgreSQL", "Redis"}
    assert {name for name, finding in findings.items() if not finding.ok} == {*paths, *servers}
    assert "PostgreSQL does not answer" in findings["PostgreSQL"].sentence
    assert "Redis" in findings["Redis"].sentence
    assert "did not answer" in findings["GlobalConfig"].sentence
    assert "`zmart logs chain`" in findings["GlobalConfig"].sentence
