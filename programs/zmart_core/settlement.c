/* After the end: claim_winnings pays the holders, withdraw_liquidity pays the creator what no claim can need. */
#include "accounts.h"

static u64 winning_shares(const Market *market) {
  return market->final_outcome == OutcomeYes ? market->shares_yes : market->shares_no;
}

/* A winning unit pays one lamport. Without an outcome (INVALID) every unit of either side pays half. `closed` is what
 * the claim takes off the shares still open. */
static u64 price_claim(const Market *market, const Position *position, u64 *payout, u64 *closed) {
  if (market->final_outcome == OutcomeNone) {
    TRY(add(position->shares_yes, position->shares_no, closed));
    *payout = *closed / 2;
  } else {
    *closed = market->final_outcome == OutcomeYes ? position->shares_yes : position->shares_no;
    *payout = *closed;
  }
  REQUIRE(*payout > 0, ErrNoWinnings);
  return 0;
}

static u64 book_claim(Market *market, Position *position, u64 payout, u64 closed) {
  REQUIRE(market->current_liquidity >= payout, ErrInsufficientLiquidity);
  market->current_liquidity -= payout;
  TRY(add(market->claimed_shares, closed, &market->claimed_shares));
  position->has_claimed = 1;
  position->claimed_amount = payout;
  return 0;
}

/* The resolver is owed the reward from the first claim on; an INVALID resolution earns nothing. */
static u64 owe_reward(Market *market) {
  if (market->final_outcome == OutcomeNone) return 0;
  TRY(add(market->owed_resolver, market->accumulated_resolver_fees, &market->owed_resolver));
  market->accumulated_resolver_fees = 0;
  return 0;
}

static u64 emit_claim(const Account *account, const Market *market, const Position *position) {
  Event e;
  begin(&e, EventWinningsClaimed);
  put_Key(&e.w, account->key);
  put_Key(&e.w, &position->user);
  put_Outcome(&e.w, &market->final_outcome);
  put_u64(&e.w, &position->claimed_amount);
  return emit(&e, chain_time());
}

static NOINLINE u64 claim_winnings(Ctx *c) {
  Config config;
  Market market;
  Position position;
  u64 payout, closed;
  CHECK_ACCOUNTS(claim_winnings);
  const Account *account = ACCOUNT(claim_winnings, market), *user = ACCOUNT(claim_winnings, user);
  const Account *resolver = ACCOUNT(claim_winnings, resolver);
  TRY(load_config(c, claim_winnings_global_config, &config));
  TRY(load_market(c, claim_winnings_market, &market));
  TRY(load_position(c, claim_winnings_position, account, user, &position));

  REQUIRE(market.state == Finalized, ErrInvalidMarketState);
  REQUIRE(same_key(&position.user, user->key), ErrConstraintHasOne);
  REQUIRE(!position.has_claimed, ErrAlreadyClaimed);
  REQUIRE(same_key(&market.resolver, resolver->key), ErrInvalidResolver);
  REQUIRE(!market.is_locked, ErrReentrant);
  TRY(price_claim(&market, &position, &payout, &closed));
  TRY(book_claim(&market, &position, payout, closed));
  TRY(pay_out(account, user, payout));
  TRY(owe_reward(&market));
  settle_debts(c, account, &market);
  TRY(store_market(c, claim_winnings_market, &market));
  TRY(store_position(c, claim_winnings_position, &position));
  return emit_claim(account, &market, &position);
}

/* The lamports that claims to come may still ask for. */
static u64 open_claims(const Market *market, u64 *lamports) {
  u64 all;
  *lamports = 0;
  if (market->state == Cancelled) return 0; /* never traded */
  if (market->final_outcome != OutcomeNone) return sub(winning_shares(market), market->claimed_shares, lamports);
  TRY(add(market->shares_yes, market->shares_no, &all));
  TRY(sub(all, market->claimed_shares, &all));
  *lamports = all / 2 + all % 2;
  return 0;
}

/* The creator gets the resolver's fees when no claim can ever trigger their payment. */
static u64 take_lost_reward(Market *market) {
  int nobody_can_claim = market->final_outcome == OutcomeNone || winning_shares(market) == 0;
  u64 reward = nobody_can_claim ? market->accumulated_resolver_fees : 0;
  market->accumulated_resolver_fees -= reward;
  return reward;
}

static u64 free_liquidity(Market *market, u64 *lamports) {
  u64 reserved;
  TRY(open_claims(market, &reserved));
  REQUIRE(market->current_liquidity >= reserved, ErrInsufficientLiquidity);
  TRY(add(market->current_liquidity - reserved, market->accumulated_lp_fees, lamports));
  market->current_liquidity = reserved;
  market->accumulated_lp_fees = 0;
  return add(*lamports, take_lost_reward(market), lamports);
}

/* The creator gets what is free. Nothing free is an error, unless the call pays somebody's noted debt. */
static u64 withdraw_free(Ctx *c, Market *market, u64 *amount) {
  const Account *account = ACCOUNT(withdraw_liquidity, market);
  u64 owed = market->owed_resolver + market->owed_protocol;
  TRY(free_liquidity(market, amount));
  TRY(pay_out(account, ACCOUNT(withdraw_liquidity, creator), *amount));
  settle_debts(c, account, market);
  REQUIRE(*amount > 0 || market->owed_resolver + market->owed_protocol < owed, ErrInsufficientLiquidity);
  return 0;
}

/* Anybody else whom the market owes gets that, and needs nobody for it. */
static u64 withdraw_owed(Ctx *c, Market *market, u64 *amount) {
  const Key *wallet = ACCOUNT(withdraw_liquidity, creator)->key;
  *amount = owed_to(market, wallet);
  settle_debts(c, ACCOUNT(withdraw_liquidity, market), market);
  REQUIRE(!owed_to(market, wallet), ErrWouldBreakRentExemption);
  return 0;
}

/* May be repeated: later calls pay what became free since. Lamports that strangers sent to the account are in no book
 * and stay there, so that every amount can be recomputed from events. */
static NOINLINE u64 withdraw_liquidity(Ctx *c) {
  Market market;
  u64 amount;
  CHECK_ACCOUNTS(withdraw_liquidity);
  const Key *wallet = ACCOUNT(withdraw_liquidity, creator)->key;
  TRY(load_market(c, withdraw_liquidity_market, &market));
  int is_creator = same_key(&market.creator, wallet);
  REQUIRE(is_creator || owed_to(&market, wallet), ErrUnauthorized);
  REQUIRE(market.state == Finalized || market.state == Cancelled, ErrInvalidMarketState);
  TRY(is_creator ? withdraw_free(c, &market, &amount) : withdraw_owed(c, &market, &amount));
  TRY(store_market(c, withdraw_liquidity_market, &market));

  Event e;
  begin_for_market(&e, EventLiquidityWithdrawn, &market);
  put_Key(&e.w, wallet);
  put_u64(&e.w, &amount);
  return emit(&e, chain_time());
}
