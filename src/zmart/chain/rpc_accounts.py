"""Decode accounts in the form in which an RPC sends them."""

from __future__ import annotations

import base64

import msgspec

from zmart.chain.accounts import AccountInfo
from zmart.errors import DecodeError
from zmart.market.types import Address, Lamports


class RpcAccount(msgspec.Struct):
    """Hold an account in the encoding base64. The response does not name its address, which the request gave."""

    lamports: Lamports
    owner: Address
    data: tuple[str, str]
    executable: bool = False

    def info(self, address: Address) -> AccountInfo:
        """Return the account with its address and its data as bytes. Raises DecodeError."""
        try:
            data = base64.b64decode(self.data[0], validate=True)
        except ValueError as error:
            raise DecodeError(f"The RPC did not send the data of {address} in base64.") from error
        return AccountInfo(
            address=address, owner=self.owner, lamports=self.lamports, data=data, executable=self.executable
        )


class KeyedAccount(msgspec.Struct):
    """Hold one entry of getProgramAccounts: an account and its address."""

    pubkey: Address
    account: RpcAccount


def info_of(address: Address, account: RpcAccount | None) -> AccountInfo | None:
    """Return the account as AccountInfo, or None if it does not exist.

    Raises DecodeError if its data is not base64.
    """
    return account.info(address) if account else None
