"""Settings are checked at the start; a wrong setting gives one sentence, which never has a secret."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from zmart.errors import ConfigError
from zmart.settings import Settings, load_settings

SECRET_URLS = {"database_url": "postgresql", "redis_url": "rediss", "alert_webhook_url": "https"}
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
        ("SOLANA_RPC_URL", "http://", "SOLANA_RPC_URL is wrong: must be http://host"),
        ("SOLANA_RPC_URL", "http://127.0.0.1:88 99", "SOLANA_RPC_URL is wrong: must be http://host"),
        ("SOLANA_RPC_URL", "http://127.0.0.1:\t8899", "SOLANA_RPC_URL is wrong: must be http://host"),
        ("SOLANA_RPC_URL", "http://[::1", "SOLANA_RPC_URL is wrong: must be http://host"),
        ("HELIUS_RPC_URL", "https://h.example:port/?api-key=s3cret", "HELIUS_RPC_URL is wrong: must be http"),
        ("PUBLIC_WS_URL", "https://live.example", "PUBLIC_WS_URL is wrong: must start with ws:// or wss://"),
        ("PUBLIC_API_URL", "api.example", "PUBLIC_API_URL is wrong: must start with http"),
        ("DATABASE_URL", "mysql://u:s3cret@h/db", "DATABASE_URL is wrong: must be postgresql://"),
        ("DATABASE_URL", "postgresql://u:s3cret#ss@h/db", "DATABASE_URL is wrong: must be postgresql://"),
        ("DATABASE_URL", "postgresql://u:s3cret/ss@h/db", "DATABASE_URL is wrong: must be postgresql://"),
        ("REDIS_URL", "localhost:6379", "REDIS_URL is wrong: must start with redis://"),
        ("REDIS_URL", "redis://:s3cret#x@h:6379", "REDIS_URL is wrong: must be redis://host"),
        ("CORS_ORIGIN", "*", "CORS_ORIGIN is wrong: holds '*', which is not an origin"),
        ("CORS_ORIGIN", "https://*.example.org", "CORS_ORIGIN is wrong: holds 'https://*.example.org'"),
        ("CORS_ORIGIN", "https://a.example, app.example", "CORS_ORIGIN is wrong: holds 'app.example'"),
        ("CORS_ORIGINS", "https://a.example/app", "CORS_ORIGINS is wrong: holds 'https://a.example/app'"),
        ("AUTH_TOKEN_SECRET", "s3cret", "AUTH_TOKEN_SECRET must have at least 32 characters"),
        ("OPERATOR_TOKEN", "s3cret", "OPERATOR_TOKEN must have at least 32 characters"),
        ("HELIUS_WEBHOOK_SECRET", "s3cret", "HELIUS_WEBHOOK_SECRET must have at least 32 characters"),
        ("AUTH_TOKEN_SECRET", f"s3cret{' ' * 40}", "AUTH_TOKEN_SECRET must have at least 32 characters"),
    ],
)
def test_a_wrong_setting_is_one_sentence_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    """A17, W6c, W13, W20, W27: a wrong setting is one sentence with its name at the start, without any secret."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        load_settings()
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("SOLANA_RPC_URL", " http://127.0.0.1:8899/\n", "http://127.0.0.1:8899"),
        ("SOLANA_RPC_URL", "http://[::1]:8899", "http://[::1]:8899"),
        ("PINATA_JWT", "a.b.c\n", "a.b.c"),
        (
            "DATABASE_URL",
            "postgresql://u:p%23w@h1:5432,h2:5433/db\n",
            "postgresql://u:p%23w@h1:5432,h2:5433/db",
        ),
        ("DATABASE_URL", "postgresql:///db?host=/run/postgresql", "postgresql:///db?host=/run/postgresql"),
        (
            "CORS_ORIGIN",
            "HTTPS://App.Example:443/ ,http://localhost:3000",
            "https://app.example,http://localhost:3000",
        ),
        ("REDIS_URL", "unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
        ("REDIS_PORT", "tcp://10.0.0.7:6379", None),
        ("POSTGRES_PORT", "5432/tcp", None),
        ("LOCAL_REDIS_PORT", "tcp://10.0.0.7:6379", 63799),
        ("LOCAL_REDIS_PORT", " 6400\n", 6400),
        ("API_PORT", "tcp://10.0.0.7:80", 4000),
        ("AUTH_TOKEN_SECRET", "x" * 32, "x" * 32),
    ],
)
def test_text_is_stripped_and_what_a_platform_sets_harms_nobody(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, kept: object
) -> None:
    """W6c, W8, W13, W20: white space around a value is removed, and a port that Kubernetes sets is ignored."""
    monkeypatch.setenv(name, value)
    found = getattr(load_settings(), name.lower(), None)
    assert (found.get_secret_value() if isinstance(found, SecretStr) else found) == kept


FORMER_NAMES = {
    "PROVIDERS_PORT": "1", "CHAIN_RPC_PORT": "2", "CHAIN_WS_PORT": "3", "POSTGRES_PORT": "4", "REDIS_PORT": "5",
    "CHAIN_SLOT_MS": "66", "POSTGRES_BIN_DIR": "/p", "VALKEY_BIN": "/v", "NODE_BIN": "/n",
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), FORMER_NAMES.items())
def test_a_setting_of_the_local_stack_is_read_under_its_former_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """W8: a setting of the local stack is read under its former name; its name with LOCAL_ takes precedence."""
    monkeypatch.setenv(name, value)
    assert str(getattr(load_settings(), f"local_{name.lower()}")) == value
    monkeypatch.setenv(f"LOCAL_{name}", value + "7")
    assert str(getattr(load_settings(), f"local_{name.lower()}")) == value + "7"


@pytest.mark.parametrize(
    "value", ["tcp://10.0.0.7:6379", "udp://[fd00::7]:6379", "6379/tcp", "redis", "-1", ""]
)
@pytest.mark.parametrize("name", [name for name in FORMER_NAMES if name.endswith("_PORT")])
def test_what_a_platform_puts_into_a_former_name_harms_nobody(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """W8: a value of a platform in a former name of a port is ignored, and the port is the default."""
    monkeypatch.setenv(name, value)
    field = f"local_{name.lower()}"
    assert getattr(load_settings(), field) == Settings.model_fields[field].default


def test_on_a_developer_s_machine_a_secret_may_be_short() -> None:
    assert load_settings(zmart_env="local", operator_token="x").operator_token.get_secret_value() == "x"


def test_a_missing_setting_is_asked_for_only_by_who_needs_it() -> None:
    empty = load_settings()
    with pytest.raises(ConfigError, match=r"DATABASE_URL is not set.*\.env"):
        empty.require("database_url")


def test_no_secret_is_ever_printed() -> None:
    secret = "5Kd3NBUAdUnhyzenEwVLy0pBKxSwXvE9FMPyR4UKZvpe"
    names = [n for n, f in Settings.model_fields.items() if "SecretStr" in str(f.annotation)]
    assert {"database_url", "redis_url", "pinata_jwt", "operator_token"} <= set(names)
    urls = {name: f"{scheme}://u:{secret}@h" for name, scheme in SECRET_URLS.items()}
    filled = load_settings(**dict.fromkeys(names, secret) | urls)
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
