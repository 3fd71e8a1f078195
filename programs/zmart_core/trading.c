/* buy_shares and sell_shares. The pool (current_liquidity) moves by exactly C(after) - C(before); fees never enter it. */
#include "accounts.h"
#include "math.h"

enum { SMALLEST_TRADE = 10000 }; /* lamports */

typedef struct { u64 protocol, resolver, lp, total; } Fees;

static u64 fee_bps(const Config *config) {
  return (u64)config->protocol_fee_bps + config->resolver_reward_bps + config->liquidity_provider_fee_bps;
}

/* The total is rounded once, then split; the LP share takes what the two other roundings left. */
static u64 split_fees(const Config *config, u64 amount, Fees *fees) {
  u64 bps = fee_bps(config), product;
  TRY(muldiv(amount, bps, 1, &product)); /* v0.69 refuses a product beyond 64 bits, so must we */
  fees->total = product / BPS;
  fees->protocol = bps ? fees->total * config->protocol_fee_bps / bps : 0;
  fees->resolver = bps ? fees->total * config->resolver_reward_bps / bps : 0;
  fees->lp = fees->total - fees->protocol - fees->resolver;
  return 0;
}

/* The protocol's fee is owed from here on: whoever books it settles the debts before the market is stored. */
static u64 book_fees(Market *market, const Fees *fees) {
  TRY(add(market->owed_protocol, fees->protocol, &market->owed_protocol));
  TRY(add(market->accumulated_protocol_fees, fees->protocol, &market->accumulated_protocol_fees));
  TRY(add(market->accumulated_resolver_fees, fees->resolver, &market->accumulated_resolver_fees));
  return add(market->accumulated_lp_fees, fees->lp, &market->accumulated_lp_fees);
}

static u64 *market_side(Market *market, Flag yes) { return yes ? &market->shares_yes : &market->shares_no; }
static u64 *position_side(Position *position, Flag yes) { return yes ? &position->shares_yes : &position->shares_no; }

static u64 check_protocol(const Config *config, const Account *fee_wallet, Market *market) {
  REQUIRE(same_key(fee_wallet->key, &config->protocol_fee_wallet), ErrUnauthorized);
  REQUIRE(!config->is_paused, ErrProtocolPaused);
  market->fee_wallet = *fee_wallet->key;
  return 0;
}

static u64 count_trade(Position *position, i64 now) {
  REQUIRE(position->trades_count < 0xffffffffU, ErrOverflowError);
  position->trades_count++;
  position->last_trade_at = now;
  return 0;
}

typedef struct { Flag outcome; u64 shares, lamports; i64 at; } Trade;

static u64 emit_trade(u64 event, const Market *market, const Key *user, const Trade *trade) {
  Event e;
  u64 price;
  TRY(lmsr_price_yes(market->shares_yes, market->shares_no, market->b_parameter, &price));
  begin_for_market(&e, event, market);
  put_Key(&e.w, user);
  put_Flag(&e.w, &trade->outcome);
  put_u64(&e.w, &trade->shares);
  put_u64(&e.w, &trade->lamports);
  put_u64(&e.w, &price);
  return emit(&e, trade->at);
}

/* --- buy ---------------------------------------------------------------------------------------------------- */

static u64 make_position(Ctx *c, const Account *market, const Account *account, const Account *user, Position *position) {
  const Bytes seeds[] = {SEED("position"), {market->key, 32}, {user->key, 32}, {&position->bump, 1}};
  const SignerSeeds signer = {seeds, 4};
  sol_memset_(position, 0, sizeof *position);
  TRY(find_address(c, account, seeds, 4));
  TRY(create_account(c, user, account, &signer, POSITION_SPACE));
  position->market = *market->key;
  position->user = *user->key;
  return 0;
}

/* The buyer's position, made on the first buy. */
static NOINLINE u64 open_position(Ctx *c, Position *position) {
  const Account *market = ACCOUNT(buy_shares, market), *user = ACCOUNT(buy_shares, user);
  const Account *account = ACCOUNT(buy_shares, position);
  if (same_key(account->owner, &SYSTEM_PROGRAM)) return make_position(c, market, account, user, position);
  TRY(check_owned(c, account, AccountUserPosition));
  TRY(load_position(c, buy_shares_position, market, user, position));
  REQUIRE(same_key(&position->market, market->key), ErrInvalidMarketId);
  REQUIRE(same_key(&position->user, user->key), ErrUnauthorized);
  return 0;
}

/* The most shares that `most` lamports buy, fees included. */
static u64 price_buy(const Config *config, Market *market, u64 most, Trade *trade, u64 *cost) {
  u64 side = *market_side(market, trade->outcome), other = *market_side(market, !trade->outcome);
  u64 before_fees, bought[2];
  TRY(muldiv(most, BPS, BPS + fee_bps(config), &before_fees));
  TRY(lmsr_buy(side, other, market->b_parameter, before_fees, bought));
  REQUIRE(bought[0] > 0 && bought[1] > 0, ErrTradeTooSmall);
  trade->shares = bought[0];
  *cost = bought[1];
  return 0;
}

static u64 book_buy(Market *market, Position *position, const Trade *trade, u64 cost, const Fees *fees) {
  u64 *of_market = market_side(market, trade->outcome), *of_user = position_side(position, trade->outcome);
  TRY(add(*of_market, trade->shares, of_market));
  TRY(add(*of_user, trade->shares, of_user));
  TRY(add(market->current_liquidity, cost, &market->current_liquidity));
  TRY(add(market->total_volume, trade->lamports, &market->total_volume));
  TRY(add(position->total_invested, trade->lamports, &position->total_invested));
  TRY(book_fees(market, fees));
  return count_trade(position, trade->at);
}

/* Bytes behind the arguments are ignored, as Anchor ignores them, but for exactly eight: the fewest shares that the
 * buyer accepts, which the interface has no argument for. */
static u64 fewest_shares(Reader *args) {
  u64 fewest = 0;
  if (args->end - args->at == sizeof fewest) take_u64(args, &fewest);
  return fewest;
}

static NOINLINE u64 buy_shares(Ctx *c) {
  Config config;
  Market market;
  Position position;
  Fees fees;
  Trade trade;
  u64 target_cost, min_shares, cost;
  Reader args = ARGUMENTS(c);
  take_Flag(&args, &trade.outcome);
  take_u64(&args, &target_cost);
  min_shares = fewest_shares(&args);
  REQUIRE_DECODED(args);
  CHECK_ACCOUNTS(buy_shares);
  TRY(load_config(c, buy_shares_global_config, &config));
  TRY(load_market(c, buy_shares_market, &market));
  TRY(open_position(c, &position));

  const Account *user = ACCOUNT(buy_shares, user), *account = ACCOUNT(buy_shares, market);
  REQUIRE(market.state == Active, ErrInvalidMarketState);
  TRY(check_protocol(&config, ACCOUNT(buy_shares, protocol_fee_wallet), &market));
  REQUIRE(target_cost >= SMALLEST_TRADE, ErrTradeTooSmall);
  TRY(price_buy(&config, &market, target_cost, &trade, &cost));
  REQUIRE(trade.shares >= min_shares, ErrSlippageExceeded);
  TRY(split_fees(&config, cost, &fees));
  TRY(add(cost, fees.total, &trade.lamports));
  REQUIRE(trade.lamports <= target_cost, ErrSlippageExceeded);
  TRY(transfer(c, user, account, trade.lamports));

  trade.at = chain_time();
  TRY(book_buy(&market, &position, &trade, cost, &fees));
  settle_debts(c, account, &market);
  TRY(store_market(c, buy_shares_market, &market));
  TRY(save_position(c, ACCOUNT(buy_shares, position), POSITION_SPACE, &position));
  return emit_trade(EventSharesBought, &market, user->key, &trade);
}

/* --- sell --------------------------------------------------------------------------------------------------- */

static u64 price_sell(Market *market, const Trade *trade, u64 *gross) {
  u64 side = *market_side(market, trade->outcome), other = *market_side(market, !trade->outcome);
  TRY(lmsr_sell(side, other, market->b_parameter, trade->shares, gross));
  REQUIRE(*gross >= SMALLEST_TRADE, ErrTradeTooSmall);
  return 0;
}

/* What the seller paid in stays in total_invested: it is history, not a balance. */
static u64 book_sell(Market *market, Position *position, const Trade *trade, u64 gross, const Fees *fees) {
  u64 *of_market = market_side(market, trade->outcome), *of_user = position_side(position, trade->outcome);
  TRY(sub(*of_market, trade->shares, of_market));
  TRY(sub(*of_user, trade->shares, of_user));
  TRY(sub(market->current_liquidity, gross, &market->current_liquidity));
  TRY(add(market->total_volume, gross, &market->total_volume));
  TRY(book_fees(market, fees));
  return count_trade(position, trade->at);
}

static NOINLINE u64 sell_shares(Ctx *c) {
  Config config;
  Market market;
  Position position;
  Fees fees;
  Trade trade;
  u64 min_proceeds, gross;
  Reader args = ARGUMENTS(c);
  take_Flag(&args, &trade.outcome);
  take_u64(&args, &trade.shares);
  take_u64(&args, &min_proceeds);
  REQUIRE_DECODED(args);
  CHECK_ACCOUNTS(sell_shares);
  const Account *account = ACCOUNT(sell_shares, market), *user = ACCOUNT(sell_shares, user);
  TRY(load_config(c, sell_shares_global_config, &config));
  TRY(load_market(c, sell_shares_market, &market));
  TRY(load_position(c, sell_shares_position, account, user, &position));

  REQUIRE(market.state == Active, ErrInvalidMarketState);
  REQUIRE(same_key(&position.user, user->key), ErrUnauthorized);
  TRY(check_protocol(&config, ACCOUNT(sell_shares, protocol_fee_wallet), &market));
  REQUIRE(!market.is_locked, ErrReentrant);
  REQUIRE(*position_side(&position, trade.outcome) >= trade.shares, ErrInsufficientShares);
  TRY(price_sell(&market, &trade, &gross));
  TRY(split_fees(&config, gross, &fees));
  trade.lamports = gross - fees.total;
  REQUIRE(trade.lamports >= min_proceeds, ErrSlippageExceeded);
  REQUIRE(market.current_liquidity >= gross, ErrInsufficientLiquidity);
  TRY(pay_out(account, user, trade.lamports));

  trade.at = chain_time();
  TRY(book_sell(&market, &position, &trade, gross, &fees));
  settle_debts(c, account, &market);
  TRY(store_market(c, sell_shares_market, &market));
  TRY(store_position(c, sell_shares_position, &position));
  return emit_trade(EventSharesSold, &market, user->key, &trade);
}
