"""Build the program's instructions, with one builder for each instruction.

The order and the flags of accounts come from the IDL; program addresses are derived. Addresses are base58 text. A CID
is exactly the 46 characters of a CIDv0. The builders raise Invalid, which names an argument that does not fit. They
raise ConfigError if the IDL in use names other accounts or arguments than this backend sends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from zmart.chain.addresses import Addresses, to_pubkey
from zmart.chain.borsh import StructCodec, compile_struct
from zmart.chain.idl import Idl, InstructionDef
from zmart.errors import ConfigError, DecodeError, Invalid
from zmart.market.identifiers import CID_V0_FORM
from zmart.market.types import Address, Bps, Lamports, MarketId, Shares, VoteKind, Wallet

_CID_V0 = re.compile(CID_V0_FORM)


class DecodedInstruction(msgspec.Struct, frozen=True):
    """Hold the name and the arguments of an instruction."""

    name: str
    args: dict[str, object]


class Instructions:
    """Build and decode the instructions of one program. Raises ConfigError for an unsupported type in the IDL."""

    def __init__(self, program_id: Pubkey, idl: Idl, addresses: Addresses) -> None:
        self._program_id = program_id
        self._addresses = addresses
        self._by_name: dict[str, tuple[InstructionDef, StructCodec]] = {
            name: (item, compile_struct(idl, name, item.args)) for name, item in idl.instructions.items()
        }
        self._by_discriminator = {item.discriminator: name for name, item in idl.instructions.items()}

    def initialize_global_config(
        self, admin: Wallet, backend_authority: Wallet, protocol_fee_wallet: Wallet
    ) -> Instruction:
        """Build the instruction that creates GlobalConfig."""
        return self._build(
            "initialize_global_config",
            {"admin": admin, "protocol_fee_wallet": protocol_fee_wallet, **self._config()},
            {"backend_authority": backend_authority},
        )

    def update_global_config(
        self,
        admin: Wallet,
        *,
        protocol_fee_bps: Bps,
        resolver_reward_bps: Bps,
        liquidity_provider_fee_bps: Bps,
        proposal_approval_threshold: Bps,
        dispute_success_threshold: Bps,
        min_resolution_delay: int | None = None,
        dispute_period: int | None = None,
    ) -> Instruction:
        """Build the instruction that changes GlobalConfig.

        The five values in basis points are always overwritten. A time, in seconds, that is None keeps its value.
        """
        return self._build(
            "update_global_config",
            {"admin": admin, **self._config()},
            {
                "protocol_fee_bps": protocol_fee_bps,
                "resolver_reward_bps": resolver_reward_bps,
                "liquidity_provider_fee_bps": liquidity_provider_fee_bps,
                "proposal_approval_threshold": proposal_approval_threshold,
                "dispute_success_threshold": dispute_success_threshold,
                "min_resolution_delay": min_resolution_delay,
                "dispute_period": dispute_period,
            },
        )

    def emergency_pause(self, admin: Wallet) -> Instruction:
        """Build the instruction that toggles the pause: a second one ends it."""
        return self._build("emergency_pause", {"admin": admin, **self._config()}, {})

    def create_market(
        self,
        creator: Wallet,
        market_id: MarketId,
        *,
        b_parameter: Shares,
        initial_liquidity: Lamports,
        ipfs_question_hash: str,
    ) -> Instruction:
        """Build the instruction that creates a market in state Proposed."""
        return self._build(
            "create_market",
            {"creator": creator, **self._market(market_id), **self._config()},
            {
                "market_id": market_id,
                "b_parameter": b_parameter,
                "initial_liquidity": initial_liquidity,
                "ipfs_question_hash": _cid("ipfs_question_hash", ipfs_question_hash),
            },
        )

    def submit_proposal_vote(self, user: Wallet, market_id: MarketId, vote: bool) -> Instruction:
        """Build the instruction that votes on a proposal on chain. `vote` true means like."""
        return self._vote("submit_proposal_vote", user, market_id, vote, VoteKind.PROPOSAL)

    def submit_dispute_vote(self, user: Wallet, market_id: MarketId, vote: bool) -> Instruction:
        """Build the instruction that votes on a dispute on chain.

        `vote` true means that the proposed outcome is wrong.
        """
        return self._vote("submit_dispute_vote", user, market_id, vote, VoteKind.DISPUTE)

    def aggregate_proposal_votes(
        self, backend_authority: Wallet, market_id: MarketId, likes: int, dislikes: int
    ) -> Instruction:
        """Build the instruction that records the counts of a proposal's vote."""
        return self._build(
            "aggregate_proposal_votes",
            {"backend_authority": backend_authority, **self._market(market_id), **self._config()},
            {"final_likes": likes, "final_dislikes": dislikes},
        )

    def aggregate_dispute_votes(
        self, backend_authority: Wallet, market_id: MarketId, agrees: int, disagrees: int
    ) -> Instruction:
        """Build the instruction that records the counts of a dispute's vote.

        Do not send it: both programs lose the outcome. A dispute that succeeds returns to Resolving with the rejected
        outcome, and one that fails is finalized without an outcome. finalize_market counts a dispute correctly.
        """
        return self._build(
            "aggregate_dispute_votes",
            {"backend_authority": backend_authority, **self._market(market_id), **self._config()},
            {"final_agrees": agrees, "final_disagrees": disagrees},
        )

    def approve_proposal(self, admin: Wallet, market_id: MarketId) -> Instruction:
        """Build the instruction that approves a proposal."""
        return self._build(
            "approve_proposal", {"admin": admin, **self._market(market_id), **self._config()}, {}
        )

    def activate_market(self, authority: Wallet, market_id: MarketId) -> Instruction:
        """Build the instruction that starts trading. `authority` is the admin or the creator."""
        return self._build(
            "activate_market", {"authority": authority, **self._market(market_id), **self._config()}, {}
        )

    def cancel_market(self, admin: Wallet, market_id: MarketId) -> Instruction:
        """Build the instruction that cancels a market that is not active yet."""
        return self._build("cancel_market", {"admin": admin, **self._market(market_id), **self._config()}, {})

    def buy_shares(
        self,
        user: Wallet,
        market_id: MarketId,
        protocol_fee_wallet: Wallet,
        *,
        outcome: bool,
        target_cost: Lamports,
        min_shares: Shares | None = None,
    ) -> Instruction:
        """Build the instruction that buys shares.

        `target_cost` is the most that the buyer pays, fees included; `min_shares` is the fewest shares that the buyer
        accepts. The interface has no argument for `min_shares`: it follows the arguments as eight bytes, which the
        program of this repository checks and v0.69 ignores.
        """
        bought = self._build(
            "buy_shares",
            {"protocol_fee_wallet": protocol_fee_wallet, **self._trader(user, market_id), **self._config()},
            {"outcome": outcome, "target_cost": target_cost},
        )
        if min_shares is None:
            return bought
        return Instruction(bought.program_id, bought.data + _u64("min_shares", min_shares), bought.accounts)

    def sell_shares(
        self,
        user: Wallet,
        market_id: MarketId,
        protocol_fee_wallet: Wallet,
        *,
        outcome: bool,
        shares_to_sell: Shares,
        min_proceeds: Lamports,
    ) -> Instruction:
        """Build the instruction that sells shares.

        `min_proceeds` is the least that the seller accepts, after fees.
        """
        return self._build(
            "sell_shares",
            {"protocol_fee_wallet": protocol_fee_wallet, **self._trader(user, market_id), **self._config()},
            {"outcome": outcome, "shares_to_sell": shares_to_sell, "min_proceeds": min_proceeds},
        )

    def resolve_market(
        self, resolver: Wallet, market_id: MarketId, *, proposed_outcome: bool, ipfs_evidence_hash: str
    ) -> Instruction:
        """Build the instruction that proposes an outcome, with the CID of its evidence."""
        return self._build(
            "resolve_market",
            {"resolver": resolver, **self._market(market_id), **self._config()},
            {
                "proposed_outcome": proposed_outcome,
                "ipfs_evidence_hash": _cid("ipfs_evidence_hash", ipfs_evidence_hash),
            },
        )

    def initiate_dispute(self, initiator: Wallet, market_id: MarketId) -> Instruction:
        """Build the instruction that disputes the proposed outcome."""
        return self._build(
            "initiate_dispute", {"initiator": initiator, **self._market(market_id), **self._config()}, {}
        )

    def finalize_market(
        self, backend_authority: Wallet, market_id: MarketId, dispute: tuple[int, int] | None = None
    ) -> Instruction:
        """Build the instruction that finalizes a market.

        `dispute` is (agree, disagree) for a market in state Disputed, and None for one in state Resolving.
        """
        agree, disagree = dispute if dispute else (None, None)
        return self._build(
            "finalize_market",
            {"backend_authority": backend_authority, **self._market(market_id), **self._config()},
            {"dispute_agree": agree, "dispute_disagree": disagree},
        )

    def claim_winnings(
        self, user: Wallet, market_id: MarketId, resolver: Wallet, creditors: Sequence[Wallet] = ()
    ) -> Instruction:
        """Build the instruction that claims a payout.

        `resolver` must be the one that the market's account names. `creditors` are passed after the interface's
        accounts: the program of this repository pays them what the market owes them, v0.69 ignores them.
        """
        claim = self._build(
            "claim_winnings",
            {"resolver": resolver, **self._trader(user, market_id), **self._config()},
            {},
        )
        return _with_accounts(claim, creditors)

    def withdraw_liquidity(
        self, creator: Wallet, market_id: MarketId, creditors: Sequence[Wallet] = ()
    ) -> Instruction:
        """Build the instruction that withdraws free liquidity.

        `creator` is the market's creator, or a wallet to which the market owes a debt. `creditors` are passed after the
        interface's accounts: the program of this repository pays them what the market owes them, v0.69 ignores them.
        """
        withdrawal = self._build("withdraw_liquidity", {"creator": creator, **self._market(market_id)}, {})
        return _with_accounts(withdrawal, creditors)

    def decode(self, data: bytes) -> DecodedInstruction:
        """Return the name and the arguments of instruction data.

        Bytes after the arguments are accepted, as the program accepts them. Raises DecodeError for another
        discriminator or malformed arguments.
        """
        name = self._by_discriminator.get(data[:8])
        if name is None:
            raise DecodeError(
                f"The discriminator {data[:8].hex()} is not an instruction of the program's IDL."
            )
        args, _end = self._by_name[name][1].read(data, 8)
        return DecodedInstruction(name, args)

    def account_of(self, name: str, account: str, accounts: Sequence[Address]) -> Address | None:
        """Return the address that a fetched instruction passes as `account`, or None if it passes too few.

        `name` is the instruction's name and `accounts` are its addresses in order.
        """
        for item, address in zip(self._by_name[name][0].accounts, accounts, strict=False):
            if item.name == account:
                return address
        return None

    def _config(self) -> dict[str, str]:
        return {"global_config": self._addresses.global_config()}

    def _market(self, market_id: MarketId) -> dict[str, str]:
        return {"market": self._addresses.market(market_id)}

    def _trader(self, user: Wallet, market_id: MarketId) -> dict[str, str]:
        market = self._addresses.market(market_id)
        return {"market": market, "position": self._addresses.position(market, user), "user": user}

    def _vote(self, name: str, user: Wallet, market_id: MarketId, vote: bool, kind: VoteKind) -> Instruction:
        market = self._addresses.market(market_id)
        record = self._addresses.vote_record(market, user, kind)
        return self._build(name, {"market": market, "vote_record": record, "user": user}, {"vote": vote})

    def _build(self, name: str, accounts: Mapping[str, str], args: Mapping[str, object]) -> Instruction:
        if name not in self._by_name:
            raise ConfigError(f"The IDL has no instruction {name}.")
        item, codec = self._by_name[name]
        expected = {account.name for account in item.accounts if account.address is None}
        if expected != accounts.keys() or {arg.name for arg in item.args} != args.keys():
            raise ConfigError(
                f"The IDL's {name} takes {sorted(expected)} and {[arg.name for arg in item.args]}, "
                f"not {sorted(accounts)} and {sorted(args)}; use the IDL of the deployed program."
            )
        metas = [
            AccountMeta(
                to_pubkey(account.address or accounts[account.name]), account.signer, account.writable
            )
            for account in item.accounts
        ]
        return Instruction(self._program_id, item.discriminator + codec.write(args), metas)


def _with_accounts(instruction: Instruction, wallets: Sequence[Wallet]) -> Instruction:
    metas = [AccountMeta(to_pubkey(wallet), is_signer=False, is_writable=True) for wallet in wallets]
    return Instruction(instruction.program_id, instruction.data, [*instruction.accounts, *metas])


def _u64(field: str, value: int) -> bytes:
    if not 0 <= value < 1 << 64:
        raise Invalid(field, f"{field} does not fit its type on chain: {value} is not a u64")
    return value.to_bytes(8, "little")


def _cid(field: str, text: str) -> str:
    if not _CID_V0.fullmatch(text):
        raise Invalid(field, f"{field} must be a CIDv0: the 46 characters of 'Qm...'; a CIDv1 does not fit.")
    return text
