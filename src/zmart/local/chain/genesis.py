"""Prepare a new local chain: deploy the program, initialize GlobalConfig, fund the wallets."""

from __future__ import annotations

import asyncio
import time
from importlib.resources import files

from solders.instruction import Instruction
from solders.keypair import Keypair

from zmart.chain import compose
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.local.chain.keys import ChainKeys
from zmart.market.types import LAMPORTS_PER_SOL, Address, Lamports, Wallet

FUNDS = {
    "admin": Lamports(1_000 * LAMPORTS_PER_SOL),
    "backend": Lamports(1_000 * LAMPORTS_PER_SOL),
    "fees": Lamports(1 * LAMPORTS_PER_SOL),
    "faucet": Lamports(1_000_000 * LAMPORTS_PER_SOL),
}
# In a program's data account the upgradeable loader stores slot and upgrade authority before the program's bytes.
PROGRAM_DATA_HEADER_BYTES = 45
CONFIRM_SECONDS = 20.0


def shipped_program() -> bytes:
    """Return the bytes (ELF) of the on-chain program that this package contains."""
    return files("zmart.chain.data").joinpath("zmart_core.so").read_bytes()


async def prepare_chain(rpc: Rpc, program: Program, keys: ChainKeys, elf: bytes) -> list[str]:
    """Deploy the program unless the chain has the bytes `elf`. Fund wallets and write GlobalConfig if that is missing.

    Returns a text for each step that was necessary, and stores the chain's state if there was any. Raises ChainError.
    """
    done: list[str] = []
    if await _deployed(rpc, program) != elf:
        await rpc.call("surfnet_writeProgram", [program.address, elf.hex(), 0])
        done.append(f"deployed the program {program.address}")
    if await rpc.get_account(program.addresses.global_config()) is None:
        for name, lamports in FUNDS.items():
            await fund(rpc, _wallet(getattr(keys, name)), lamports)
        await send(rpc, [_initialize(program, keys)], [keys.admin])
        done.append("initialized GlobalConfig")
    if done:
        await rpc.call("zmart_save")
    return done


async def fund(rpc: Rpc, wallet: Wallet, lamports: Lamports) -> None:
    """Set the balance of a wallet of the local chain to exactly `lamports`."""
    await rpc.call("surfnet_setAccount", [wallet, {"lamports": lamports}])


async def send(rpc: Rpc, instructions: list[Instruction], signers: list[Keypair]) -> None:
    """Send a transaction, whose fee the first signer pays, and wait until it is confirmed.

    Raises ChainError if it fails or is not confirmed within 20 s.
    """
    blockhash = (await rpc.get_latest_blockhash()).blockhash
    message = compose.compile(signers[0].pubkey(), instructions, blockhash)
    signature = await rpc.send_raw_transaction(bytes(compose.sign(message, signers)))
    deadline = time.monotonic() + CONFIRM_SECONDS
    while time.monotonic() < deadline:
        status = (await rpc.get_signature_statuses([signature])).values[0]
        if status is not None and status.err is not None:
            raise ChainError(f"The local chain refused {signature}: {status.err}")
        if status is not None and status.confirmation_status in ("confirmed", "finalized"):
            return
        await asyncio.sleep(0.02)
    raise ChainError(f"The local chain did not confirm {signature} in {CONFIRM_SECONDS:.0f} s.")


async def _deployed(rpc: Rpc, program: Program) -> bytes | None:
    from solders.pubkey import Pubkey

    code = await rpc.get_account(program.address)
    if code is None or len(code.data) < 36:
        return None
    holder = await rpc.get_account(Address(str(Pubkey.from_bytes(code.data[4:36]))))
    return holder.data[PROGRAM_DATA_HEADER_BYTES:] if holder is not None else None


def _initialize(program: Program, keys: ChainKeys) -> Instruction:
    return program.instructions.initialize_global_config(
        _wallet(keys.admin), _wallet(keys.backend), _wallet(keys.fees)
    )


def _wallet(keypair: Keypair) -> Wallet:
    return Wallet(str(keypair.pubkey()))
