"""Settings are checked before anything starts; a wrong one is one sentence; secrets stay secret."""

import re
from pathlib import Path

import pytest

from zmart.errors import ConfigError
from zmart.settings import Settings, load_settings

EXAMPLE = Path(__file__).parents[2] / ".env.example"


@pytest.fixture(autouse=True)
def no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("API_PORT", "forty", "API_PORT is wrong"),
        ("API_PORT", "70000", "API_PORT is wrong"),
        ("PRICING_MODEL", "guess", "PRICING_MODEL is wrong"),
        ("AGGREGATOR_CRON", "61 * * * *", "AGGREGATOR_CRON is wrong: must be a cron expression"),
        ("MONITOR_CRON", "often", "MONITOR_CRON is wrong: must be a cron expression"),
        ("SOLANA_RPC_URL", "localhost:8899", "SOLANA_RPC_URL is wrong: must start with http"),
    ],
)
def test_a_wrong_setting_is_one_sentence_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        load_settings()
    assert "\n" not in str(caught.value)


def test_a_missing_setting_is_asked_for_only_by_who_needs_it() -> None:
    empty = load_settings()
    with pytest.raises(ConfigError, match=r"DATABASE_URL is not set.*\.env"):
        empty.require("database_url")


def test_no_secret_is_ever_printed() -> None:
    secret = "5Kd3NBUAdUnhyzenEwVLy0pBKxSwXvE9FMPyR4UKZvpe"
    names = [n for n, f in Settings.model_fields.items() if "SecretStr" in str(f.annotation)]
    assert {"database_url", "redis_url", "pinata_jwt", "operator_token"} <= set(names)
    filled = load_settings(**dict.fromkeys(names, secret))
    assert secret not in f"{filled!r} {filled} {filled.model_dump()}"


def test_helius_is_preferred_and_the_plain_rpc_is_the_second_opinion() -> None:
    both = load_settings(helius_rpc_url="https://h.example", solana_rpc_url="https://s.example/")
    assert both.rpc_urls == ("https://h.example", "https://s.example")
    assert both.rpc_ws_url == "wss://h.example"


def test_the_example_file_lists_every_setting_with_its_default() -> None:
    listed = dict(re.findall(r"^#?\s?([A-Z0-9_]+)=(.*)$", EXAMPLE.read_text(), flags=re.M))
    assert set(listed) == {name.upper() for name in Settings.model_fields}
    defaults = {n.upper(): f.default for n, f in Settings.model_fields.items()}
    for name, text in listed.items():
        default = defaults[name]
        plain = default.get_secret_value() if hasattr(default, "get_secret_value") else default
        displayed = "" if plain is None else str(plain).lower() if isinstance(plain, bool) else str(plain)
        assert text == displayed, name
