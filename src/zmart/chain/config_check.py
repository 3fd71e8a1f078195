"""Check the program on chain before a service that signs starts; each failure is one sentence."""

from __future__ import annotations

from solders.pubkey import Pubkey

from zmart.chain import absence
from zmart.chain.accounts import GlobalConfig
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.errors import ChainError, ConfigError, DecodeError


async def check_program(
    rpc: Rpc, program: Program, *, backend: Pubkey | None = None, admin: Pubkey | None = None
) -> GlobalConfig:
    """Check the program and its GlobalConfig, and return GlobalConfig.

    The program must be executable. GlobalConfig must exist, belong to the program, and name `backend` as
    backend_authority and `admin` as admin; a key that is None is not checked. Raises ConfigError if a check fails, and
    ChainError if the RPC fails.
    """
    config_address = program.addresses.global_config()
    try:
        code, info = await absence.accounts([rpc], [program.address, config_address])
    except ChainError as error:
        raise ChainError(
            f"{error} Check SOLANA_RPC_URL and HELIUS_RPC_URL, and that the node runs."
        ) from error
    if code is None or not code.executable:
        raise ConfigError(
            f"There is no program at {program.address} on this cluster; "
            "check SOLANA_PROGRAM_ID_CORE and SOLANA_RPC_URL."
        )
    if info is None:
        raise ConfigError(
            f"The program {program.address} has no GlobalConfig at {config_address}; "
            "its admin must send initialize_global_config first."
        )
    if info.owner != program.address:
        raise ConfigError(
            f"GlobalConfig {config_address} is owned by {info.owner}, not by the program {program.address}."
        )
    try:
        config = program.accounts.global_config(info)
    except DecodeError as error:
        raise ConfigError(f"GlobalConfig cannot be read with this IDL: {error}") from error
    _same(backend, config.backend_authority, "backend key", "backend_authority")
    _same(admin, config.admin, "admin key", "admin")
    return config


def _same(key: Pubkey | None, named: str, ours: str, field: str) -> None:
    if key is not None and str(key) != named:
        raise ConfigError(f"The {ours} is {key}, but GlobalConfig names {named} as {field}; use that key.")
