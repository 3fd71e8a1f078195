/* Generated from the IDL by interface.py: do not edit. */
#pragma once

#define AccountGlobalConfig 0xd9b0fca0ca9c0895UL
#define AccountMarketAccount 0xfbc9c6f0e1bb4ec9UL
#define AccountUserPosition 0x1b11ea53f5d1f8fbUL
#define AccountVoteRecord 0xa79d09eaa57b0970UL

#define EventConfigUpdated 0xc2c6130b7ae6f128UL
#define EventDisputeAggregated 0x2669244ba0d2113aUL
#define EventDisputeInitiated 0x99b704c6fc5d6d96UL
#define EventDisputeVoteSubmitted 0x72c10a4ec3d50227UL
#define EventGlobalConfigInitialized 0x719d574d9eacdd05UL
#define EventLiquidityWithdrawn 0x44da1f9a8b4978f0UL
#define EventMarketActivated 0x0b6b84bb304e49c4UL
#define EventMarketCancelled 0xaa51b413a821a38bUL
#define EventMarketCreated 0x3a0654e2e782b858UL
#define EventMarketFinalized 0xb3ea4c25cc423e53UL
#define EventMarketResolved 0xcac76a8f5fe64359UL
#define EventProposalAggregated 0xd58bf33c7647a6eaUL
#define EventProposalApproved 0x31582b9de49b3146UL
#define EventProposalVoteSubmitted 0x3806a2d9028f439cUL
#define EventProtocolPauseStatusChanged 0x6731236701d896bdUL
#define EventSharesBought 0x41e2eafd0a4562f0UL
#define EventSharesSold 0xfb719ee43505e723UL
#define EventWinningsClaimed 0x96467536c41db8bbUL

enum {
  ErrInstructionFallbackNotFound = 101,
  ErrInstructionDidNotDeserialize = 102,
  ErrConstraintMut = 2000,
  ErrConstraintHasOne = 2001,
  ErrConstraintSeeds = 2006,
  ErrAccountDiscriminatorNotFound = 3001,
  ErrAccountDiscriminatorMismatch = 3002,
  ErrAccountDidNotDeserialize = 3003,
  ErrAccountDidNotSerialize = 3004,
  ErrAccountNotEnoughKeys = 3005,
  ErrAccountOwnedByWrongProgram = 3007,
  ErrInvalidProgramId = 3008,
  ErrAccountNotSigner = 3010,
  ErrAccountNotInitialized = 3012,
  ErrInvalidFeeConfiguration = 6000,
  ErrInvalidThreshold = 6001,
  ErrInvalidTimeLimit = 6002,
  ErrAlreadyInitialized = 6003,
  ErrInvalidFeeStructure = 6004,
  ErrInvalidGlobalConfig = 6005,
  ErrInvalidStateTransition = 6006,
  ErrInvalidMarketState = 6007,
  ErrMarketPaused = 6008,
  ErrMarketCancelled = 6009,
  ErrProtocolPaused = 6010,
  ErrCannotCancelMarket = 6011,
  ErrMarketAlreadyCancelled = 6012,
  ErrZeroAmount = 6013,
  ErrInsufficientShares = 6014,
  ErrSlippageExceeded = 6015,
  ErrInsufficientLiquidity = 6016,
  ErrInvalidLiquidity = 6017,
  ErrTradeTooSmall = 6018,
  ErrResolutionPeriodNotEnded = 6019,
  ErrDisputePeriodEnded = 6020,
  ErrNoResolutionProposed = 6021,
  ErrAlreadyClaimed = 6022,
  ErrNoWinnings = 6023,
  ErrNoVotesRecorded = 6024,
  ErrInsufficientVotes = 6025,
  ErrAlreadyResolved = 6026,
  ErrDisputePeriodNotEnded = 6027,
  ErrAlreadyDisputed = 6028,
  ErrUnauthorized = 6029,
  ErrInvalidAdmin = 6030,
  ErrInvalidResolver = 6031,
  ErrInsufficientReputation = 6032,
  ErrOverflowError = 6033,
  ErrUnderflowError = 6034,
  ErrDivisionByZero = 6035,
  ErrInvalidFixedPoint = 6036,
  ErrInvalidLogarithm = 6037,
  ErrExponentialOverflow = 6038,
  ErrExponentTooLarge = 6039,
  ErrInvalidInput = 6040,
  ErrBoundedLossExceeded = 6041,
  ErrInvalidBParameter = 6042,
  ErrInvalidMarketId = 6043,
  ErrInvalidTimestamp = 6044,
  ErrInvalidIpfsHash = 6045,
  ErrInsufficientFunds = 6046,
  ErrWouldBreakRentExemption = 6047,
  ErrReentrant = 6048,
  ErrInvalidReservedField = 6049,
  ErrAlreadyVoted = 6050,
  ErrInvalidStateForVoting = 6051,
};

#define ERROR_LINES(X) \
  X(101, "AnchorError occurred. Error Code: InstructionFallbackNotFound. Error Number: 101. Error Message: Fallback functions are not supported.") \
  X(102, "AnchorError occurred. Error Code: InstructionDidNotDeserialize. Error Number: 102. Error Message: The program could not deserialize the given instruction.") \
  X(2000, "AnchorError occurred. Error Code: ConstraintMut. Error Number: 2000. Error Message: A mut constraint was violated.") \
  X(2001, "AnchorError occurred. Error Code: ConstraintHasOne. Error Number: 2001. Error Message: A has one constraint was violated.") \
  X(2006, "AnchorError occurred. Error Code: ConstraintSeeds. Error Number: 2006. Error Message: A seeds constraint was violated.") \
  X(3001, "AnchorError occurred. Error Code: AccountDiscriminatorNotFound. Error Number: 3001. Error Message: No discriminator was found on the account.") \
  X(3002, "AnchorError occurred. Error Code: AccountDiscriminatorMismatch. Error Number: 3002. Error Message: Account discriminator did not match what was expected.") \
  X(3003, "AnchorError occurred. Error Code: AccountDidNotDeserialize. Error Number: 3003. Error Message: Failed to deserialize the account.") \
  X(3004, "AnchorError occurred. Error Code: AccountDidNotSerialize. Error Number: 3004. Error Message: Failed to serialize the account.") \
  X(3005, "AnchorError occurred. Error Code: AccountNotEnoughKeys. Error Number: 3005. Error Message: Not enough account keys given to the instruction.") \
  X(3007, "AnchorError occurred. Error Code: AccountOwnedByWrongProgram. Error Number: 3007. Error Message: The given account is owned by a different program than expected.") \
  X(3008, "AnchorError occurred. Error Code: InvalidProgramId. Error Number: 3008. Error Message: Program ID was not as expected.") \
  X(3010, "AnchorError occurred. Error Code: AccountNotSigner. Error Number: 3010. Error Message: The given account did not sign.") \
  X(3012, "AnchorError occurred. Error Code: AccountNotInitialized. Error Number: 3012. Error Message: The program expected this account to be already initialized.") \
  X(6000, "AnchorError occurred. Error Code: InvalidFeeConfiguration. Error Number: 6000. Error Message: Invalid fee configuration.") \
  X(6001, "AnchorError occurred. Error Code: InvalidThreshold. Error Number: 6001. Error Message: Invalid threshold.") \
  X(6002, "AnchorError occurred. Error Code: InvalidTimeLimit. Error Number: 6002. Error Message: Invalid time limit.") \
  X(6003, "AnchorError occurred. Error Code: AlreadyInitialized. Error Number: 6003. Error Message: Already initialized.") \
  X(6004, "AnchorError occurred. Error Code: InvalidFeeStructure. Error Number: 6004. Error Message: Invalid fee structure.") \
  X(6005, "AnchorError occurred. Error Code: InvalidGlobalConfig. Error Number: 6005. Error Message: Invalid global config.") \
  X(6006, "AnchorError occurred. Error Code: InvalidStateTransition. Error Number: 6006. Error Message: Invalid state transition.") \
  X(6007, "AnchorError occurred. Error Code: InvalidMarketState. Error Number: 6007. Error Message: Invalid market state.") \
  X(6008, "AnchorError occurred. Error Code: MarketPaused. Error Number: 6008. Error Message: Market paused.") \
  X(6009, "AnchorError occurred. Error Code: MarketCancelled. Error Number: 6009. Error Message: Market cancelled.") \
  X(6010, "AnchorError occurred. Error Code: ProtocolPaused. Error Number: 6010. Error Message: Protocol paused.") \
  X(6011, "AnchorError occurred. Error Code: CannotCancelMarket. Error Number: 6011. Error Message: Cannot cancel market.") \
  X(6012, "AnchorError occurred. Error Code: MarketAlreadyCancelled. Error Number: 6012. Error Message: Market already cancelled.") \
  X(6013, "AnchorError occurred. Error Code: ZeroAmount. Error Number: 6013. Error Message: Zero amount.") \
  X(6014, "AnchorError occurred. Error Code: InsufficientShares. Error Number: 6014. Error Message: Insufficient shares.") \
  X(6015, "AnchorError occurred. Error Code: SlippageExceeded. Error Number: 6015. Error Message: Slippage exceeded.") \
  X(6016, "AnchorError occurred. Error Code: InsufficientLiquidity. Error Number: 6016. Error Message: Insufficient liquidity.") \
  X(6017, "AnchorError occurred. Error Code: InvalidLiquidity. Error Number: 6017. Error Message: Invalid liquidity.") \
  X(6018, "AnchorError occurred. Error Code: TradeTooSmall. Error Number: 6018. Error Message: Trade too small.") \
  X(6019, "AnchorError occurred. Error Code: ResolutionPeriodNotEnded. Error Number: 6019. Error Message: Resolution period not ended.") \
  X(6020, "AnchorError occurred. Error Code: DisputePeriodEnded. Error Number: 6020. Error Message: Dispute period ended.") \
  X(6021, "AnchorError occurred. Error Code: NoResolutionProposed. Error Number: 6021. Error Message: No resolution proposed.") \
  X(6022, "AnchorError occurred. Error Code: AlreadyClaimed. Error Number: 6022. Error Message: Already claimed.") \
  X(6023, "AnchorError occurred. Error Code: NoWinnings. Error Number: 6023. Error Message: No winnings.") \
  X(6024, "AnchorError occurred. Error Code: NoVotesRecorded. Error Number: 6024. Error Message: No votes recorded.") \
  X(6025, "AnchorError occurred. Error Code: InsufficientVotes. Error Number: 6025. Error Message: Insufficient votes.") \
  X(6026, "AnchorError occurred. Error Code: AlreadyResolved. Error Number: 6026. Error Message: Already resolved.") \
  X(6027, "AnchorError occurred. Error Code: DisputePeriodNotEnded. Error Number: 6027. Error Message: Dispute period not ended.") \
  X(6028, "AnchorError occurred. Error Code: AlreadyDisputed. Error Number: 6028. Error Message: Already disputed.") \
  X(6029, "AnchorError occurred. Error Code: Unauthorized. Error Number: 6029. Error Message: Unauthorized.") \
  X(6030, "AnchorError occurred. Error Code: InvalidAdmin. Error Number: 6030. Error Message: Invalid admin.") \
  X(6031, "AnchorError occurred. Error Code: InvalidResolver. Error Number: 6031. Error Message: Invalid resolver.") \
  X(6032, "AnchorError occurred. Error Code: InsufficientReputation. Error Number: 6032. Error Message: Insufficient reputation.") \
  X(6033, "AnchorError occurred. Error Code: OverflowError. Error Number: 6033. Error Message: Overflow error.") \
  X(6034, "AnchorError occurred. Error Code: UnderflowError. Error Number: 6034. Error Message: Underflow error.") \
  X(6035, "AnchorError occurred. Error Code: DivisionByZero. Error Number: 6035. Error Message: Division by zero.") \
  X(6036, "AnchorError occurred. Error Code: InvalidFixedPoint. Error Number: 6036. Error Message: Invalid fixed point.") \
  X(6037, "AnchorError occurred. Error Code: InvalidLogarithm. Error Number: 6037. Error Message: Invalid logarithm.") \
  X(6038, "AnchorError occurred. Error Code: ExponentialOverflow. Error Number: 6038. Error Message: Exponential overflow.") \
  X(6039, "AnchorError occurred. Error Code: ExponentTooLarge. Error Number: 6039. Error Message: Exponent too large.") \
  X(6040, "AnchorError occurred. Error Code: InvalidInput. Error Number: 6040. Error Message: Invalid input.") \
  X(6041, "AnchorError occurred. Error Code: BoundedLossExceeded. Error Number: 6041. Error Message: Bounded loss exceeded.") \
  X(6042, "AnchorError occurred. Error Code: InvalidBParameter. Error Number: 6042. Error Message: Invalid b parameter.") \
  X(6043, "AnchorError occurred. Error Code: InvalidMarketId. Error Number: 6043. Error Message: Invalid market id.") \
  X(6044, "AnchorError occurred. Error Code: InvalidTimestamp. Error Number: 6044. Error Message: Invalid timestamp.") \
  X(6045, "AnchorError occurred. Error Code: InvalidIpfsHash. Error Number: 6045. Error Message: Invalid ipfs hash.") \
  X(6046, "AnchorError occurred. Error Code: InsufficientFunds. Error Number: 6046. Error Message: Insufficient funds.") \
  X(6047, "AnchorError occurred. Error Code: WouldBreakRentExemption. Error Number: 6047. Error Message: Would break rent exemption.") \
  X(6048, "AnchorError occurred. Error Code: Reentrant. Error Number: 6048. Error Message: Reentrant.") \
  X(6049, "AnchorError occurred. Error Code: InvalidReservedField. Error Number: 6049. Error Message: Invalid reserved field.") \
  X(6050, "AnchorError occurred. Error Code: AlreadyVoted. Error Number: 6050. Error Message: Already voted.") \
  X(6051, "AnchorError occurred. Error Code: InvalidStateForVoting. Error Number: 6051. Error Message: Invalid state for voting.")

typedef enum { ANY, SYSTEM, CONFIG, MARKET, POSITION } Kind;
typedef struct { unsigned char kind, writable, signer; } Slot;

enum { activate_market_authority, activate_market_market, activate_market_global_config };
static const Slot activate_market_slots[] = { { ANY, 1, 1 }, { MARKET, 1, 0 }, { CONFIG, 0, 0 } };

enum { aggregate_dispute_votes_market, aggregate_dispute_votes_global_config, aggregate_dispute_votes_backend_authority };
static const Slot aggregate_dispute_votes_slots[] = { { MARKET, 1, 0 }, { CONFIG, 0, 0 }, { ANY, 0, 1 } };

enum { aggregate_proposal_votes_market, aggregate_proposal_votes_global_config, aggregate_proposal_votes_backend_authority };
static const Slot aggregate_proposal_votes_slots[] = { { MARKET, 1, 0 }, { CONFIG, 0, 0 }, { ANY, 0, 1 } };

enum { approve_proposal_admin, approve_proposal_market, approve_proposal_global_config };
static const Slot approve_proposal_slots[] = { { ANY, 1, 1 }, { MARKET, 1, 0 }, { CONFIG, 0, 0 } };

enum { buy_shares_global_config, buy_shares_market, buy_shares_position, buy_shares_user, buy_shares_protocol_fee_wallet, buy_shares_system_program };
static const Slot buy_shares_slots[] = { { CONFIG, 0, 0 }, { MARKET, 1, 0 }, { ANY, 1, 0 }, { ANY, 1, 1 }, { ANY, 1, 0 }, { SYSTEM, 0, 0 } };

enum { cancel_market_admin, cancel_market_market, cancel_market_global_config };
static const Slot cancel_market_slots[] = { { ANY, 0, 1 }, { MARKET, 1, 0 }, { CONFIG, 0, 0 } };

enum { claim_winnings_global_config, claim_winnings_market, claim_winnings_position, claim_winnings_user, claim_winnings_resolver, claim_winnings_system_program };
static const Slot claim_winnings_slots[] = { { CONFIG, 0, 0 }, { MARKET, 1, 0 }, { POSITION, 1, 0 }, { ANY, 1, 1 }, { ANY, 1, 0 }, { SYSTEM, 0, 0 } };

enum { create_market_creator, create_market_market, create_market_global_config, create_market_system_program };
static const Slot create_market_slots[] = { { ANY, 1, 1 }, { ANY, 1, 0 }, { CONFIG, 0, 0 }, { SYSTEM, 0, 0 } };

enum { emergency_pause_admin, emergency_pause_global_config };
static const Slot emergency_pause_slots[] = { { ANY, 0, 1 }, { CONFIG, 1, 0 } };

enum { finalize_market_global_config, finalize_market_market, finalize_market_backend_authority };
static const Slot finalize_market_slots[] = { { CONFIG, 0, 0 }, { MARKET, 1, 0 }, { ANY, 0, 1 } };

enum { initialize_global_config_admin, initialize_global_config_global_config, initialize_global_config_protocol_fee_wallet, initialize_global_config_system_program };
static const Slot initialize_global_config_slots[] = { { ANY, 1, 1 }, { ANY, 1, 0 }, { ANY, 0, 0 }, { SYSTEM, 0, 0 } };

enum { initiate_dispute_global_config, initiate_dispute_market, initiate_dispute_initiator };
static const Slot initiate_dispute_slots[] = { { CONFIG, 0, 0 }, { MARKET, 1, 0 }, { ANY, 0, 1 } };

enum { resolve_market_global_config, resolve_market_market, resolve_market_resolver };
static const Slot resolve_market_slots[] = { { CONFIG, 0, 0 }, { MARKET, 1, 0 }, { ANY, 1, 1 } };

enum { sell_shares_global_config, sell_shares_market, sell_shares_position, sell_shares_user, sell_shares_protocol_fee_wallet, sell_shares_system_program };
static const Slot sell_shares_slots[] = { { CONFIG, 0, 0 }, { MARKET, 1, 0 }, { POSITION, 1, 0 }, { ANY, 1, 1 }, { ANY, 1, 0 }, { SYSTEM, 0, 0 } };

enum { submit_dispute_vote_market, submit_dispute_vote_vote_record, submit_dispute_vote_user, submit_dispute_vote_system_program };
static const Slot submit_dispute_vote_slots[] = { { MARKET, 0, 0 }, { ANY, 1, 0 }, { ANY, 1, 1 }, { SYSTEM, 0, 0 } };

enum { submit_proposal_vote_market, submit_proposal_vote_vote_record, submit_proposal_vote_user, submit_proposal_vote_system_program };
static const Slot submit_proposal_vote_slots[] = { { MARKET, 0, 0 }, { ANY, 1, 0 }, { ANY, 1, 1 }, { SYSTEM, 0, 0 } };

enum { update_global_config_admin, update_global_config_global_config };
static const Slot update_global_config_slots[] = { { ANY, 0, 1 }, { CONFIG, 1, 0 } };

enum { withdraw_liquidity_market, withdraw_liquidity_creator };
static const Slot withdraw_liquidity_slots[] = { { MARKET, 1, 0 }, { ANY, 1, 1 } };

#define INSTRUCTIONS(X) \
  X(activate_market, 0x5948637174c51a0aUL, "Instruction: ActivateMarket") \
  X(aggregate_dispute_votes, 0x19708dd4131e0e4aUL, "Instruction: AggregateDisputeVotes") \
  X(aggregate_proposal_votes, 0x48cab0b915129c1aUL, "Instruction: AggregateProposalVotes") \
  X(approve_proposal, 0x9307726255666c88UL, "Instruction: ApproveProposal") \
  X(buy_shares, 0x6c6a25089a8aef28UL, "Instruction: BuyShares") \
  X(cancel_market, 0x0b9647ded25479cdUL, "Instruction: CancelMarket") \
  X(claim_winnings, 0xddf2ec0e3b18d7a1UL, "Instruction: ClaimWinnings") \
  X(create_market, 0xfefbbcc8eb61e267UL, "Instruction: CreateMarket") \
  X(emergency_pause, 0xffd2b5c88e1b8f15UL, "Instruction: EmergencyPause") \
  X(finalize_market, 0xf701d9d51c26e110UL, "Instruction: FinalizeMarket") \
  X(initialize_global_config, 0x3716d1e1837ad871UL, "Instruction: InitializeGlobalConfig") \
  X(initiate_dispute, 0x25ab3d2c17a0f280UL, "Instruction: InitiateDispute") \
  X(resolve_market, 0xef174a2ead50179bUL, "Instruction: ResolveMarket") \
  X(sell_shares, 0xc4c79ee710a9a4b8UL, "Instruction: SellShares") \
  X(submit_dispute_vote, 0xe648eb98423ddf31UL, "Instruction: SubmitDisputeVote") \
  X(submit_proposal_vote, 0xf00eb91de63bbbb1UL, "Instruction: SubmitProposalVote") \
  X(update_global_config, 0xc8fa3a6fbd8254a4UL, "Instruction: UpdateGlobalConfig") \
  X(withdraw_liquidity, 0x1ffdf32fb9219e95UL, "Instruction: WithdrawLiquidity")
