/* What both kinds of vote share: the record of one wallet's vote, and shares of a tally in basis points. */
#include "accounts.h"

/* One record per wallet, market and kind for ever: a second vote meets an account in use (System error 0). */
static NOINLINE u64 record_vote(Ctx *c, const Account *market, const Account *record, const Account *user, Vote *vote) {
  const Bytes seeds[] = {SEED("vote"), {market->key, 32}, {user->key, 32}, {&vote->vote_type, 1}, {&vote->bump, 1}};
  const SignerSeeds signer = {seeds, 5};
  TRY(find_address(c, record, seeds, 5));
  TRY(create_account(c, user, record, &signer, VOTE_SPACE));
  vote->market = *market->key;
  vote->user = *user->key;
  vote->voted_at = chain_time();
  return save_vote(c, record, vote);
}

static u64 emit_vote(u64 event, const Market *market, const Vote *vote) {
  Event e;
  begin_for_market(&e, event, market);
  put_Key(&e.w, &vote->user);
  put_Flag(&e.w, &vote->vote);
  return emit(&e, vote->voted_at);
}

typedef struct { u32 in_favour, against, total; } Tally;

static u64 count_tally(Tally *tally) {
  REQUIRE(!__builtin_add_overflow(tally->in_favour, tally->against, &tally->total), ErrOverflowError);
  return 0;
}

/* floor(in_favour * 10000 / total); nobody voted counts as nobody in favour. */
static u64 in_favour_bps(const Tally *tally) {
  return tally->total ? (u64)tally->in_favour * BPS / tally->total : 0;
}
