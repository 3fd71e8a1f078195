"""Make and read a signed list of wallets, for the rule `listed`. Format: docs/votes.md."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import msgspec
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from zmart.errors import Invalid
from zmart.ipfs.cid import cid_of
from zmart.ipfs.multiformats import parse_cid
from zmart.market.identifiers import ADDRESS_FORM, SIGNATURE_FORM
from zmart.market.types import Address, Wallet
from zmart.proofs.signatures import signed_text

MAX_WALLETS = 100_000
MAX_BYTES = 5 * 1024 * 1024
_FORM = re.compile(
    rf"ZMART voter list 1\nprogram: (?P<program>{ADDRESS_FORM})\nwallets: (?P<count>\d{{1,6}})\n"
    rf"sha256: (?P<digest>[0-9a-f]{{64}})\nsigner: (?P<signer>{ADDRESS_FORM})\n"
    rf"signature: (?P<signature>{SIGNATURE_FORM})\n(?P<wallets>(?:{ADDRESS_FORM}\n)+)",
    re.ASCII,
)


class VoterList(msgspec.Struct, frozen=True, kw_only=True):
    """A list of wallets, in ascending order and each once, with the signature of `signer` over `text`.

    `parse_list` accepts only a signer that GlobalConfig names.
    """

    program: Address
    wallets: tuple[Wallet, ...]
    signer: Wallet
    signature: str

    @property
    def lines(self) -> str:
        """The wallets as text, one in each line."""
        return "".join(f"{wallet}\n" for wallet in self.wallets)

    @property
    def text(self) -> str:
        """The text that the signer signs.

        It contains a hash of the wallets instead of the wallets, so that it is short enough for any wallet to sign.
        """
        digest = hashlib.sha256(self.lines.encode()).hexdigest()
        return f"ZMART voter list 1\nprogram: {self.program}\nwallets: {len(self.wallets)}\nsha256: {digest}"

    def encode(self) -> bytes:
        """Return the bytes of the list's file, whose CID the rule names."""
        return f"{self.text}\nsigner: {self.signer}\nsignature: {self.signature}\n{self.lines}".encode()

    @property
    def cid(self) -> str:
        """The CID (version 1) of the encoded list."""
        return cid_of(self.encode(), 1)


def sign_list(program: Address, wallets: Iterable[str], signer: Keypair) -> VoterList:
    """Return the signed list of these wallets, each once.

    Raises Invalid("wallets") for an invalid address, for no wallets, or for more than MAX_WALLETS.
    """
    chosen = tuple(sorted({_checked(wallet) for wallet in wallets}))
    if not 1 <= len(chosen) <= MAX_WALLETS:
        raise Invalid("wallets", f"A list holds 1 to {MAX_WALLETS} wallets; these are {len(chosen)}.")
    key = Wallet(str(signer.pubkey()))
    unsigned = VoterList(program=program, wallets=chosen, signer=key, signature="")
    signature = str(signer.sign_message(unsigned.text.encode()))
    return msgspec.structs.replace(unsigned, signature=signature)


def parse_list(raw: bytes, cid: str, program: Address, signers: Iterable[Wallet]) -> VoterList:
    """Return the list in `raw`, whose CID is `cid`, after checking that it is for `program` and signed.

    The signer must be one of `signers`, GlobalConfig's backend authority or admin. Raises Invalid with the reason.
    """
    if len(raw) > MAX_BYTES:
        raise Invalid("list", f"The list {cid} is larger than {MAX_BYTES} bytes.")
    if cid_of(raw, parse_cid(cid).version) != cid:
        raise Invalid("list", f"These bytes are not those of {cid}.")
    voter_list = _read(raw)
    if voter_list.program != program:
        raise Invalid("list", f"The list {cid} is for program {voter_list.program}.")
    if voter_list.signer not in set(signers):
        raise Invalid(
            "list",
            f"The list {cid} is signed by {voter_list.signer}, which GlobalConfig names neither as backend authority "
            "nor as admin.",
        )
    if not signed_text(voter_list.signer, voter_list.text, voter_list.signature, program):
        raise Invalid("list", f"The signature of the list {cid} is not that of {voter_list.signer}.")
    return voter_list


def _read(raw: bytes) -> VoterList:
    try:
        form = _FORM.fullmatch(raw.decode("ascii"))
    except UnicodeDecodeError:
        form = None
    if form is None:
        raise Invalid("list", "These bytes are no ZMART voter list (see docs/votes.md).")
    voter_list = VoterList(
        program=Address(form["program"]),
        wallets=tuple(Wallet(line) for line in form["wallets"].splitlines()),
        signer=Wallet(form["signer"]),
        signature=form["signature"],
    )
    ordered = all(a < b for a, b in zip(voter_list.wallets, voter_list.wallets[1:], strict=False))
    if not ordered or len(voter_list.wallets) > MAX_WALLETS or voter_list.encode() != raw:
        raise Invalid("list", "The list's wallets are not as its head says: in ascending order, each once.")
    return voter_list


def _checked(wallet: str) -> Wallet:
    try:
        return Wallet(str(Pubkey.from_string(wallet.strip())))
    except ValueError:
        raise Invalid("wallets", f"{wallet.strip()[:60]!r} is no wallet's address.") from None
