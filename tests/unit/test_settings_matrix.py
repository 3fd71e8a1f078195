"""Sixty and more wrong values of settings: each ends a command with one sentence, exit status 2 and nothing secret."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import zmart.cli.migrate
import zmart.cli.run
import zmart.cli.stack
from kit import commands
from zmart.settings import Settings, settings

app = typer.Typer()
for module in (zmart.cli.migrate, zmart.cli.run, zmart.cli.stack):
    module.register(app)
SECRET = "s3cr3t"
ESCAPED = "%73%33cr3t"  # the same secret, percent-encoded as in a URL
LONG = "x" * 40
WRONG = [
    ("ZMART_ENV", "staging"),
    ("ZMART_HOME", "~nobody-has-this-name/x"),
    ("LOG_LEVEL", "chatty"),
    ("LOG_JSON", "perhaps"),
    ("SOLANA_RPC_URL", f"api.example/{SECRET}"),
    ("SOLANA_RPC_URL", f"https://api.example:rpc/?api-key={SECRET}"),
    ("SOLANA_RPC_URL", f"https://[::1/?api-key={SECRET}"),
    ("SOLANA_RPC_URL", f"https://api.example:0/?api-key={SECRET}"),
    ("SOLANA_RPC_URL", f"https://api.example:65536/?api-key={SECRET}"),
    ("SOLANA_RPC_URL", f"https://api.example/#api-key={SECRET}"),
    ("HELIUS_RPC_URL", f"https://h.example/ ?api-key={SECRET}"),
    ("HELIUS_RPC_URL", f"https://u:{SECRET}\u2100@h.example"),
    ("SOLANA_WS_URL", f"https://h.example/?api-key={SECRET}"),
    ("PRICING_MODEL", "guess"),
    ("RPC_TIMEOUT_S", "inf"),
    ("RPC_TIMEOUT_S", "nan"),
    ("RPC_TIMEOUT_S", "0"),
    ("RPC_TIMEOUT_S", "1e-12"),
    ("HELIUS_CHECK_INTERVAL_S", "1e-12"),
    ("INDEXER_SCAN_INTERVAL_S", "1e-12"),
    ("INDEXER_AUDIT_INTERVAL_S", "1e-300"),
    ("INDEXER_RPC_PER_S", "1e-12"),
    ("WS_HEARTBEAT_S", "1e-12"),
    ("PIN_WAIT_S", "1e-12"),
    ("PINATA_API_URL", f"https://pins.example/?key={SECRET}"),
    ("IPFS_GATEWAY_URL", f"https://gateway.example/ipfs?token={SECRET}"),
    ("IPFS_GATEWAY_URL", "https://gateway.example/?"),
    ("HELIUS_API_URL", f"https://h.example?api-key={SECRET}"),
    ("SUPABASE_URL", f"https://p.supabase.co/?apikey={SECRET}"),
    ("IPFS_GATEWAY_URL", "https://gateway.example/#x"),
    ("MAX_PRIORITY_FEE_LAMPORTS", "-1"),
    ("DATABASE_URL", f"mysql://u:{SECRET}@h/db"),
    ("DATABASE_URL", f"u:{SECRET}@h/db"),
    ("DATABASE_URL", f"postgresql://u:{SECRET}#x@h/db"),
    ("DATABASE_URL", f"postgresql://u:{SECRET}/x@h/db"),
    ("DATABASE_URL", f"postgresql://u:{SECRET} x@h/db"),
    ("DATABASE_URL", f"postgresql://u:{ESCAPED}@h:99999/db"),
    ("DATABASE_URL", f"postgresql://u:{ESCAPED}@h:0/db"),
    ("DATABASE_URL", f"postgresql://u:{ESCAPED}@h:/db"),
    ("DATABASE_URL", f"postgresql://u:{ESCAPED}@[::1/db"),
    ("DATABASE_URL", f"postgresql://u:{SECRET}\u2100@h/db"),
    ("DATABASE_URL", f"postgresql://u:{ESCAPED}@h/db?sslmode=always"),
    ("DATABASE_POOL_SIZE", "0"),
    ("REDIS_URL", f"http://:{SECRET}@h:6379"),
    ("REDIS_URL", f":{SECRET}@h:6379"),
    ("REDIS_URL", f"redis://:{SECRET}#x@h:6379"),
    ("REDIS_URL", f"redis://:{SECRET}/x@h:6379"),
    ("REDIS_URL", f"redis://:{ESCAPED}@h:6379/zmart"),
    ("REDIS_URL", f"redis://:{ESCAPED}@:6379"),
    ("SUPABASE_URL", "project.supabase.co"),
    ("FEED_KEEP_HOURS", "1e12"),
    ("BIND_HOST", "http://0.0.0.0"),
    ("BIND_HOST", "0.0.0.0:4000"),
    ("BIND_HOST", "300.1.1.1"),
    ("API_PORT", "forty"),
    ("WS_PORT", "65536"),
    ("PUBLIC_API_URL", f"https://u:{SECRET}@api.example"),
    ("PUBLIC_API_URL", f"https://api.example/?key={SECRET}"),
    ("PUBLIC_WS_URL", "https://live.example"),
    ("HELIUS_API_KEY", f"{SECRET}\nmore"),
    ("HELIUS_WEBHOOK_SECRET", f"Bearer {SECRET}{SECRET}{SECRET}{SECRET}x"),
    ("HELIUS_WEBHOOK_SECRET", f"{LONG}\n{SECRET}"),
    ("HELIUS_WEBHOOK_SECRET", f"{LONG}{SECRET}é"),
    ("HELIUS_WEBHOOK_HMAC", "sometimes"),
    ("INDEXER_SCAN_INTERVAL_S", "-1"),
    ("INDEXER_BATCH_SIZE", "0"),
    ("RATE_LIMIT_READS", "1" * 23),
    ("AGGREGATOR_CRON", "often"),
    ("MONITOR_CRON", "61 * * * *"),
    ("SNAPSHOTS_CRON", "0 0 31 2 *"),
    ("VOTE_RULE_PROPOSALS", "rich:5"),
    ("VOTE_RULE_DISPUTES", "staked:-5"),
    ("MIN_DISPUTE_VOTES", "0"),
    ("DISPUTE_REVIEW", "never"),
    ("DISPUTE_REVIEW_MARGIN_BPS", "10001"),
    ("DISPUTE_WINDOW_HOURS", "999999999999"),
    ("CORS_ORIGIN", "*"),
    ("CORS_ORIGIN", "app.example"),
    ("CORS_ORIGIN", f"https://u:{SECRET}@app.example"),
    ("CORS_ORIGINS", "https://app.example/path"),
    ("TRUSTED_PROXIES", "10.0.0.0/33"),
    ("MAX_BODY_BYTES", "0"),
    ("RATE_LIMIT_VOTES", "0"),
    ("AUTH_DOMAIN", "https://app.example"),
    ("AUTH_TOKEN_SECRET", SECRET),
    ("OPERATOR_TOKEN", SECRET),
    ("OPERATOR_TOKEN", f"{LONG}{SECRET}\u00e9"),
    ("WS_HEARTBEAT_S", "0"),
    ("PINATA_JWT", f"{SECRET}\r\nx-more: 1"),
    ("PINATA_JWT", f'"{SECRET}"'),
    ("PINATA_SECRET_KEY", f"{SECRET}\u2026"),
    ("PINATA_API_URL", f"api.pinata.cloud?key={SECRET}"),
    ("IPFS_GATEWAY_URL", "ftp://gateway.example"),
    ("ALERT_WEBHOOK_URL", f"hooks.example/{SECRET}"),
    ("LOCAL_REDIS_PORT", "many"),
    ("LOCAL_CHAIN_SLOT_MS", "1"),
    ("LOCAL_CHAIN_GROWTH_MIB", "-1"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZMART_ENV_FILE", os.devnull)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    settings.cache_clear()
    yield
    settings.cache_clear()
    gc.enable()  # a service disables the garbage collector while it starts


def assert_one_sentence(arguments: list[str], name: str) -> None:
    answer = CliRunner().invoke(app, arguments)
    assert (answer.exit_code, answer.stdout) == (2, ""), answer.output
    assert name in answer.stderr
    assert len(answer.stderr.splitlines()) == 1, answer.stderr
    assert "Traceback" not in answer.output
    for form in (SECRET, ESCAPED, LONG, "5Kd3"):
        assert form not in answer.stderr


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_one_sentence_exit_status_2_and_no_secret(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """W6c, W13, W20, W27, A17, P16: a wrong value gives one sentence, exit status 2 and no secret."""
    monkeypatch.setenv(name, value)
    assert_one_sentence(["migrate", "status"], name)


def test_every_number_has_bounds_on_both_sides() -> None:
    """W20: every number among the settings, also one that is added later, has a lower and an upper bound."""
    numbers = {
        name: field for name, field in Settings.model_fields.items() if field.annotation in (int, float)
    }
    assert len(numbers) > 30
    bounds = {name: {type(each).__name__ for each in field.metadata} for name, field in numbers.items()}
    assert {
        name for name, found in bounds.items() if not (found & {"Ge", "Gt"} and found & {"Le", "Lt"})
    } == set()


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e-300", "-0.5", "1e300"])
@pytest.mark.parametrize(
    "name", [name.upper() for name, field in Settings.model_fields.items() if field.annotation is float]
)
def test_a_time_or_a_rate_that_no_clock_can_hold_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, number: str
) -> None:
    """W20: a float setting refuses nan, infinity, negative, tiny and huge numbers with one sentence."""
    monkeypatch.setenv(name, number)
    assert_one_sentence(["migrate", "status"], name)


def test_there_are_sixty_and_more() -> None:
    assert len(set(WRONG)) >= 60


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.write_bytes(b"OPERATOR_TOKEN=s3cr3t\xff"), "not UTF-8"),
        (lambda path: path.mkdir(), "Is a directory"),
    ],
    ids=["missing", "latin-1", "folder"],
)
def test_a_settings_file_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make, says: str
) -> None:
    make(tmp_path / "zmart.env")
    monkeypatch.setenv("ZMART_ENV_FILE", str(tmp_path / "zmart.env"))
    monkeypatch.setitem(Settings.model_config, "env_file", str(tmp_path / "zmart.env"))
    assert_one_sentence(["migrate", "status"], says)


@pytest.mark.parametrize(
    ("name", "value"), [("DATABASE_URL", f"postgresql://u:{SECRET}#x@h/db"), ("API_PORT", "forty")]
)
async def test_a_service_says_the_same_as_a_process(name: str, value: str) -> None:
    environment = {**os.environ, name: value, "LOG_LEVEL": "error"}
    status, out, err = await commands.run("run", "gateway", env=environment)
    assert (status, out, len(err.splitlines())) == (2, "", 1), err
    assert name in err
    assert SECRET not in err


@pytest.mark.parametrize("command", [["run", "gateway"], ["up"], ["stop"]], ids=" ".join)
def test_every_command_says_the_same(monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.setenv("API_PORT", "forty")
    assert_one_sentence(command, "API_PORT is wrong")


def test_what_is_missing_is_a_wrong_value_too() -> None:
    assert_one_sentence(["migrate", "status"], "DATABASE_URL is not set")
