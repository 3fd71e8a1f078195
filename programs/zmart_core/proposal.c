/* From an idea to an open market: create_market, the proposal vote, approve_proposal, activate_market, and
 * cancel_market, which is possible until then. */
#include "accounts.h"
#include "math.h"

/* The deposit must cover the most the market maker can lose, C(0, 0) = b ln 2: with it, whatever is traded, the
 * pool holds at least max(q_yes, q_no) and every winning share can be paid. */
static u64 check_deposit(u64 b, u64 deposit) {
  u64 largest_loss;
  REQUIRE(b >= LMSR_MIN_B && b <= LMSR_MAX_B, ErrInvalidBParameter);
  TRY(lmsr_cost(0, 0, b, &largest_loss));
  REQUIRE(deposit >= largest_loss, ErrInvalidLiquidity);
  return 0;
}

static u64 make_market(Ctx *c, const Account *creator, const Account *account, Market *market) {
  const Bytes seeds[] = {SEED("market"), {&market->market_id, 32}, {&market->bump, 1}};
  const SignerSeeds signer = {seeds, 3};
  TRY(find_address(c, account, seeds, 3));
  return create_account(c, creator, account, &signer, MARKET_SPACE);
}

static NOINLINE u64 create_market(Ctx *c) {
  Config config;
  Market market;
  Reader args = ARGUMENTS(c);
  sol_memset_(&market, 0, sizeof market);
  take_Key(&args, &market.market_id);
  take_u64(&args, &market.b_parameter);
  take_u64(&args, &market.initial_liquidity);
  take_Cid(&args, &market.ipfs_evidence_hash); /* holds the question until a resolution brings its evidence */
  REQUIRE_DECODED(args);
  CHECK_ACCOUNTS(create_market);

  const Account *creator = ACCOUNT(create_market, creator), *account = ACCOUNT(create_market, market);
  TRY(make_market(c, creator, account, &market));
  TRY(load_config(c, create_market_global_config, &config));
  REQUIRE(!config.is_paused, ErrProtocolPaused);
  TRY(check_deposit(market.b_parameter, market.initial_liquidity));
  TRY(transfer(c, creator, account, market.initial_liquidity));
  market.creator = *creator->key;
  market.current_liquidity = market.initial_liquidity;
  market.created_at = chain_time();
  TRY(save_market(c, account, MARKET_SPACE, &market));

  Event e;
  begin_for_market(&e, EventMarketCreated, &market);
  put_Key(&e.w, &market.creator);
  put_u64(&e.w, &market.b_parameter);
  put_State(&e.w, &market.state);
  return emit(&e, market.created_at);
}

static NOINLINE u64 submit_proposal_vote(Ctx *c) {
  Market market;
  Vote vote;
  Reader args = ARGUMENTS(c);
  sol_memset_(&vote, 0, sizeof vote);
  vote.vote_type = ProposalVote;
  take_Flag(&args, &vote.vote);
  REQUIRE_DECODED(args);
  CHECK_ACCOUNTS(submit_proposal_vote);

  const Account *account = ACCOUNT(submit_proposal_vote, market);
  TRY(load_market(c, submit_proposal_vote_market, &market));
  TRY(record_vote(c, account, ACCOUNT(submit_proposal_vote, vote_record), ACCOUNT(submit_proposal_vote, user), &vote));
  REQUIRE(market.state == Proposed, ErrInvalidStateForVoting);
  return emit_vote(EventProposalVoteSubmitted, &market, &vote);
}

/* Writes down what the backend counted; may be repeated. The state changes only with approve_proposal. */
static NOINLINE u64 aggregate_proposal_votes(Ctx *c) {
  Config config;
  Market market;
  Tally tally;
  Reader args = ARGUMENTS(c);
  take_u32(&args, &tally.in_favour);
  take_u32(&args, &tally.against);
  REQUIRE_DECODED(args);
  CHECK_ACCOUNTS(aggregate_proposal_votes);
  TRY(load_market(c, aggregate_proposal_votes_market, &market));
  TRY(load_config(c, aggregate_proposal_votes_global_config, &config));
  const Account *authority = ACCOUNT(aggregate_proposal_votes, backend_authority);
  REQUIRE(same_key(authority->key, &config.backend_authority), ErrUnauthorized);
  REQUIRE(market.state == Proposed, ErrInvalidStateForVoting);
  TRY(count_tally(&tally));
  market.proposal_likes = tally.in_favour;
  market.proposal_dislikes = tally.against;
  market.proposal_total_votes = tally.total;
  TRY(store_market(c, aggregate_proposal_votes_market, &market));

  Event e;
  u64 bps = in_favour_bps(&tally);
  u8 percentage = (u8)(bps / 100);
  Flag approved = bps >= config.proposal_approval_threshold;
  begin_for_market(&e, EventProposalAggregated, &market);
  put_u32(&e.w, &tally.in_favour);
  put_u32(&e.w, &tally.against);
  put_u8(&e.w, &percentage);
  put_Flag(&e.w, &approved);
  return emit(&e, chain_time());
}

static u64 check_approval(const Config *config, const Market *market) {
  Tally tally = {market->proposal_likes, market->proposal_dislikes, market->proposal_total_votes};
  REQUIRE(tally.total > 0, ErrNoVotesRecorded);
  REQUIRE(in_favour_bps(&tally) >= config->proposal_approval_threshold, ErrInsufficientVotes);
  return 0;
}

static NOINLINE u64 approve_proposal(Ctx *c) {
  Config config;
  Market market;
  CHECK_ACCOUNTS(approve_proposal);
  TRY(load_market(c, approve_proposal_market, &market));
  TRY(load_config(c, approve_proposal_global_config, &config));
  REQUIRE(same_key(ACCOUNT(approve_proposal, admin)->key, &config.admin), ErrUnauthorized);
  REQUIRE(market.state == Proposed, ErrInvalidStateTransition);
  TRY(check_approval(&config, &market));
  market.state = Approved;
  market.approved_at = chain_time();
  TRY(store_market(c, approve_proposal_market, &market));

  Event e;
  begin_for_market(&e, EventProposalApproved, &market);
  put_Key(&e.w, &config.admin);
  return emit(&e, market.approved_at);
}

static NOINLINE u64 activate_market(Ctx *c) {
  Config config;
  Market market;
  CHECK_ACCOUNTS(activate_market);
  TRY(load_market(c, activate_market_market, &market));
  TRY(load_config(c, activate_market_global_config, &config));
  const Key *authority = ACCOUNT(activate_market, authority)->key;
  REQUIRE(same_key(authority, &config.admin) || same_key(authority, &market.creator), ErrUnauthorized);
  REQUIRE(market.state == Approved, ErrInvalidStateTransition);
  REQUIRE(market.current_liquidity >= market.initial_liquidity, ErrInsufficientLiquidity);
  market.state = Active;
  market.activated_at = chain_time();
  TRY(store_market(c, activate_market_market, &market));

  Event e;
  begin_for_market(&e, EventMarketActivated, &market);
  put_Key(&e.w, &market.creator);
  put_u64(&e.w, &market.initial_liquidity);
  return emit(&e, market.activated_at);
}

/* The deposit stays in the market's account: its creator is not an account of this instruction and fetches it
 * with withdraw_liquidity. */
static NOINLINE u64 cancel_market(Ctx *c) {
  Config config;
  Market market;
  CHECK_ACCOUNTS(cancel_market);
  TRY(load_market(c, cancel_market_market, &market));
  TRY(load_config(c, cancel_market_global_config, &config));
  REQUIRE(same_key(ACCOUNT(cancel_market, admin)->key, &config.admin), ErrUnauthorized);
  REQUIRE(market.state != Cancelled, ErrMarketAlreadyCancelled);
  REQUIRE(market.state == Proposed || market.state == Approved, ErrCannotCancelMarket);
  market.state = Cancelled;
  market.cancelled_at.some = 1;
  market.cancelled_at.at = chain_time();
  TRY(store_market(c, cancel_market_market, &market));

  Event e;
  begin_for_market(&e, EventMarketCancelled, &market);
  put_Key(&e.w, &config.admin);
  return emit(&e, market.cancelled_at.at);
}
