/* Doubting a proposed outcome: initiate_dispute, the dispute vote, aggregate_dispute_votes. */
#include "accounts.h"

static NOINLINE u64 initiate_dispute(Ctx *c) {
  Config config;
  Market market;
  i64 now = chain_time(), deadline;
  CHECK_ACCOUNTS(initiate_dispute);
  TRY(load_config(c, initiate_dispute_global_config, &config));
  TRY(load_market(c, initiate_dispute_market, &market));
  REQUIRE(market.state == Resolving, ErrInvalidMarketState);
  REQUIRE(now > market.resolution_proposed_at, ErrInvalidTimestamp);
  TRY(later(market.resolution_proposed_at, config.dispute_period, &deadline));
  REQUIRE(now < deadline, ErrDisputePeriodEnded);
  market.state = Disputed;
  market.dispute_initiator = *ACCOUNT(initiate_dispute, initiator)->key;
  market.dispute_initiated_at = now;
  market.dispute_agree = market.dispute_disagree = market.dispute_total_votes = 0;
  TRY(store_market(c, initiate_dispute_market, &market));

  Event e;
  begin_for_market(&e, EventDisputeInitiated, &market);
  put_Key(&e.w, &market.dispute_initiator);
  put_Outcome(&e.w, &market.proposed_outcome);
  return emit(&e, now);
}

/* A vote of true agrees with the dispute: the proposed outcome is wrong. */
static NOINLINE u64 submit_dispute_vote(Ctx *c) {
  Market market;
  Vote vote;
  Reader args = ARGUMENTS(c);
  sol_memset_(&vote, 0, sizeof vote);
  vote.vote_type = DisputeVote;
  take_Flag(&args, &vote.vote);
  REQUIRE_DECODED(args);
  CHECK_ACCOUNTS(submit_dispute_vote);

  const Account *account = ACCOUNT(submit_dispute_vote, market);
  TRY(load_market(c, submit_dispute_vote_market, &market));
  TRY(record_vote(c, account, ACCOUNT(submit_dispute_vote, vote_record), ACCOUNT(submit_dispute_vote, user), &vote));
  REQUIRE(market.state == Disputed, ErrInvalidStateForVoting);
  return emit_vote(EventDisputeVoteSubmitted, &market, &vote);
}

/* Kept as v0.69 has it, traps included: success returns to Resolving with the doubted outcome still proposed, failure
 * finalizes without any outcome. finalize_market(Some, Some) is the way that counts a dispute. */
static void end_dispute(Market *market, Flag succeeded, i64 now) {
  market->was_disputed = 1;
  market->state = succeeded ? Resolving : Finalized;
  if (!succeeded) market->resolved_at = now;
}

static NOINLINE u64 aggregate_dispute_votes(Ctx *c) {
  Config config;
  Market market;
  Tally tally;
  i64 now = chain_time();
  Reader args = ARGUMENTS(c);
  take_u32(&args, &tally.in_favour);
  take_u32(&args, &tally.against);
  REQUIRE_DECODED(args);
  CHECK_ACCOUNTS(aggregate_dispute_votes);
  TRY(load_market(c, aggregate_dispute_votes_market, &market));
  TRY(load_config(c, aggregate_dispute_votes_global_config, &config));
  const Account *authority = ACCOUNT(aggregate_dispute_votes, backend_authority);
  REQUIRE(same_key(authority->key, &config.backend_authority), ErrUnauthorized);
  REQUIRE(market.state == Disputed, ErrInvalidStateForVoting);
  TRY(count_tally(&tally));
  book_dispute(&market, &tally);
  u64 bps = in_favour_bps(&tally);
  Flag succeeded = tally.total > 0 && bps >= config.dispute_success_threshold;
  end_dispute(&market, succeeded, now);
  TRY(store_market(c, aggregate_dispute_votes_market, &market));

  Event e;
  u8 percentage = (u8)(bps / 100);
  begin_for_market(&e, EventDisputeAggregated, &market);
  put_u32(&e.w, &tally.in_favour);
  put_u32(&e.w, &tally.against);
  put_u8(&e.w, &percentage);
  put_Flag(&e.w, &succeeded);
  return emit(&e, now);
}
