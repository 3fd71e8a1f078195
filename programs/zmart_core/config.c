/* The protocol's own settings: initialize_global_config, update_global_config, emergency_pause. */
#include "accounts.h"

enum { BPS = 10000 };

static void set_defaults(Config *config) {
  config->protocol_fee_bps = 300;
  config->resolver_reward_bps = 200;
  config->liquidity_provider_fee_bps = 500;
  config->proposal_approval_threshold = 7000;
  config->dispute_success_threshold = 6000;
  config->min_resolution_delay = 86400;
  config->dispute_period = 259200;
  config->min_resolver_reputation = 8000;
}

static u64 make_config(Ctx *c, const Account *payer, const Account *account, Config *config) {
  const Bytes seeds[] = {SEED("global-config"), {&config->bump, 1}};
  const SignerSeeds signer = {seeds, 2};
  TRY(find_address(c, account, seeds, 2));
  return create_account(c, payer, account, &signer, CONFIG_SPACE);
}

/* Whoever comes first is admin for ever, so deploying and initializing belong together. */
static NOINLINE u64 initialize_global_config(Ctx *c) {
  Config config;
  Reader args = ARGUMENTS(c);
  sol_memset_(&config, 0, sizeof config);
  take_Key(&args, &config.backend_authority);
  REQUIRE_DECODED(args);
  CHECK_ACCOUNTS(initialize_global_config);

  const Account *admin = ACCOUNT(initialize_global_config, admin);
  const Account *account = ACCOUNT(initialize_global_config, global_config);
  TRY(make_config(c, admin, account, &config));
  config.admin = *admin->key;
  config.protocol_fee_wallet = *ACCOUNT(initialize_global_config, protocol_fee_wallet)->key;
  set_defaults(&config);
  TRY(save_config(c, account, CONFIG_SPACE, &config));

  Event e;
  begin(&e, EventGlobalConfigInitialized);
  put_Key(&e.w, &config.admin);
  put_Key(&e.w, &config.backend_authority);
  put_u16(&e.w, &config.protocol_fee_bps);
  return emit(&e, chain_time());
}

/* What the admin may change. The five numbers are always overwritten; a time that is None keeps its value. */
typedef struct {
  u16 protocol_fee_bps, resolver_reward_bps, liquidity_provider_fee_bps, approval_threshold, dispute_threshold;
  Moment min_resolution_delay, dispute_period;
} Update;

static void take_update(Reader *args, Update *u) {
  take_u16(args, &u->protocol_fee_bps);
  take_u16(args, &u->resolver_reward_bps);
  take_u16(args, &u->liquidity_provider_fee_bps);
  take_u16(args, &u->approval_threshold);
  take_u16(args, &u->dispute_threshold);
  take_Moment(args, &u->min_resolution_delay);
  take_Moment(args, &u->dispute_period);
}

static u64 check_update(const Update *u) {
  u64 fees = (u64)u->protocol_fee_bps + u->resolver_reward_bps + u->liquidity_provider_fee_bps;
  REQUIRE(fees <= BPS, ErrInvalidFeeStructure);
  REQUIRE(u->approval_threshold <= BPS && u->dispute_threshold <= BPS, ErrInvalidThreshold);
  REQUIRE(!u->min_resolution_delay.some || u->min_resolution_delay.at > 0, ErrInvalidTimeLimit);
  REQUIRE(!u->dispute_period.some || u->dispute_period.at > 0, ErrInvalidTimeLimit);
  return 0;
}

static void apply_update(const Update *u, Config *config) {
  config->protocol_fee_bps = u->protocol_fee_bps;
  config->resolver_reward_bps = u->resolver_reward_bps;
  config->liquidity_provider_fee_bps = u->liquidity_provider_fee_bps;
  config->proposal_approval_threshold = u->approval_threshold;
  config->dispute_success_threshold = u->dispute_threshold;
  if (u->min_resolution_delay.some) config->min_resolution_delay = u->min_resolution_delay.at;
  if (u->dispute_period.some) config->dispute_period = u->dispute_period.at;
}

static NOINLINE u64 update_global_config(Ctx *c) {
  Config config;
  Update update;
  Reader args = ARGUMENTS(c);
  take_update(&args, &update);
  REQUIRE_DECODED(args);
  CHECK_ACCOUNTS(update_global_config);
  TRY(load_config(c, update_global_config_global_config, &config));
  REQUIRE(same_key(ACCOUNT(update_global_config, admin)->key, &config.admin), ErrUnauthorized);
  TRY(check_update(&update));
  apply_update(&update, &config);
  TRY(store_config(c, update_global_config_global_config, &config));

  Event e;
  begin(&e, EventConfigUpdated);
  put_u16(&e.w, &config.protocol_fee_bps);
  put_u16(&e.w, &config.resolver_reward_bps);
  put_u16(&e.w, &config.liquidity_provider_fee_bps);
  put_u16(&e.w, &config.proposal_approval_threshold);
  put_u16(&e.w, &config.dispute_success_threshold);
  put_i64(&e.w, &config.min_resolution_delay);
  put_i64(&e.w, &config.dispute_period);
  return emit(&e, chain_time());
}

/* A toggle: the second call lifts the pause. It stops creating, buying and selling, never a payout. */
static NOINLINE u64 emergency_pause(Ctx *c) {
  Config config;
  CHECK_ACCOUNTS(emergency_pause);
  TRY(load_config(c, emergency_pause_global_config, &config));
  REQUIRE(same_key(ACCOUNT(emergency_pause, admin)->key, &config.admin), ErrUnauthorized);
  config.is_paused = !config.is_paused;
  TRY(store_config(c, emergency_pause_global_config, &config));

  Event e;
  begin(&e, EventProtocolPauseStatusChanged);
  put_Flag(&e.w, &config.is_paused);
  put_Key(&e.w, &config.admin);
  return emit(&e, chain_time());
}
