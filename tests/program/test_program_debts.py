"""A resolver or fee wallet that cannot be paid blocks nobody: its debt is noted and paid later (case A19)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from borsh_oracle import encode_account
from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM
from svm_chain import PROGRAM, SOL, SPACES, Chain, NamedKey, ProgramFailed, refused
from svm_harness import Market, Zmart

CLOCK = Pubkey.from_string("SysvarC1ock11111111111111111111111111111111")
NATIVE_LOADER = Pubkey.from_string("NativeLoader1111111111111111111111111111111")
FOREIGN = Pubkey.from_bytes(b"\x07" * 32)
SMALL = SOL // 200
"""The cost of a small trade in lamports. Its protocol fee and the resolver's reward are far below the rent exemption
of an account without data."""


def never_funded(chain: Chain, key: Pubkey) -> None:
    chain.put(key, b"", lamports=0, owner=SYSTEM)


def below_rent(chain: Chain, key: Pubkey) -> None:
    chain.put(key, b"", lamports=1, owner=SYSTEM)


def with_data_below_rent(chain: Chain, key: Pubkey) -> None:
    chain.put(key, bytes(300), lamports=SOL // 1000, owner=FOREIGN)


def executable(chain: Chain, key: Pubkey) -> None:
    chain.svm.set_account(key, Account(SOL, b"named", NATIVE_LOADER, executable=True))


UNPAYABLE = [never_funded, below_rent, with_data_below_rent, executable]
Unpayable = Callable[[Chain, Pubkey], None]


def fund(zmart: Zmart, key: Pubkey) -> None:
    zmart.chain.put(key, b"", lamports=SOL, owner=SYSTEM)


def traded(zmart: Zmart, lamports: int = SMALL) -> tuple[Market, list[Keypair]]:
    """Open a market in which three users buy YES, each for `lamports`; return the market and the users."""
    market, users = zmart.open(), [zmart.chain.wallet() for _ in range(3)]
    for user in users:
        zmart.buy(market, user, True, lamports)
    return market, users


def ended(zmart: Zmart, unpayable: Unpayable) -> tuple[Market, list[Keypair], Keypair, int]:
    """Finalize the market of `traded` as YES, then make its resolver unpayable.

    Returns the market, its users, the resolver and the resolver's reward in lamports.
    """
    market, users = traded(zmart)
    resolver = zmart.chain.wallet()
    zmart.finish(market, resolver, True)
    unpayable(zmart.chain, resolver.pubkey())
    return market, users, resolver, zmart.market(market)["accumulated_resolver_fees"]


@pytest.mark.parametrize("unpayable", UNPAYABLE)
def test_a_resolver_that_cannot_be_paid_blocks_no_claim_and_gets_it_with_a_later_one(
    zmart: Zmart, unpayable: Unpayable
) -> None:
    """A19: a reward that the resolver's wallet cannot receive, for any reason, is noted; a later claim pays it."""
    market, [first, second, third], resolver, reward = ended(zmart, unpayable)
    held = zmart.chain.lamports(resolver.pubkey())
    for user in (first, second):
        shares = zmart.position(market, user)["shares_yes"]
        before = zmart.chain.lamports(user.pubkey())
        assert zmart.claim(market, user).event["amount"] == shares
        assert zmart.chain.lamports(user.pubkey()) - before == shares
        assert zmart.owed(market) == (reward, 0)
        assert zmart.market(market)["accumulated_resolver_fees"] == 0
        assert zmart.chain.lamports(resolver.pubkey()) == held
        zmart.books_hold(market)
    zmart.withdraw(market)
    zmart.books_hold(market)
    assert zmart.owed(market) == (reward, 0)
    fund(zmart, resolver.pubkey())
    zmart.claim(market, third)
    assert zmart.chain.lamports(resolver.pubkey()) == SOL + reward
    assert zmart.owed(market) == (0, 0)
    zmart.books_hold(market)


def test_a_resolver_without_lamports_is_paid_a_reward_that_makes_its_account(zmart: Zmart) -> None:
    """The balance after the payment has to reach the rent exemption, so an empty wallet can get a large reward."""
    market, users = traded(zmart, 10 * SOL)
    resolver = zmart.chain.wallet()
    zmart.finish(market, resolver, True)
    never_funded(zmart.chain, resolver.pubkey())
    reward = zmart.market(market)["accumulated_resolver_fees"]
    zmart.claim(market, users[0])
    assert zmart.chain.lamports(resolver.pubkey()) == reward
    assert zmart.owed(market) == (0, 0)


def test_a_reward_exactly_at_the_rent_exemption_is_paid_and_one_below_is_noted(zmart: Zmart) -> None:
    least = zmart.chain.svm.minimum_balance_for_rent_exemption(0)
    for missing in (0, 1):
        market, [user, *_], resolver, reward = ended(zmart, never_funded)
        zmart.chain.put(resolver.pubkey(), b"", lamports=least - reward - missing, owner=SYSTEM)
        zmart.claim(market, user)
        assert zmart.owed(market) == (reward * missing, 0)
        zmart.books_hold(market)


@pytest.mark.parametrize("owner", [FOREIGN, PROGRAM], ids=["another program's", "this program's"])
def test_an_account_of_a_program_is_paid_as_any_other_if_it_can_be(zmart: Zmart, owner: Pubkey) -> None:
    market, [user, *_], resolver, reward = ended(zmart, never_funded)
    zmart.chain.put(resolver.pubkey(), bytes(300), lamports=SOL, owner=owner)
    zmart.claim(market, user)
    assert zmart.chain.lamports(resolver.pubkey()) == SOL + reward
    assert zmart.owed(market) == (0, 0)


def test_a_resolver_takes_its_reward_itself_when_all_claims_are_over(zmart: Zmart) -> None:
    """A19: after all other payments, the resolver calls withdraw_liquidity in the creator's place and is paid."""
    market, users, resolver, reward = ended(zmart, never_funded)
    for user in users:
        zmart.claim(market, user)
    zmart.withdraw(market)
    with refused("WouldBreakRentExemption"):
        zmart.withdraw(market, resolver)
    fund(zmart, resolver.pubkey())
    event = zmart.withdraw(market, resolver).event
    assert (event["creator"], event["amount"]) == (resolver.pubkey(), reward)
    assert zmart.chain.lamports(resolver.pubkey()) == SOL + reward
    zmart.books_hold(market)
    with refused("Unauthorized"):
        zmart.withdraw(market, resolver)


def test_who_is_owed_takes_nothing_that_is_the_creators(zmart: Zmart) -> None:
    market, users, resolver, reward = ended(zmart, never_funded)
    with refused("Unauthorized"):
        zmart.withdraw(market, resolver)
    zmart.claim(market, users[0])
    fund(zmart, resolver.pubkey())
    before = zmart.market(market)
    zmart.withdraw(market, resolver)
    after = zmart.market(market)
    for name in ("current_liquidity", "accumulated_lp_fees"):
        assert before[name] == after[name]
    assert zmart.chain.lamports(resolver.pubkey()) == SOL + reward
    with refused("Unauthorized"):
        zmart.withdraw(market, users[0])


def test_the_creator_can_pay_a_debt_after_everything_else_is_withdrawn(zmart: Zmart) -> None:
    market, users, resolver, reward = ended(zmart, never_funded)
    for user in users:
        zmart.claim(market, user)
    zmart.withdraw(market, also=[resolver.pubkey()])
    with refused("InsufficientLiquidity"):
        zmart.withdraw(market, also=[resolver.pubkey()])
    fund(zmart, resolver.pubkey())
    with refused("InsufficientLiquidity"):
        zmart.withdraw(market)
    assert zmart.withdraw(market, also=[resolver.pubkey()]).event["amount"] == 0
    assert zmart.chain.lamports(resolver.pubkey()) == SOL + reward
    zmart.books_hold(market)


def test_a_creator_who_is_the_resolver_gets_both(zmart: Zmart) -> None:
    market, users = traded(zmart)
    creator = market.creator
    zmart.finish(market, creator, True)
    never_funded(zmart.chain, creator.pubkey())
    for user in users:
        zmart.claim(market, user)
    (reward, _), free = zmart.owed(market), zmart.market(market)["current_liquidity"]
    lp = zmart.market(market)["accumulated_lp_fees"]
    assert zmart.withdraw(market).event["amount"] == free + lp
    assert zmart.chain.lamports(creator.pubkey()) == free + lp + reward


@pytest.mark.parametrize("unpayable", UNPAYABLE)
def test_a_fee_wallet_that_cannot_be_paid_blocks_no_trade_and_gets_all_with_a_later_one(
    zmart: Zmart, unpayable: Unpayable
) -> None:
    """A19: a fee wallet that cannot be paid blocks neither buys nor sales; a later trade pays its noted fees."""
    unpayable(zmart.chain, zmart.fee_wallet)
    held = zmart.chain.lamports(zmart.fee_wallet)
    market, [user, *_] = traded(zmart)
    zmart.sell(market, user, True, zmart.position(market, user)["shares_yes"])
    fees = zmart.market(market)["accumulated_protocol_fees"]
    assert zmart.owed(market) == (0, fees)
    assert zmart.chain.lamports(zmart.fee_wallet) == held
    zmart.books_hold(market)
    fund(zmart, zmart.fee_wallet)
    zmart.buy(market, user, False, SMALL)
    assert zmart.owed(market) == (0, 0)
    assert zmart.chain.lamports(zmart.fee_wallet) == SOL + zmart.market(market)["accumulated_protocol_fees"]
    zmart.books_hold(market)


def test_fees_add_up_until_they_make_the_fee_wallets_account(zmart: Zmart) -> None:
    """A fee wallet without lamports is paid once the noted fees reach the rent exemption of an account."""
    never_funded(zmart.chain, zmart.fee_wallet)
    least = zmart.chain.svm.minimum_balance_for_rent_exemption(0)
    market, user = zmart.open(), zmart.chain.wallet()
    for _ in range(20):
        zmart.buy(market, user, True, SMALL // 2)
        fees = zmart.market(market)["accumulated_protocol_fees"]
        paid = zmart.chain.lamports(zmart.fee_wallet)
        assert zmart.owed(market) == (0, fees - paid)
        assert fees - paid < least
        zmart.books_hold(market)
    assert paid >= least


@pytest.mark.parametrize("key", [SYSTEM, PROGRAM, CLOCK], ids=["system program", "this program", "sysvar"])
def test_a_fee_wallet_that_no_transaction_may_write_blocks_no_trade(key: Pubkey) -> None:
    """A19: the runtime removes the writable flag of programs and sysvars; the fees of such a wallet stay noted."""
    zmart = Zmart(roles={"fee_wallet": NamedKey(key)})
    market, [user, *_] = traded(zmart)
    zmart.sell(market, user, True, zmart.position(market, user)["shares_yes"])
    assert zmart.owed(market) == (0, zmart.market(market)["accumulated_protocol_fees"])
    zmart.books_hold(market)
    zmart.finish(market, user, False)
    zmart.withdraw(market, also=[key])
    zmart.books_hold(market)


@pytest.mark.parametrize("how", ["claim", "withdrawal", "its own withdrawal"])
def test_fees_owed_at_the_end_are_paid_by_claims_and_withdrawals(how: str) -> None:
    """A finalized market has no trades, so claims and withdrawals pay the fee wallet."""
    fee_wallet = Keypair()
    zmart = Zmart(roles={"fee_wallet": fee_wallet})
    market, users = traded(zmart)
    zmart.finish(market, users[1], True)
    _, fees = zmart.owed(market)
    assert fees == zmart.market(market)["accumulated_protocol_fees"] > 0
    zmart.claim(market, users[0], also=[fee_wallet.pubkey()])
    zmart.withdraw(market)
    assert zmart.owed(market) == (0, fees)
    fund(zmart, fee_wallet.pubkey())
    if how == "claim":
        zmart.claim(market, users[1], also=[fee_wallet.pubkey()])
    elif how == "withdrawal":
        zmart.withdraw(market, also=[fee_wallet.pubkey()])
    else:
        event = zmart.withdraw(market, fee_wallet).event
        assert (event["creator"], event["amount"]) == (fee_wallet.pubkey(), fees)
    assert zmart.chain.lamports(fee_wallet.pubkey()) == SOL + fees
    assert zmart.owed(market) == (0, 0)
    zmart.books_hold(market)


def test_a_fee_wallet_that_is_the_resolver_is_owed_both_and_takes_both() -> None:
    wallet = Keypair()
    zmart = Zmart(roles={"fee_wallet": wallet})
    market, users = traded(zmart)
    zmart.finish(market, wallet, True)
    state = zmart.market(market)
    for user in users:
        zmart.claim(market, user)
    owed = (state["accumulated_resolver_fees"], state["accumulated_protocol_fees"])
    assert zmart.owed(market) == owed
    assert 0 not in owed
    fund(zmart, wallet.pubkey())
    assert zmart.withdraw(market, wallet).event["amount"] == sum(owed)
    assert zmart.owed(market) == (0, 0)
    zmart.books_hold(market)


def test_a_fee_wallet_that_is_the_market_itself_blocks_nothing(zmart: Zmart) -> None:
    """If the fee wallet is the market's own account, the fees stay there as extra lamports, outside of the books."""
    market, user = zmart.open(), zmart.chain.wallet()
    config = zmart.chain.read("GlobalConfig", zmart.config) | {"protocol_fee_wallet": market.key}
    zmart.chain.put(zmart.config, encode_account("GlobalConfig", config, SPACES["GlobalConfig"]))
    zmart.fee_wallet = market.key
    zmart.buy(market, user, True, SOL)
    gift = zmart.market(market)["accumulated_protocol_fees"]
    zmart.change_market(market, lamports=zmart.chain.lamports(market.key) - gift)
    zmart.books_hold(market)


def test_another_account_is_never_paid_anothers_debt(zmart: Zmart) -> None:
    market, users, _, reward = ended(zmart, never_funded)
    thief = zmart.chain.wallet()
    before = zmart.chain.lamports(thief.pubkey())
    zmart.claim(market, users[0], also=[thief.pubkey(), users[1].pubkey()])
    zmart.withdraw(market, also=[thief.pubkey()])
    assert zmart.chain.lamports(thief.pubkey()) == before
    assert zmart.owed(market) == (reward, 0)


def test_a_claimers_own_wallet_is_its_own_matter(zmart: Zmart) -> None:
    """A claim fails if the claiming user's own wallet cannot receive the payout; others can still claim."""
    market, [user, other, _], _, _ = ended(zmart, never_funded)
    sold = zmart.position(market, user)["shares_yes"]
    zmart.change_position(market, user, shares_yes=1)
    zmart.change_market(market, shares_yes=zmart.market(market)["shares_yes"] - sold + 1)
    never_funded(zmart.chain, user.pubkey())
    with pytest.raises(ProgramFailed):
        zmart.claim(market, user)
    zmart.claim(market, other)
