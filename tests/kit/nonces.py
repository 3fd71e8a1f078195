"""Durable nonces on the local chain."""

from __future__ import annotations

from secrets import token_hex

from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.system_program import (
    AdvanceNonceAccountParams,
    WithdrawNonceAccountParams,
    advance_nonce_account,
    create_nonce_account,
    withdraw_nonce_account,
)
from solders.transaction import VersionedTransaction

from kit.waiting import until
from zmart.chain.compose import memo
from zmart.chain.rpc import Rpc
from zmart.local.chain.genesis import fund, send
from zmart.market.types import Address, Lamports, Wallet

LAMPORTS = 2_000_000


class Nonce:
    """A nonce account and the wallet that is its authority."""

    def __init__(self, rpc: Rpc) -> None:
        self.rpc, self.owner, self.account = rpc, Keypair(), Keypair()

    async def create(self) -> Nonce:
        await fund(self.rpc, Wallet(str(self.owner.pubkey())), Lamports(10**12))
        made = create_nonce_account(self.owner.pubkey(), self.account.pubkey(), self.owner.pubkey(), LAMPORTS)
        await send(self.rpc, list(made), [self.owner, self.account])
        await self._next_block()
        return self

    async def _next_block(self) -> None:
        """Wait for a further block: in one block a nonce can only advance once, and not be closed after that."""
        before = (await self.rpc.get_block_height("processed")).height

        async def made() -> bool:
            return (await self.rpc.get_block_height("processed")).height > before

        await until(made)

    async def value(self) -> Hash:
        info = await self.rpc.get_account(Address(str(self.account.pubkey())))
        assert info is not None
        return Hash.from_bytes(info.data[40:72])

    def advancing(self) -> Instruction:
        return advance_nonce_account(
            AdvanceNonceAccountParams(
                nonce_pubkey=self.account.pubkey(), authorized_pubkey=self.owner.pubkey()
            )
        )

    async def signed(self, *instructions: Instruction, value: Hash | None = None) -> VersionedTransaction:
        value = value or await self.value()
        message = MessageV0.try_compile(self.owner.pubkey(), [self.advancing(), *instructions], [], value)
        return VersionedTransaction(message, [self.owner])

    async def advance(self) -> None:
        """Advance the nonce by a transaction of its own, so that transactions with the present value become invalid."""
        raw = bytes(await self.signed(memo(token_hex(8))))
        signature = await self.rpc.send_raw_transaction(raw)

        async def landed() -> bool:
            return (await self.rpc.get_signature_statuses([signature])).values[0] is not None

        await until(landed)
        await self._next_block()

    async def close(self) -> None:
        params = WithdrawNonceAccountParams(
            nonce_pubkey=self.account.pubkey(),
            authorized_pubkey=self.owner.pubkey(),
            to_pubkey=self.owner.pubkey(),
            lamports=LAMPORTS,
        )
        await send(self.rpc, [withdraw_nonce_account(params)], [self.owner])
