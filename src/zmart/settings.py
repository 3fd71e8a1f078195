"""Define every setting, under the names of the deployment plan.

The file `.env`, or the one that ZMART_ENV_FILE names, is read; variables of the environment win. A setting may be empty
until a service needs it: `require(...)` then raises SettingError with one sentence. Secrets are SecretStr, so that no
log, error or status page can show them.
"""

from __future__ import annotations

import os
import re
from errno import EISDIR
from functools import lru_cache
from pathlib import Path
from stat import S_ISDIR
from typing import Any, Literal

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from zmart import setting_values
from zmart.bounded_files import read_at_most
from zmart.errors import SettingError

DEFAULT_PROGRAM_ID = "6s8bbbCS7oNYNnTUHgrPDHG4jqaSrD6MSxQSPVR1rxw"
"""The address of the deployed program."""

_LEAST_UNLESS_OFF = {
    "helius_check_interval_s": 0.05,
    "indexer_audit_interval_s": 1.0,
    "indexer_rpc_per_s": 0.1,
}
"""The least value of each setting that 0 switches off.

A number just above 0 would make requests without a pause, or none at all.
"""
_LOCAL_DEFAULTS: dict[str, object] = {
    "vote_rule_proposals": "open",
    "vote_rule_disputes": "open",
    "min_proposal_votes": 1,
    "min_dispute_votes": 1,
}
"""Defaults on a developer's machine, where no money is at stake: one vote of any wallet decides."""

_VOTE_RULE = re.compile(r"open|(?:funded|staked)(?::[1-9][0-9]{0,17})?|listed:[A-Za-z0-9]{46,59}", re.ASCII)


_MOST_FILE_BYTES = 1_000_000
_YEAR_S = 31_536_000
_TEN_YEARS_DAYS = 3_650
_MOST_REQUESTS = 1_000_000_000
"""Maximum of a rate limit.

Redis counts in floating point. It is exact up to four times this number, which is the limit for an IP address.
"""


def _local(former: str, default: Any, **bounds: Any) -> Any:  # noqa: ANN401  # as pydantic's Field
    """Declare LOCAL_X, a setting of the local stack that is also read under its former name X."""
    return Field(default=default, validation_alias=AliasChoices(f"local_{former}", former), **bounds)


class Settings(BaseSettings):
    """Hold all settings. Field names in upper case are the names in the environment."""

    model_config = SettingsConfigDict(
        env_file=os.environ.get("ZMART_ENV_FILE", ".env"),
        env_file_encoding="utf-8-sig",  # editors on Windows write a byte order mark first
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,  # it may be a secret
        allow_inf_nan=False,
    )

    # Where this runs
    zmart_env: Literal["local", "devnet", "production"] = "production"
    zmart_home: Path = Path(".zmart")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_json: bool = True

    # Solana
    solana_rpc_url: str = ""
    helius_rpc_url: str = ""
    solana_ws_url: str = ""
    solana_program_id_core: str = DEFAULT_PROGRAM_ID
    solana_idl_path: Path | None = None
    backend_keypair_path: Path | None = None
    backend_authority_private_key: SecretStr = SecretStr("")
    admin_keypair_path: Path | None = None
    pricing_model: Literal["v069", "reference"] = "reference"
    rpc_timeout_s: float = Field(default=10.0, ge=0.05, le=3_600)
    max_priority_fee_lamports: int = Field(default=1_000_000, ge=0, le=10_000_000_000)

    # Data
    database_url: SecretStr = SecretStr("")
    database_pool_size: int = Field(default=8, ge=1, le=200)
    redis_url: SecretStr = SecretStr("")
    supabase_url: str = ""
    supabase_service_role_key: SecretStr = SecretStr("")
    feed_keep_hours: int = Field(default=24, ge=1, le=24 * _TEN_YEARS_DAYS)

    # Ports. Every service listens on `bind_host`.
    bind_host: str = "127.0.0.1"
    api_port: int = Field(default=4000, ge=0, le=65535)
    ws_port: int = Field(default=4001, ge=0, le=65535)
    indexer_port: int = Field(default=4002, ge=0, le=65535)
    aggregator_port: int = Field(default=4003, ge=0, le=65535)
    monitor_port: int = Field(default=4004, ge=0, le=65535)
    snapshots_port: int = Field(default=4005, ge=0, le=65535)
    public_api_url: str = ""
    public_ws_url: str = ""

    # Indexer
    helius_api_key: SecretStr = SecretStr("")
    helius_api_url: str = "https://api-mainnet.helius-rpc.com"
    helius_webhook_secret: SecretStr = SecretStr("")
    helius_webhook_hmac: bool = False
    helius_check_interval_s: float = Field(default=3_600.0, ge=0, le=_YEAR_S)
    webhook_max_body_bytes: int = Field(default=5 * 1024 * 1024, ge=1, le=1 << 30)
    indexer_batch_size: int = Field(default=2_000, ge=1, le=100_000)
    indexer_scan_interval_s: float = Field(default=2.0, ge=0.1, le=_YEAR_S)
    indexer_audit_interval_s: float = Field(default=900.0, ge=0, le=_YEAR_S)
    indexer_rpc_per_s: float = Field(default=0.0, ge=0, le=1_000_000)
    indexer_logs_subscribe: bool = True
    indexer_trust_webhooks: bool = False

    # Votes, decisions, finalization
    aggregator_cron: str = "*/5 * * * *"
    monitor_cron: str = "*/5 * * * *"
    hold_decisions: bool = False
    aggregate_on_threshold: bool = False
    vote_rule_proposals: str = "funded:50000000"
    vote_rule_disputes: str = "staked:50000000"
    min_proposal_votes: int = Field(default=10, ge=1, le=1_000_000_000)
    min_dispute_votes: int = Field(default=10, ge=1, le=1_000_000_000)
    dispute_review: Literal["auto", "alert", "hold"] = "auto"
    dispute_review_margin_bps: int = Field(default=500, ge=0, le=10_000)
    proposal_ttl_days: int = Field(default=7, ge=1, le=_TEN_YEARS_DAYS)
    dispute_window_hours: int = Field(default=48, ge=0, le=24 * _TEN_YEARS_DAYS)
    dispute_voting_hours: int = Field(default=72, ge=0, le=24 * _TEN_YEARS_DAYS)
    finalize_safety_s: int = Field(default=60, ge=0, le=_YEAR_S)
    votes_require_statement: bool = True

    # Gateway
    cors_origin: str = ""
    cors_origins: str = ""
    trusted_proxies: str = ""
    max_body_bytes: int = Field(default=64 * 1024, ge=1, le=1 << 30)
    answer_cache_bytes: int = Field(default=32 * 1024 * 1024, ge=0, le=1 << 40)
    rate_limit_reads: int = Field(default=1200, ge=1, le=_MOST_REQUESTS)
    rate_limit_writes: int = Field(default=60, ge=1, le=_MOST_REQUESTS)
    rate_limit_votes: int = Field(default=30, ge=1, le=_MOST_REQUESTS)
    rate_limit_comments: int = Field(default=10, ge=1, le=_MOST_REQUESTS)
    rate_limit_nonce: int = Field(default=20, ge=1, le=_MOST_REQUESTS)
    supabase_facade: bool = False
    auth_legacy_signatures: bool | Literal["named"] = True
    auth_domain: str = ""
    auth_token_secret: SecretStr = SecretStr("")
    operator_token: SecretStr = SecretStr("")

    # WebSocket
    ws_max_connections: int = Field(default=10_000, ge=1, le=10_000_000)
    ws_max_per_ip: int = Field(default=1_000, ge=1, le=10_000_000)
    ws_heartbeat_s: float = Field(default=30.0, ge=0.1, le=86_400)

    # Snapshots
    snapshots_cron: str = "0 0 * * *"
    snapshot_keep_days: int = Field(default=30, ge=1, le=_TEN_YEARS_DAYS)
    pinata_jwt: SecretStr = SecretStr("")
    pinata_api_key: SecretStr = SecretStr("")
    pinata_secret_key: SecretStr = SecretStr("")
    pinata_api_url: str = "https://api.pinata.cloud"
    pin_wait_s: float = Field(default=4.0, ge=0.1, le=3_600)
    ipfs_gateway_url: str = "https://gateway.pinata.cloud"

    # Operation
    alert_webhook_url: SecretStr = SecretStr("")

    # Local stack: empty means "find it"
    local_postgres_bin_dir: Path | None = _local("postgres_bin_dir", None)
    local_valkey_bin: Path | None = _local("valkey_bin", None)
    local_node_bin: Path | None = _local("node_bin", None)
    local_bind_host: str = "127.0.0.1"
    local_providers_port: int = _local("providers_port", 4006, ge=0, le=65535)
    local_chain_rpc_port: int = _local("chain_rpc_port", 8899, ge=0, le=65535)
    local_chain_ws_port: int = _local("chain_ws_port", 8900, ge=0, le=65535)
    local_chain_slot_ms: int = _local("chain_slot_ms", 100, ge=10, le=10_000)
    local_chain_growth_mib: int = Field(default=512, ge=0, le=1_000_000)
    local_postgres_port: int = _local("postgres_port", 54329, ge=0, le=65535)
    local_redis_port: int = _local("redis_port", 63799, ge=0, le=65535)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments, the environment and `.env`, and no files of secrets.

        Variables that a platform set under a former name of a setting are left out.
        """
        sources = (init_settings, env_settings, dotenv_settings)
        for source in sources:
            if isinstance(source, EnvSettingsSource):
                source.env_vars = setting_values.of_ours(source.env_vars)
        return sources

    @field_validator("aggregator_cron", "monitor_cron", "snapshots_cron")
    @classmethod
    def _cron(cls, value: str) -> str:
        from croniter import croniter  # PgQueuer parses these with it; loaded only if one is set

        try:
            croniter(value).get_next()
        except (ValueError, KeyError, OverflowError):
            raise ValueError(
                "must be a cron expression of 5 fields (a sixth means seconds) with a next time, like '*/5 * * * *'"
            ) from None
        return value

    @field_validator("zmart_home")
    @classmethod
    def _folder(cls, value: Path) -> Path:
        return setting_values.folder(value)

    @field_validator(*_LEAST_UNLESS_OFF)
    @classmethod
    def _off_or_at_least(cls, value: float, info: ValidationInfo) -> float:
        return setting_values.off_or_at_least(value, _LEAST_UNLESS_OFF[str(info.field_name)])

    @field_validator(
        "solana_idl_path",
        "backend_keypair_path",
        "admin_keypair_path",
        "local_postgres_bin_dir",
        "local_valkey_bin",
        "local_node_bin",
    )
    @classmethod
    def _path(cls, value: Path | None) -> Path | None:
        return value and setting_values.path(value)

    @model_validator(mode="before")
    @classmethod
    def _cleaned(cls, values: dict[str, object]) -> dict[str, object]:
        values = setting_values.clean(values)
        return _LOCAL_DEFAULTS | values if values.get("zmart_env") == "local" else values

    @model_validator(mode="after")
    def _strong_secrets(self) -> Settings:
        if not self.is_local:
            for name in ("auth_token_secret", "operator_token", "helius_webhook_secret"):
                setting_values.require_strong(name, self._text(name))
        return self

    @field_validator("vote_rule_proposals", "vote_rule_disputes")
    @classmethod
    def _vote_rule(cls, value: str) -> str:
        if not _VOTE_RULE.fullmatch(value):
            raise ValueError("must be open, funded:LAMPORTS, staked:LAMPORTS or listed:CID")
        return value

    @field_validator("pinata_api_url", "ipfs_gateway_url", "helius_api_url", "supabase_url")
    @classmethod
    def _base(cls, value: str) -> str:
        return setting_values.base_url(value)

    @field_validator("solana_rpc_url", "helius_rpc_url")
    @classmethod
    def _http(cls, value: str) -> str:
        return setting_values.http_url(value)

    @field_validator("public_api_url", "public_ws_url")
    @classmethod
    def _public(cls, value: str, info: ValidationInfo) -> str:
        schemes = ("http", "https") if info.field_name == "public_api_url" else ("ws", "wss")
        return setting_values.public_url(value, schemes)

    @field_validator("solana_ws_url")
    @classmethod
    def _socket(cls, value: str) -> str:
        if value:
            setting_values.split_url(value, ("ws", "wss"))
        return value

    @field_validator("bind_host", "local_bind_host")
    @classmethod
    def _bind_host(cls, value: str) -> str:
        return setting_values.bind_host(value)

    @field_validator("auth_domain")
    @classmethod
    def _domain(cls, value: str) -> str:
        return setting_values.domain(value)

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies(cls, value: str) -> str:
        setting_values.networks(value)
        return value

    @field_validator(
        "helius_api_key",
        "pinata_jwt",
        "pinata_api_key",
        "pinata_secret_key",
        "operator_token",
        "supabase_service_role_key",
    )
    @classmethod
    def _token(cls, value: SecretStr) -> SecretStr:
        return SecretStr(setting_values.token(value.get_secret_value()))

    @field_validator("helius_webhook_secret")
    @classmethod
    def _header_value(cls, value: SecretStr) -> SecretStr:
        return SecretStr(setting_values.header_value(value.get_secret_value()))

    @field_validator("redis_url", "alert_webhook_url")
    @classmethod
    def _secret_url(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        text = value.get_secret_value()
        if info.field_name == "redis_url":
            setting_values.redis_url(text)
        elif text:
            setting_values.split_url(text, ("https", "http"))
        return value

    @field_validator("database_url")
    @classmethod
    def _database_url(cls, value: SecretStr) -> SecretStr:
        if text := value.get_secret_value():
            setting_values.database_url(text)
        return value

    @field_validator("cors_origin", "cors_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        return ",".join(setting_values.origins(value))

    @property
    def rpc_urls(self) -> tuple[str, ...]:
        """Return the RPC URLs that are set: HELIUS_RPC_URL first, then SOLANA_RPC_URL."""
        return tuple(url for url in (self.helius_rpc_url, self.solana_rpc_url) if url)

    @property
    def rpc_ws_url(self) -> str:
        """Return SOLANA_WS_URL, or the WebSocket URL of the preferred RPC.

        The latter is its URL with ws for http and wss for https. The result is empty if no RPC is set.
        """
        return self.solana_ws_url or (self.rpc_urls[0].replace("http", "ws", 1) if self.rpc_urls else "")

    @property
    def is_local(self) -> bool:
        """Return whether this is a local stack (ZMART_ENV=local)."""
        return self.zmart_env == "local"

    @property
    def cluster(self) -> str:
        """Return the cluster's name in wallets and sign-in messages: localnet, devnet or mainnet."""
        return {"local": "localnet", "devnet": "devnet", "production": "mainnet"}[self.zmart_env]

    def require(self, name: str) -> str:
        """Return the text of a setting, also of a secret one.

        Raises SettingError, which names the setting, if it is empty.
        """
        text = self._text(name)
        if not text:
            raise SettingError(
                f"{name.upper()} is not set: put it into .env or the environment (see .env.example)."
            )
        return text

    def _text(self, name: str) -> str:
        value = getattr(self, name)
        return value.get_secret_value() if isinstance(value, SecretStr) else str(value or "")


def load_settings(**overrides: Any) -> Settings:  # noqa: ANN401  # pydantic checks the values
    """Return the settings from the environment and `.env`.

    Raises SettingError with one sentence about the first invalid setting, or if the file cannot be read.
    """
    try:
        if "_env_file" not in overrides:
            _check_file()
        return Settings(**overrides)
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8"
        raise SettingError(f"The settings file {_env_file()} cannot be read ({reason}).") from None
    except ValidationError as problem:
        first = problem.errors()[0]
        reason = first["msg"].removeprefix("Value error, ")
        wrong = f"{str(first['loc'][0]).upper()} is wrong: {reason}" if first["loc"] else reason
        raise SettingError(f"{wrong}. Fix it in .env or the environment.") from None


def _env_file() -> str:
    return os.environ.get("ZMART_ENV_FILE", ".env")


def _check_file() -> None:
    """Check the settings file, which would otherwise be ignored without a message.

    Raises OSError if ZMART_ENV_FILE names no file or the file exceeds 1 MB, and SettingError if it is not text.
    """
    path = Path(_env_file())
    if os.environ.get("ZMART_ENV_FILE") and S_ISDIR(path.stat().st_mode):
        raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
    # a pipe is skipped: it can be read only once
    if path.is_file() and b"\0" in read_at_most(path, _MOST_FILE_BYTES):
        raise SettingError(f"The settings file {path} holds the character NUL: save it as UTF-8 text.")


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the settings of this process, which are read once."""
    return load_settings()
