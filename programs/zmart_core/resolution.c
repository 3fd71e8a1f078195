/* Which outcome was right: resolve_market proposes it, finalize_market makes it final. */
#include "accounts.h"

#define TEN_YEARS 315360000L /* seconds; a clock that far from created_at is not believed */
#define LN2_E9 693147180UL

static u64 later(i64 time, i64 seconds, i64 *sum) {
  REQUIRE(!__builtin_add_overflow(time, seconds, sum), ErrOverflowError);
  return 0;
}

static u64 check_clock(const Market *market, i64 now) {
  i64 end;
  TRY(later(market->created_at, TEN_YEARS, &end));
  REQUIRE(now >= market->created_at && now <= end, ErrInvalidTimestamp);
  return 0;
}

static u64 check_resolvable(const Config *config, const Market *market, i64 now) {
  i64 earliest;
  REQUIRE(market->state == Active, ErrInvalidMarketState);
  REQUIRE(market->proposed_outcome == OutcomeNone, ErrAlreadyResolved);
  TRY(check_clock(market, now));
  REQUIRE(now > market->activated_at, ErrInvalidTimestamp);
  TRY(later(market->activated_at, config->min_resolution_delay, &earliest));
  REQUIRE(now >= earliest, ErrInvalidTimestamp);
  return 0;
}

/* Anybody may propose; the dispute period and the backend's signature on finalize_market keep it honest. */
static NOINLINE u64 resolve_market(Ctx *c) {
  Config config;
  Market market;
  Flag outcome;
  Cid evidence;
  i64 now = chain_time();
  Reader args = ARGUMENTS(c);
  take_Flag(&args, &outcome);
  take_Cid(&args, &evidence);
  REQUIRE_DECODED(args);
  CHECK_ACCOUNTS(resolve_market);
  TRY(load_config(c, resolve_market_global_config, &config));
  TRY(load_market(c, resolve_market_market, &market));
  TRY(check_resolvable(&config, &market, now));
  market.state = Resolving;
  market.resolver = *ACCOUNT(resolve_market, resolver)->key;
  market.proposed_outcome = outcome ? OutcomeYes : OutcomeNo;
  sol_memcpy_(&market.ipfs_evidence_hash, &evidence, sizeof evidence);
  market.resolution_proposed_at = now;
  TRY(store_market(c, resolve_market_market, &market));

  Event e;
  begin_for_market(&e, EventMarketResolved, &market);
  put_Key(&e.w, &market.resolver);
  put_Flag(&e.w, &outcome);
  put_Cid(&e.w, &evidence);
  return emit(&e, now);
}

static void book_dispute(Market *market, const Tally *tally) {
  market->dispute_agree = tally->in_favour;
  market->dispute_disagree = tally->against;
  market->dispute_total_votes = tally->total;
}

static Outcome opposite(Outcome outcome) {
  if (outcome == OutcomeNone) return OutcomeNone;
  return outcome == OutcomeYes ? OutcomeNo : OutcomeYes;
}

typedef struct { Flag some; u32 count; } MaybeCount; /* Option<u32> */

static void take_MaybeCount(Reader *r, MaybeCount *value) {
  value->count = 0;
  take_Flag(r, &value->some);
  if (!r->bad && value->some) take_u32(r, &value->count);
}

static u64 decide_disputed(const Config *config, Market *market, const MaybeCount *agree, const MaybeCount *disagree) {
  Tally tally = {agree->count, disagree->count, 0};
  REQUIRE(agree->some && disagree->some, ErrNoVotesRecorded);
  TRY(count_tally(&tally));
  REQUIRE(tally.total > 0, ErrNoVotesRecorded);
  book_dispute(market, &tally);
  int flipped = in_favour_bps(&tally) >= config->dispute_success_threshold;
  market->final_outcome = flipped ? opposite(market->proposed_outcome) : market->proposed_outcome;
  return 0;
}

static u64 decide_undisputed(const Config *config, Market *market, i64 now) {
  i64 deadline;
  TRY(later(market->resolution_proposed_at, config->dispute_period, &deadline));
  REQUIRE(now >= deadline, ErrDisputePeriodNotEnded);
  market->final_outcome = market->proposed_outcome;
  return 0;
}

/* The pool never falls below the deposit while a market trades (C never falls below C(0, 0)), so this rule of v0.69
 * can stop no rightful finalization, only an account whose books are broken. */
static u64 check_bounded_loss(const Market *market) {
  u64 bound;
  TRY(muldiv(market->b_parameter, LN2_E9, 1000000000UL, &bound));
  u64 pool = market->current_liquidity, loss = market->initial_liquidity > pool ? market->initial_liquidity - pool : 0;
  REQUIRE(loss <= bound, ErrBoundedLossExceeded);
  return 0;
}

static NOINLINE u64 finalize_market(Ctx *c) {
  Config config;
  Market market;
  MaybeCount agree, disagree;
  i64 now = chain_time();
  Reader args = ARGUMENTS(c);
  take_MaybeCount(&args, &agree);
  take_MaybeCount(&args, &disagree);
  REQUIRE_DECODED(args);
  CHECK_ACCOUNTS(finalize_market);
  TRY(load_config(c, finalize_market_global_config, &config));
  TRY(load_market(c, finalize_market_market, &market));
  const Account *authority = ACCOUNT(finalize_market, backend_authority);
  REQUIRE(same_key(authority->key, &config.backend_authority), ErrUnauthorized);
  REQUIRE(market.state == Resolving || market.state == Disputed, ErrInvalidMarketState);
  TRY(check_clock(&market, now));
  REQUIRE(now > market.resolution_proposed_at, ErrInvalidTimestamp);
  market.was_disputed = market.state == Disputed;
  if (market.was_disputed) TRY(decide_disputed(&config, &market, &agree, &disagree));
  else TRY(decide_undisputed(&config, &market, now));
  TRY(check_bounded_loss(&market));
  market.state = Finalized;
  market.finalized_at = now;
  TRY(store_market(c, finalize_market_market, &market));

  Event e;
  begin_for_market(&e, EventMarketFinalized, &market);
  put_Outcome(&e.w, &market.final_outcome);
  put_Flag(&e.w, &market.was_disputed);
  return emit(&e, now);
}
