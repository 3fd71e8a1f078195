"""Call the instructions of a deployed program: one method for each, with its usual accounts and signer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from borsh_oracle import INSTRUCTIONS, Values, encode_account
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM
from svm_chain import (
    CID,
    DAY,
    DISPUTE_PERIOD,
    EVIDENCE,
    SOL,
    SPACES,
    Chain,
    Sent,
    Wallet,
    config_address,
    instruction,
    market_address,
    position_address,
    vote_address,
)

_numbers = count(1)

Extra = Pubkey | AccountMeta


@dataclass
class Market:
    id: bytes
    creator: Wallet
    b: int
    deposit: int

    @property
    def key(self) -> Pubkey:
        return market_address(self.id)


class Zmart:
    """A deployed and initialized program, with one method for each instruction.

    A method fills in the instruction's usual accounts. Its `signer`, where it has one, replaces the usual signer.
    """

    def __init__(self, chain: Chain | None = None, roles: dict[str, Wallet] | None = None) -> None:
        self.chain = chain or Chain()
        given = roles or {}
        self.admin = given.get("admin") or self.chain.wallet()
        self.backend = given.get("backend") or self.chain.wallet()
        self.creator = given.get("creator") or self.chain.wallet(10_000_000)
        self.fee_wallet = (given.get("fee_wallet") or self.chain.wallet(1)).pubkey()
        self.config = config_address()
        self.initialized = self.initialize(self.admin)

    def initialize(self, admin: Wallet) -> Sent:
        args = {"backend_authority": self.backend.pubkey()}
        return self._run("initialize_global_config", admin, args, admin=admin.pubkey())

    def build(self, name: str, args: Values | None = None, **accounts: Pubkey) -> Instruction:
        usual = {
            "global_config": self.config,
            "protocol_fee_wallet": self.fee_wallet,
            "system_program": SYSTEM,
        }
        return instruction(name, usual | accounts, **(args or {}))

    def _run(self, name: str, signer: Wallet, args: Values | None = None, **accounts: Pubkey) -> Sent:
        return self.chain.send(self.build(name, args, **accounts), signers=[signer])

    # --- settings

    def update_config(self, signer: Wallet | None = None, **changes: Any) -> Sent:
        admin = signer or self.admin
        current = self.chain.read("GlobalConfig", self.config)
        names = [argument["name"] for argument in INSTRUCTIONS["update_global_config"]["args"]]
        args = {name: current[name] for name in names} | changes
        return self._run("update_global_config", admin, args, admin=admin.pubkey())

    def pause(self, signer: Wallet | None = None) -> Sent:
        admin = signer or self.admin
        return self._run("emergency_pause", admin, admin=admin.pubkey())

    # --- a market's way to being open

    def create(self, b: int = 10 * SOL, deposit: int | None = None, creator: Wallet | None = None) -> Market:
        market_id = next(_numbers).to_bytes(32, "big")
        market = Market(market_id, creator or self.creator, b, b if deposit is None else deposit)
        self.create_sent(market)
        return market

    def create_sent(self, market: Market) -> Sent:
        args = {"market_id": market.id, "b_parameter": market.b, "initial_liquidity": market.deposit}
        args["ipfs_question_hash"] = CID
        accounts = {"creator": market.creator.pubkey(), "market": market.key}
        return self._run("create_market", market.creator, args, **accounts)

    def vote(self, market: Market, user: Wallet, vote: bool, *, dispute: bool = False) -> Sent:
        name = "submit_dispute_vote" if dispute else "submit_proposal_vote"
        record = vote_address(market.key, user.pubkey(), int(dispute))
        return self._run(
            name, user, {"vote": vote}, market=market.key, vote_record=record, user=user.pubkey()
        )

    def aggregate_proposal(
        self, market: Market, likes: int, dislikes: int, signer: Wallet | None = None
    ) -> Sent:
        authority = signer or self.backend
        args = {"final_likes": likes, "final_dislikes": dislikes}
        accounts = {"market": market.key, "backend_authority": authority.pubkey()}
        return self._run("aggregate_proposal_votes", authority, args, **accounts)

    def approve(self, market: Market, signer: Wallet | None = None) -> Sent:
        admin = signer or self.admin
        return self._run("approve_proposal", admin, admin=admin.pubkey(), market=market.key)

    def activate(self, market: Market, signer: Wallet | None = None) -> Sent:
        authority = signer or market.creator
        return self._run("activate_market", authority, authority=authority.pubkey(), market=market.key)

    def cancel(self, market: Market, signer: Wallet | None = None) -> Sent:
        admin = signer or self.admin
        return self._run("cancel_market", admin, admin=admin.pubkey(), market=market.key)

    def open(self, b: int = 10 * SOL, deposit: int | None = None, creator: Wallet | None = None) -> Market:
        """Create a market and take it to the state Active."""
        market = self.create(b, deposit, creator)
        self.aggregate_proposal(market, 7, 3)
        self.approve(market)
        self.activate(market)
        return market

    # --- trades

    def buy(
        self, market: Market, user: Wallet, outcome: bool, target_cost: int, min_shares: int | None = None
    ) -> Sent:
        """Buy shares for `target_cost` lamports; `min_shares` is appended to the IDL's arguments as eight bytes."""
        args = {"outcome": outcome, "target_cost": target_cost}
        built = self.build("buy_shares", args, **self.position_accounts(market, user))
        bound = b"" if min_shares is None else min_shares.to_bytes(8, "little")
        bounded = Instruction(built.program_id, built.data + bound, built.accounts)
        return self.chain.send(bounded, signers=[user])

    def sell(self, market: Market, user: Wallet, outcome: bool, shares: int, min_proceeds: int = 0) -> Sent:
        args = {"outcome": outcome, "shares_to_sell": shares, "min_proceeds": min_proceeds}
        return self._run("sell_shares", user, args, **self.position_accounts(market, user))

    def position_accounts(self, market: Market, user: Wallet) -> dict[str, Pubkey]:
        position = position_address(market.key, user.pubkey())
        return {"market": market.key, "position": position, "user": user.pubkey()}

    # --- resolution, dispute, settlement

    def resolve(self, market: Market, resolver: Wallet, outcome: bool) -> Sent:
        args = {"proposed_outcome": outcome, "ipfs_evidence_hash": EVIDENCE}
        return self._run("resolve_market", resolver, args, market=market.key, resolver=resolver.pubkey())

    def dispute(self, market: Market, initiator: Wallet) -> Sent:
        return self._run("initiate_dispute", initiator, market=market.key, initiator=initiator.pubkey())

    def aggregate_dispute(
        self, market: Market, agrees: int, disagrees: int, signer: Wallet | None = None
    ) -> Sent:
        authority = signer or self.backend
        args = {"final_agrees": agrees, "final_disagrees": disagrees}
        accounts = {"market": market.key, "backend_authority": authority.pubkey()}
        return self._run("aggregate_dispute_votes", authority, args, **accounts)

    def finalize(
        self,
        market: Market,
        agree: int | None = None,
        disagree: int | None = None,
        signer: Wallet | None = None,
    ) -> Sent:
        authority = signer or self.backend
        args = {"dispute_agree": agree, "dispute_disagree": disagree}
        accounts = {"market": market.key, "backend_authority": authority.pubkey()}
        return self._run("finalize_market", authority, args, **accounts)

    def claim(
        self, market: Market, user: Wallet, resolver: Pubkey | None = None, also: Sequence[Extra] = ()
    ) -> Sent:
        """Claim a user's winnings. `also` are accounts after those of the IDL; a Pubkey becomes a writable one."""
        to = resolver or self.market(market)["resolver"]
        built = self.build("claim_winnings", resolver=to, **self.position_accounts(market, user))
        return self.chain.send(_with_accounts(built, also), signers=[user])

    def withdraw(self, market: Market, signer: Wallet | None = None, also: Sequence[Extra] = ()) -> Sent:
        creator = signer or market.creator
        built = self.build("withdraw_liquidity", market=market.key, creator=creator.pubkey())
        return self.chain.send(_with_accounts(built, also), signers=[creator])

    def finish(self, market: Market, resolver: Wallet, outcome: bool | None) -> None:
        """Take an Active market to Finalized with this outcome. None is INVALID, which a lost dispute leads to."""
        self.chain.wait(DAY)
        self.resolve(market, resolver, bool(outcome))
        self.chain.wait(1)
        if outcome is None:
            self.dispute(market, resolver)
            self.aggregate_dispute(market, 1, 9)
        else:
            self.chain.wait(DISPUTE_PERIOD)
            self.finalize(market)

    # --- reading

    def market(self, market: Market) -> Values:
        return self.chain.read("MarketAccount", market.key)

    def position(self, market: Market, user: Wallet) -> Values:
        return self.chain.read("UserPosition", position_address(market.key, user.pubkey()))

    def claimed_shares(self, market: Market) -> int:
        return int.from_bytes(self.market(market)["reserved"][:8], "little")

    def change_market(self, market: Market, /, lamports: int | None = None, **changes: Any) -> None:
        """Write fields directly into a market's account, for states that no sequence of instructions reaches."""
        held = self.chain.lamports(market.key) if lamports is None else lamports
        data = encode_account("MarketAccount", self.market(market) | changes, SPACES["MarketAccount"])
        self.chain.put(market.key, data, lamports=held)

    def change_position(self, market: Market, user: Wallet, /, **changes: Any) -> None:
        key = position_address(market.key, user.pubkey())
        data = encode_account("UserPosition", self.position(market, user) | changes, SPACES["UserPosition"])
        self.chain.put(key, data)

    def owed(self, market: Market) -> tuple[int, int]:
        """Return the debts in lamports that the market has noted: to the resolver, to the protocol's fee wallet."""
        reserved = self.market(market)["reserved"]
        return int.from_bytes(reserved[8:16], "little"), int.from_bytes(reserved[16:24], "little")

    def books_hold(self, market: Market) -> None:
        """Assert that a market's lamports are exactly rent + pool + fees not yet due + debts that could not be paid."""
        state = self.market(market)
        rent = self.chain.svm.minimum_balance_for_rent_exemption(SPACES["MarketAccount"])
        fees = state["accumulated_resolver_fees"] + state["accumulated_lp_fees"]
        expected = rent + state["current_liquidity"] + fees + sum(self.owed(market))
        assert self.chain.lamports(market.key) == expected


def _with_accounts(instruction: Instruction, extra: Sequence[Extra]) -> Instruction:
    metas = [item if isinstance(item, AccountMeta) else AccountMeta(item, False, True) for item in extra]
    return Instruction(instruction.program_id, instruction.data, [*instruction.accounts, *metas])
