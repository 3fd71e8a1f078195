"""Attacks on a market's debts: to be paid too much, to withhold others' payments, to erase a debt (case A19)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from borsh_oracle import encode_account
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.rent import Rent
from solders.system_program import ID as SYSTEM
from solders.system_program import TransferParams, transfer
from svm_chain import PROGRAM, SOL, SPACES, ProgramFailed, Wallet, position_address, refused
from svm_harness import Market, Zmart

SMALL = SOL // 100
"""The cost of a small trade in lamports. Its protocol fee (272,727 lamports) and the resolver's reward (181,818) are
below the rent exemption of an account without data."""
GETS_DEFAULT_UNITS = 200_000


class Scene:
    """A finalized market (YES by default) in which `holder` has claimed and `late` has not.

    The resolver and the fee wallet start without lamports, so that small debts to them are noted, not paid. With
    `one_wallet` both are the same wallet. `trades` is the number of buys, the first of which is by `late`.
    """

    def __init__(self, outcome: bool | None = True, *, one_wallet: bool = False, trades: int = 2) -> None:
        self.fee_wallet = Keypair()
        self.resolver = self.fee_wallet if one_wallet else Keypair()
        self.zmart = Zmart(roles={"fee_wallet": self.fee_wallet})
        self.chain = self.zmart.chain
        self.market = self.zmart.open()
        self.holder, self.late = self.chain.wallet(), self.chain.wallet()
        self.zmart.buy(self.market, self.late, True, SMALL)
        for _ in range(trades - 1):
            self.zmart.buy(self.market, self.holder, True, SMALL)
        self.fees = self.zmart.market(self.market)["accumulated_protocol_fees"]
        self.reward = self.zmart.market(self.market)["accumulated_resolver_fees"]
        self.zmart.finish(self.market, self.resolver, outcome)
        self.zmart.claim(self.market, self.holder)

    @property
    def owed(self) -> tuple[int, int]:
        return self.zmart.owed(self.market)

    def put(self, key: Pubkey, lamports: int) -> None:
        self.chain.put(key, b"", lamports=lamports, owner=SYSTEM)

    def withdrawal(self, signer: Wallet, *also: AccountMeta) -> Instruction:
        built = self.zmart.build("withdraw_liquidity", market=self.market.key, creator=signer.pubkey())
        return Instruction(built.program_id, built.data, [*built.accounts, *also])

    def claim(self, *also: AccountMeta) -> Instruction:
        accounts = self.zmart.position_accounts(self.market, self.late)
        built = self.zmart.build("claim_winnings", resolver=self.resolver.pubkey(), **accounts)
        return Instruction(built.program_id, built.data, [*built.accounts, *also])


STRANGERS: dict[str, Callable[[Scene], Wallet]] = {
    "a stranger": lambda s: s.chain.wallet(),
    "a winner": lambda s: s.late,
    "the admin": lambda s: s.zmart.admin,
    "the backend": lambda s: s.zmart.backend,
    "another market's creator": lambda s: s.zmart.open(creator=s.chain.wallet()).creator,
}


@pytest.mark.parametrize("who", STRANGERS)
def test_a_wallet_that_is_not_owed_takes_nothing_and_is_no_occasion(who: str) -> None:
    """withdraw_liquidity signed by a wallet that is owed nothing pays nobody, even with the creditors' accounts."""
    scene = Scene()
    thief, owed = STRANGERS[who](scene), scene.owed
    for key in (scene.resolver, scene.fee_wallet):
        scene.put(key.pubkey(), SOL)
    with refused("Unauthorized"):
        scene.zmart.withdraw(scene.market, thief, also=[scene.resolver.pubkey(), scene.fee_wallet.pubkey()])
    assert scene.owed == owed == (scene.reward, scene.fees)


@pytest.mark.parametrize("name", ["resolver", "fee_wallet"])
def test_a_creditor_gets_its_own_debt_and_not_the_others(name: str) -> None:
    scene = Scene()
    wallet = getattr(scene, name)
    scene.put(wallet.pubkey(), SOL)
    amount = scene.zmart.withdraw(scene.market, wallet).event["amount"]
    left = {"resolver": (0, scene.fees), "fee_wallet": (scene.reward, 0)}[name]
    assert scene.owed == left
    assert (
        scene.chain.lamports(wallet.pubkey()) == SOL + amount == SOL + scene.reward + scene.fees - sum(left)
    )
    with refused("Unauthorized"):
        scene.zmart.withdraw(scene.market, wallet)
    scene.zmart.books_hold(scene.market)


@pytest.mark.parametrize("name", ["resolver", "fee_wallet"])
@pytest.mark.parametrize("place", ["creator", "behind", "market"])
def test_nobody_withdraws_in_the_name_of_another(name: str, place: str) -> None:
    """A creditor's withdrawal needs the creditor's own signature, wherever its unsigned account is put."""
    scene = Scene()
    key, thief = getattr(scene, name).pubkey(), scene.chain.wallet()
    scene.put(key, SOL)
    forged = scene.withdrawal(thief, AccountMeta(key, False, True))
    accounts = list(forged.accounts)
    if place == "creator":
        accounts[1] = AccountMeta(key, False, True)
    elif place == "market":
        accounts[0] = AccountMeta(key, False, True)
    error = {"creator": "AccountNotSigner", "behind": "Unauthorized", "market": "AccountOwnedByWrongProgram"}
    with refused(error[place]):
        scene.chain.send(Instruction(PROGRAM, forged.data, accounts), signers=[thief] * (place != "creator"))
    assert scene.owed == (scene.reward, scene.fees)


def test_a_forged_market_account_pays_nobody() -> None:
    """A copy of a market's account at another address is refused, whichever program owns it."""
    scene = Scene()
    thief = scene.chain.wallet()
    state = scene.zmart.market(scene.market)
    reserved = state["reserved"][:24] + bytes(thief.pubkey()) + state["reserved"][56:]
    data = encode_account("MarketAccount", state | {"reserved": reserved}, SPACES["MarketAccount"])
    for owner, error in ((PROGRAM, "ConstraintSeeds"), (SYSTEM, "AccountOwnedByWrongProgram")):
        fake = Pubkey.new_unique()
        scene.chain.put(fake, data, lamports=SOL, owner=owner)
        built = scene.zmart.build("withdraw_liquidity", market=fake, creator=thief.pubkey())
        with refused(error):
            scene.chain.send(built, signers=[thief])


@pytest.mark.parametrize("order", ["claim first", "withdrawal first", "twice", "both at once"])
def test_no_debt_is_paid_twice_in_one_transaction(order: str) -> None:
    """A resolver that one transaction lists many times, in two instructions, is paid once, or the transaction fails."""
    scene = Scene()
    key = scene.resolver.pubkey()
    scene.put(key, SOL)
    after = AccountMeta(key, False, True)
    claim, own = scene.claim(after, after), scene.withdrawal(scene.resolver, after, after)
    steps = {
        "claim first": [claim, own],
        "withdrawal first": [own, claim],
        "twice": [own, own],
        "both at once": [scene.withdrawal(scene.market.creator, after, after), claim],
    }[order]
    signers = {
        "claim first": [scene.late, scene.resolver],
        "withdrawal first": [scene.late, scene.resolver],
        "twice": [scene.resolver],
        "both at once": [scene.market.creator, scene.late],
    }[order]
    if order in ("claim first", "twice"):
        with refused("Unauthorized"):
            scene.chain.send(*steps, signers=signers)
        assert scene.owed == (scene.reward, scene.fees)
    else:
        scene.chain.send(*steps, signers=signers)
        assert scene.owed == (0, scene.fees)
        assert scene.chain.lamports(key) == SOL + scene.reward
    scene.zmart.books_hold(scene.market)


def test_a_wallet_that_is_owed_twice_too_little_for_an_account_gets_both_at_once() -> None:
    """The debts to one wallet are paid as one sum: each alone is below the rent exemption, the sum is not."""
    scene = Scene(one_wallet=True, trades=3)
    least = scene.chain.svm.minimum_balance_for_rent_exemption(0)
    assert max(scene.reward, scene.fees) < least <= scene.reward + scene.fees
    assert scene.owed == (0, 0)
    assert scene.chain.lamports(scene.resolver.pubkey()) == scene.reward + scene.fees
    scene.zmart.books_hold(scene.market)


@pytest.mark.parametrize("small", [0, 1], ids=["reward", "fees"])
def test_one_of_two_debts_that_is_too_small_alone_does_not_hold_up_the_other(small: int) -> None:
    """A wallet gets both of its debts, whichever of the two (reward or fees) is too small to be paid alone."""
    scene = Scene(one_wallet=True)
    least = scene.chain.svm.minimum_balance_for_rent_exemption(0)
    reserved = scene.zmart.market(scene.market)["reserved"]
    owed = [least, least]
    owed[small] = 1
    notes = b"".join(debt.to_bytes(8, "little") for debt in owed)
    added = sum(owed) - sum(scene.owed)
    lamports = scene.chain.lamports(scene.market.key) + added
    scene.zmart.change_market(scene.market, lamports=lamports, reserved=reserved[:8] + notes + reserved[24:])
    assert scene.zmart.withdraw(scene.market, scene.resolver).event["amount"] == least + 1
    assert scene.owed == (0, 0)
    scene.zmart.books_hold(scene.market)


def test_a_wallet_without_lamports_fetches_its_debt_with_a_loan_in_one_transaction() -> None:
    """A transfer before the withdrawal lends the wallet its rent exemption; a transfer after it pays the loan back."""
    scene = Scene()
    friend, key = scene.chain.wallet(), scene.resolver.pubkey()
    least = scene.chain.svm.minimum_balance_for_rent_exemption(0)
    lend = transfer(TransferParams(from_pubkey=friend.pubkey(), to_pubkey=key, lamports=least))
    back = transfer(TransferParams(from_pubkey=key, to_pubkey=friend.pubkey(), lamports=least + scene.reward))
    scene.chain.send(lend, scene.withdrawal(scene.resolver), back, signers=[friend, scene.resolver])
    assert scene.owed == (0, scene.fees)
    assert scene.chain.lamports(key) == 0
    assert scene.chain.lamports(friend.pubkey()) == 1_000 * SOL + scene.reward


def test_the_creators_withdrawal_leaves_exactly_the_debts_and_the_open_claims() -> None:
    scene = Scene()
    scene.zmart.withdraw(scene.market)
    open_claims = scene.zmart.position(scene.market, scene.late)["shares_yes"]
    rent = scene.chain.svm.minimum_balance_for_rent_exemption(SPACES["MarketAccount"])
    assert scene.chain.lamports(scene.market.key) == rent + open_claims + scene.reward + scene.fees
    with refused("InsufficientLiquidity"):
        scene.zmart.withdraw(scene.market)
    scene.zmart.claim(scene.market, scene.late)
    assert scene.chain.lamports(scene.market.key) == rent + scene.reward + scene.fees


def test_the_last_debt_leaves_exactly_the_rent_of_the_market() -> None:
    """If the rent has risen, a payment out of the market's rent exemption is refused, and the debt stays noted."""
    scene = Scene()
    scene.zmart.claim(scene.market, scene.late)
    scene.zmart.withdraw(scene.market)
    for wallet in (scene.resolver, scene.fee_wallet):
        scene.put(wallet.pubkey(), SOL)
    now = scene.chain.svm.get_rent()
    scene.chain.svm.set_rent(Rent.with_lamports_per_byte(2 * now.lamports_per_byte))
    for wallet in (scene.resolver, scene.fee_wallet):
        with pytest.raises(ProgramFailed):
            scene.zmart.withdraw(scene.market, wallet)
    assert scene.owed == (scene.reward, scene.fees)
    scene.chain.svm.set_rent(now)
    scene.zmart.withdraw(scene.market, scene.fee_wallet, also=[scene.resolver.pubkey()])
    assert scene.owed == (0, 0)
    rent = scene.chain.svm.minimum_balance_for_rent_exemption(SPACES["MarketAccount"])
    assert scene.chain.lamports(scene.market.key) == rent


@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
def test_an_invalid_market_owes_the_fees_and_no_reward(paused: bool) -> None:
    """The creator gets the resolver's fees of an INVALID market. A paused protocol pays out in the same way."""
    scene = Scene(outcome=None)
    if paused:
        scene.zmart.pause()
    assert scene.owed == (0, scene.fees)
    scene.put(scene.resolver.pubkey(), SOL)
    with refused("Unauthorized"):
        scene.zmart.withdraw(scene.market, scene.resolver)
    free = scene.zmart.market(scene.market)["accumulated_lp_fees"] + scene.reward
    before = scene.zmart.market(scene.market)["current_liquidity"]
    event = scene.zmart.withdraw(scene.market, also=[scene.resolver.pubkey()]).event
    assert event["amount"] == free + before - scene.zmart.market(scene.market)["current_liquidity"]
    assert scene.owed == (0, scene.fees)
    scene.zmart.claim(scene.market, scene.late)
    scene.put(scene.fee_wallet.pubkey(), SOL)
    assert scene.zmart.withdraw(scene.market, scene.fee_wallet).event["amount"] == scene.fees
    assert scene.chain.lamports(scene.resolver.pubkey()) == SOL
    scene.zmart.books_hold(scene.market)


def test_a_market_without_winners_gives_the_reward_once_and_to_the_creator() -> None:
    scene = Scene()
    zmart, resolver = scene.zmart, scene.chain.wallet()
    market = zmart.open()
    zmart.buy(market, scene.late, True, SMALL)
    zmart.finish(market, resolver, False)
    free = sum(
        zmart.market(market)[name]
        for name in ("current_liquidity", "accumulated_lp_fees", "accumulated_resolver_fees")
    )
    assert zmart.withdraw(market, also=[resolver.pubkey()]).event["amount"] == free
    assert zmart.owed(market)[0] == 0
    with refused("Unauthorized"):
        zmart.withdraw(market, resolver)


def test_a_cancelled_or_open_market_pays_no_creditor() -> None:
    """The fee wallet cannot withdraw from an open market, where trades pay it. A cancelled market owes it nothing."""
    scene = Scene()
    zmart = scene.zmart
    scene.put(scene.fee_wallet.pubkey(), 0)
    market = zmart.open()
    zmart.buy(market, scene.late, True, SMALL)
    scene.put(scene.fee_wallet.pubkey(), SOL)
    with refused("InvalidMarketState"):
        zmart.withdraw(market, scene.fee_wallet)
    cancelled = zmart.create()
    zmart.cancel(cancelled)
    for wallet in (scene.fee_wallet, scene.resolver):
        with refused("Unauthorized"):
            zmart.withdraw(cancelled, wallet, also=[SYSTEM])
    assert zmart.withdraw(cancelled, also=[scene.fee_wallet.pubkey(), SYSTEM]).event["amount"] == 10 * SOL


def test_a_market_made_by_the_program_before_debts_goes_on() -> None:
    """A market from before the program noted debts owes nobody. Its next trade notes the fee wallet."""
    scene = Scene()
    zmart = scene.zmart
    scene.put(scene.fee_wallet.pubkey(), SOL)
    market, user, resolver = zmart.open(), scene.chain.wallet(), scene.chain.wallet()
    for traded_since in (False, True):
        zmart.buy(market, user, True, SMALL)
        zmart.change_market(market, reserved=bytes(119))
        if traded_since:
            scene.put(scene.fee_wallet.pubkey(), 0)
            zmart.buy(market, user, True, SMALL)
            assert zmart.market(market)["reserved"][24:56] == bytes(scene.fee_wallet.pubkey())
            assert zmart.owed(market)[1] > 0
        zmart.books_hold(market)
    zmart.finish(market, resolver, True)
    zmart.claim(market, user, also=[SYSTEM])
    zmart.withdraw(market, also=[SYSTEM])
    zmart.books_hold(market)


@pytest.mark.parametrize("extra", [10, 30], ids=["as many as it looks at", "more"])
def test_a_crowd_of_accounts_neither_exhausts_the_units_nor_pays_twice(extra: int) -> None:
    """A claim that lists the resolver 10 or 30 times more pays it once, and uses few compute units."""
    scene = Scene()
    key = scene.resolver.pubkey()
    scene.put(key, SOL)
    sent = scene.chain.send(scene.claim(*[AccountMeta(key, False, True)] * extra), signers=[scene.late])
    assert sent.units < GETS_DEFAULT_UNITS // 4
    assert scene.chain.lamports(key) == SOL + scene.reward
    scene.zmart.books_hold(scene.market)


def test_a_crowd_behind_a_buy_changes_nothing_of_it() -> None:
    """A buy that lists each of its accounts twice more moves the same lamports: cost, position rent and fees."""
    scene = Scene()
    market, user = scene.zmart.open(), scene.late
    scene.put(scene.fee_wallet.pubkey(), SOL)
    args = {"outcome": True, "target_cost": SMALL}
    built = scene.zmart.build("buy_shares", args, **scene.zmart.position_accounts(market, user))
    crowd = [AccountMeta(meta.pubkey, False, True) for meta in built.accounts] * 2
    before = scene.chain.lamports(user.pubkey())
    sent = scene.chain.send(Instruction(PROGRAM, built.data, [*built.accounts, *crowd]), signers=[user])
    position = scene.chain.lamports(position_address(market.key, user.pubkey()))
    assert before - scene.chain.lamports(user.pubkey()) == sent.event["cost"] + position
    fees = scene.zmart.market(market)["accumulated_protocol_fees"]
    assert scene.chain.lamports(scene.fee_wallet.pubkey()) == SOL + fees
    scene.zmart.books_hold(market)


def test_a_read_only_creditor_is_noted_again_and_fails_nobody() -> None:
    scene = Scene()
    for wallet in (scene.resolver, scene.fee_wallet):
        scene.put(wallet.pubkey(), SOL)
    scene.chain.send(
        scene.withdrawal(
            scene.market.creator,
            AccountMeta(scene.fee_wallet.pubkey(), False, False),
            AccountMeta(scene.resolver.pubkey(), False, False),
        ),
        signers=[scene.market.creator],
    )
    assert scene.owed == (scene.reward, scene.fees)


def test_many_small_fees_add_up_exactly_and_hold_up_no_trade() -> None:
    """Sixty very small trades with a fee wallet that cannot be paid all succeed; the noted debt is the sum of fees."""
    fee_wallet = Keypair()
    zmart = Zmart(roles={"fee_wallet": fee_wallet})
    market, user = zmart.open(), zmart.chain.wallet()
    for number in range(60):
        sent = zmart.buy(market, user, bool(number % 2), 20_000)
        assert sent.units < 60_000
    assert zmart.owed(market) == (0, zmart.market(market)["accumulated_protocol_fees"])
    zmart.books_hold(market)


def test_a_changed_fee_wallet_gets_what_is_owed_and_the_old_one_no_more() -> None:
    """No instruction changes the fee wallet. The test writes a new one: the next trade pays it the whole debt."""
    scene = Scene()
    zmart, old, new = scene.zmart, scene.fee_wallet, Keypair()
    scene.put(old.pubkey(), 0)
    market: Market = zmart.open()
    zmart.buy(market, scene.late, True, SMALL)
    owed = zmart.owed(market)[1]
    config = scene.chain.read("GlobalConfig", zmart.config) | {"protocol_fee_wallet": new.pubkey()}
    scene.chain.put(zmart.config, encode_account("GlobalConfig", config, SPACES["GlobalConfig"]))
    scene.put(old.pubkey(), SOL)
    with refused("Unauthorized"):
        zmart.buy(market, scene.late, True, SMALL)
    zmart.fee_wallet = new.pubkey()
    scene.put(new.pubkey(), SOL)
    zmart.buy(market, scene.late, True, SMALL)
    assert scene.chain.lamports(old.pubkey()) == SOL
    assert scene.chain.lamports(new.pubkey()) == SOL + zmart.market(market)["accumulated_protocol_fees"]
    assert owed > 0
    zmart.books_hold(market)


def test_a_position_of_another_or_of_another_market_claims_nothing() -> None:
    scene = Scene()
    other = scene.zmart.open()
    scene.zmart.buy(other, scene.late, True, SMALL)
    owed = scene.owed
    for user, market in ((scene.holder, scene.market), (scene.late, other)):
        claim = scene.claim()
        accounts = list(claim.accounts)
        accounts[2] = AccountMeta(position_address(market.key, user.pubkey()), False, True)
        with refused("ConstraintSeeds"):
            scene.chain.send(Instruction(PROGRAM, claim.data, accounts), signers=[scene.late])
    assert scene.owed == owed


@pytest.mark.parametrize("name", ["sell_shares", "claim_winnings", "withdraw_liquidity"])
@pytest.mark.parametrize("length", [7, 8, 9])
def test_eight_bytes_behind_another_instruction_than_a_buy_mean_nothing(name: str, length: int) -> None:
    """A20: only buy_shares reads a bound after its arguments; other instructions ignore extra bytes."""
    scene = Scene()
    zmart = scene.zmart
    signer: Wallet = scene.late
    if name == "sell_shares":
        market = zmart.open()
        zmart.buy(market, scene.late, True, SOL)
        args = {"outcome": True, "shares_to_sell": SOL // 2, "min_proceeds": 1}
        built = zmart.build(name, args, **zmart.position_accounts(market, scene.late))
    elif name == "claim_winnings":
        built = scene.claim()
    else:
        signer = scene.market.creator
        built = scene.withdrawal(signer)
    longer = Instruction(PROGRAM, built.data + b"\xff" * length, built.accounts)
    scene.chain.send(longer, signers=[signer])
