"""Bundle the on-chain program's address, IDL, derived addresses, codecs and errors."""

from __future__ import annotations

from collections.abc import Sequence

from solders.pubkey import Pubkey

from zmart.chain import program_errors
from zmart.chain.accounts import AccountCodec
from zmart.chain.addresses import Addresses
from zmart.chain.events import EventCodec
from zmart.chain.idl import Idl, load_idl
from zmart.chain.instructions import Instructions
from zmart.errors import ProgramError, SettingError
from zmart.market.types import Address
from zmart.settings import Settings


class Program:
    """Bundle one on-chain program.

    The constructor raises ConfigError if this backend cannot serve its IDL.
    """

    def __init__(self, program_id: Pubkey, idl: Idl) -> None:
        self.id = program_id
        self.address = Address(str(program_id))
        self.idl = idl
        self.addresses = Addresses(program_id)
        self.events = EventCodec(idl)
        self.accounts = AccountCodec(self.address, idl)
        self.instructions = Instructions(program_id, idl, self.addresses)

    @classmethod
    def from_settings(cls, settings: Settings) -> Program:
        """Build the program of SOLANA_PROGRAM_ID_CORE and SOLANA_IDL_PATH.

        Raises SettingError for an invalid setting, and ConfigError if this backend cannot serve the IDL.
        """
        try:
            program_id = Pubkey.from_string(settings.solana_program_id_core)
        except ValueError as error:
            raise SettingError(
                "SOLANA_PROGRAM_ID_CORE must be the base58 address of the deployed program."
            ) from error
        return cls(program_id, load_idl(settings.solana_idl_path))

    def is_named_in(self, raw: bytes) -> bool:
        """Return whether a transaction's JSON names the program anywhere."""
        return self.address.encode() in raw

    def error(self, code: int) -> ProgramError:
        """Return the program's error for a custom error code."""
        return program_errors.named(self.idl, code)

    def transaction_error(self, err: object, logs: Sequence[str] = ()) -> ProgramError:
        """Return the error of a failed transaction or simulation.

        An error of the runtime has the code -1. The logs tell which program failed first.
        """
        return program_errors.from_transaction(self.idl, err, logs)
