/* Reading, checking, making and writing accounts. */
#include "accounts.h"

static NOINLINE u64 refuse(Ctx *c, const Account *account, u64 code) {
  c->culprit = account->key;
  return code;
}
#define REQUIRE_ACCOUNT(condition, account, code) \
  do { if (!(condition)) return refuse(c, (account), (code)); } while (0)

#define TAKE(type, name) take_##type(&r, &value->name);
#define PUT(type, name) put_##type(&w, &value->name);

/* Bytes behind the fields are zeroed: an Option that became None would leave its old tail there. */
#define CODEC(Type, name, FIELDS, discriminator) \
  static NOINLINE u64 read_##name(Ctx *c, const Account *account, Type *value) { \
    Reader r = {account->data + 8, account->data + account->data_len, 0}; \
    FIELDS(TAKE) \
    REQUIRE_ACCOUNT(!r.bad, account, ErrAccountDidNotDeserialize); \
    return 0; \
  } \
  static NOINLINE u64 save_##name(Ctx *c, const Account *account, u64 space, const Type *value) { \
    Writer w = {account->data, account->data + space, 0}; \
    u64 tag = discriminator; \
    put_u64(&w, &tag); \
    FIELDS(PUT) \
    REQUIRE_ACCOUNT(!w.bad, account, ErrAccountDidNotSerialize); \
    sol_memset_(w.at, 0, (u64)(w.end - w.at)); \
    return 0; \
  }

CODEC(Config, config, CONFIG_FIELDS, AccountGlobalConfig)
CODEC(Market, market, MARKET_FIELDS, AccountMarketAccount)
CODEC(Position, position, POSITION_FIELDS, AccountUserPosition)

static NOINLINE u64 save_vote(Ctx *c, const Account *account, const Vote *value) {
  Writer w = {account->data, account->data + VOTE_SPACE, 0};
  u64 tag = AccountVoteRecord;
  put_u64(&w, &tag);
  VOTE_FIELDS(PUT)
  REQUIRE_ACCOUNT(!w.bad, account, ErrAccountDidNotSerialize);
  return 0;
}

/* --- program derived addresses ------------------------------------------------------------------------------ */

#define SEED(text) {(text), sizeof(text) - 1}

/* The address for `seeds`, whose last one is the bump, must be the account's. */
static NOINLINE u64 check_address(Ctx *c, const Account *account, const Bytes *seeds, u64 count) {
  Key expected;
  u64 none = sol_create_program_address(seeds, count, c->program, &expected);
  REQUIRE_ACCOUNT(!none && same_key(&expected, account->key), account, ErrConstraintSeeds);
  return 0;
}

/* The same for an account that may not exist yet: finds the bump, which must be the last seed's byte. */
static NOINLINE u64 find_address(Ctx *c, const Account *account, const Bytes *seeds, u64 count) {
  Key expected;
  u8 *bump = (u8 *)seeds[count - 1].at;
  u64 none = sol_try_find_program_address(seeds, count - 1, c->program, &expected, bump);
  REQUIRE_ACCOUNT(!none && same_key(&expected, account->key), account, ErrConstraintSeeds);
  return 0;
}

static u64 load_config(Ctx *c, u64 index, Config *config) {
  const Account *account = &c->accounts[index];
  TRY(read_config(c, account, config));
  const Bytes seeds[] = {SEED("global-config"), {&config->bump, 1}};
  return check_address(c, account, seeds, 2);
}

static u64 load_market(Ctx *c, u64 index, Market *market) {
  const Account *account = &c->accounts[index];
  TRY(read_market(c, account, market));
  const Bytes seeds[] = {SEED("market"), {&market->market_id, 32}, {&market->bump, 1}};
  return check_address(c, account, seeds, 3);
}

static u64 load_position(Ctx *c, u64 index, const Account *market, const Account *user, Position *position) {
  const Account *account = &c->accounts[index];
  TRY(read_position(c, account, position));
  const Bytes seeds[] = {SEED("position"), {market->key, 32}, {user->key, 32}, {&position->bump, 1}};
  return check_address(c, account, seeds, 4);
}

static u64 store_config(Ctx *c, u64 index, const Config *config) {
  return save_config(c, &c->accounts[index], c->accounts[index].data_len, config);
}

static u64 store_market(Ctx *c, u64 index, const Market *market) {
  return save_market(c, &c->accounts[index], c->accounts[index].data_len, market);
}

static u64 store_position(Ctx *c, u64 index, const Position *position) {
  return save_position(c, &c->accounts[index], c->accounts[index].data_len, position);
}

/* --- what the interface says about each account ------------------------------------------------------------- */

static u64 check_owned(Ctx *c, const Account *account, u64 discriminator) {
  int missing = *account->lamports == 0 && same_key(account->owner, &SYSTEM_PROGRAM);
  REQUIRE_ACCOUNT(!missing, account, ErrAccountNotInitialized);
  REQUIRE_ACCOUNT(same_key(account->owner, c->program), account, ErrAccountOwnedByWrongProgram);
  REQUIRE_ACCOUNT(account->data_len >= 8, account, ErrAccountDiscriminatorNotFound);
  REQUIRE_ACCOUNT(*(const u64 *)account->data == discriminator, account, ErrAccountDiscriminatorMismatch);
  return 0;
}

static u64 check_kind(Ctx *c, const Account *account, u8 kind) {
  if (kind == CONFIG) return check_owned(c, account, AccountGlobalConfig);
  if (kind == MARKET) return check_owned(c, account, AccountMarketAccount);
  if (kind == POSITION) return check_owned(c, account, AccountUserPosition);
  if (kind == SYSTEM) REQUIRE_ACCOUNT(same_key(account->key, &SYSTEM_PROGRAM), account, ErrInvalidProgramId);
  return 0;
}

/* A wallet that is only paid and that no transaction may write, since it is a program or a sysvar: what it is owed
 * will be noted, so it need not be writable. */
static int never_writable(const Account *account, const Slot *slot) {
  if (slot->signer || slot->kind != ANY) return 0;
  return account->executable || same_key(account->owner, &SYSVAR_OWNER);
}

/* In Anchor's order: first what each account is, then whether it may be written. */
static NOINLINE u64 check_accounts(Ctx *c, const Slot *slots, u64 count) {
  REQUIRE(c->n >= count, ErrAccountNotEnoughKeys);
  for (u64 i = 0; i < count; i++) {
    const Account *account = &c->accounts[i];
    REQUIRE_ACCOUNT(!slots[i].signer || account->is_signer, account, ErrAccountNotSigner);
    TRY(check_kind(c, account, slots[i].kind));
  }
  for (u64 i = 0; i < count; i++) {
    const Account *account = &c->accounts[i];
    int fits = !slots[i].writable || account->is_writable || never_writable(account, &slots[i]);
    REQUIRE_ACCOUNT(fits, account, ErrConstraintMut);
  }
  return 0;
}

#define CHECK_ACCOUNTS(name) TRY(check_accounts(c, name##_slots, sizeof name##_slots / sizeof(Slot)))
#define ACCOUNT(instruction, name) (&c->accounts[instruction##_##name])
