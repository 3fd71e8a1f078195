/* The four accounts as plain structs. Their Borsh form moves its offsets with every Option, so an account is read
 * into a struct, changed there and written back whole. Each field list is the single source of the order. */
#pragma once
#include "sol.h"

typedef u8 Flag;                                       /* bool */
typedef u8 State;
typedef u8 Outcome;                                    /* Option<bool> */
typedef struct { Flag some; i64 at; } Moment;          /* Option<i64> */
typedef struct { u8 b[46]; } Cid;
typedef struct { u8 b[64]; } Spare64;
typedef struct { u8 b[63]; } Spare63;

enum { Proposed, Approved, Active, Resolving, Disputed, Finalized, Cancelled };
enum { OutcomeNone, OutcomeNo, OutcomeYes };
enum { ProposalVote, DisputeVote };

#define CONFIG_FIELDS(F) \
  F(Key, admin) F(Key, backend_authority) F(Key, protocol_fee_wallet) \
  F(u16, protocol_fee_bps) F(u16, resolver_reward_bps) F(u16, liquidity_provider_fee_bps) \
  F(u16, proposal_approval_threshold) F(u16, dispute_success_threshold) \
  F(i64, min_resolution_delay) F(i64, dispute_period) F(u16, min_resolver_reputation) \
  F(Flag, is_paused) F(Spare64, reserved) F(u8, bump)

/* `claimed_shares` up to `fee_wallet` lie in the first 56 of the 119 reserved bytes of the interface. `owed_resolver` and
 * `owed_protocol` are lamports that could not be paid when they fell due (debts.c); `fee_wallet` gets the latter. */
#define MARKET_FIELDS(F) \
  F(Key, market_id) F(Key, creator) F(State, state) \
  F(u64, b_parameter) F(u64, initial_liquidity) F(u64, current_liquidity) \
  F(u64, shares_yes) F(u64, shares_no) F(u64, total_volume) \
  F(i64, created_at) F(i64, approved_at) F(i64, activated_at) \
  F(i64, resolution_proposed_at) F(i64, resolved_at) F(i64, finalized_at) \
  F(Key, resolver) F(Outcome, proposed_outcome) F(Outcome, final_outcome) F(Cid, ipfs_evidence_hash) \
  F(i64, dispute_initiated_at) F(Key, dispute_initiator) \
  F(u64, accumulated_protocol_fees) F(u64, accumulated_resolver_fees) F(u64, accumulated_lp_fees) \
  F(u32, proposal_likes) F(u32, proposal_dislikes) F(u32, proposal_total_votes) \
  F(u32, resolution_agree) F(u32, resolution_disagree) F(u32, resolution_total_votes) \
  F(u32, dispute_agree) F(u32, dispute_disagree) F(u32, dispute_total_votes) \
  F(Flag, was_disputed) F(Flag, is_cancelled) F(Moment, cancelled_at) F(Flag, is_locked) \
  F(u64, claimed_shares) F(u64, owed_resolver) F(u64, owed_protocol) F(Key, fee_wallet) \
  F(Spare63, reserved) F(u8, bump)

#define POSITION_FIELDS(F) \
  F(Key, market) F(Key, user) F(u64, shares_yes) F(u64, shares_no) F(u64, total_invested) \
  F(u32, trades_count) F(i64, last_trade_at) F(Flag, has_claimed) F(u64, claimed_amount) \
  F(Spare64, reserved) F(u8, bump)

#define VOTE_FIELDS(F) \
  F(Key, market) F(Key, user) F(u8, vote_type) F(Flag, vote) F(i64, voted_at) F(u8, bump)

#define DECLARE(type, name) type name;
typedef struct { CONFIG_FIELDS(DECLARE) } Config;
typedef struct { MARKET_FIELDS(DECLARE) } Market;
typedef struct { POSITION_FIELDS(DECLARE) } Position;
typedef struct { VOTE_FIELDS(DECLARE) } Vote;

enum { CONFIG_SPACE = 206, MARKET_SPACE = 488, POSITION_SPACE = 182, VOTE_SPACE = 83 };
