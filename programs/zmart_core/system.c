/* Money: rent, transfers, new accounts. */
#include "accounts.h"

enum { CreateAccount = 0, Assign = 1, Transfer = 2, Allocate = 8 }; /* instructions of the System program */

/* Rent = (128 + size) * rate * threshold. The threshold is an f64 (2.0 today, 1.0 announced): its exponent is taken
 * as a shift, and a fraction, if one ever came, rounds up to the next power of two. */
static u64 rent_minimum(u64 size, u64 *lamports) {
  Rent rent;
  TRY(sol_get_rent_sysvar(&rent));
  u64 exponent = rent.threshold_bits >> 52, fraction = rent.threshold_bits << 12;
  REQUIRE(exponent >= 1023 && exponent < 1023 + 16, ErrOverflowError);
  u64 shift = exponent - 1023 + (fraction != 0);
  *lamports = ((128 + size) * rent.lamports_per_byte_year) << shift;
  return 0;
}

static NOINLINE u64 invoke_system(Ctx *c, const Meta *metas, u64 n_metas, const Bytes *data, const SignerSeeds *signer) {
  Instruction instruction = {&SYSTEM_PROGRAM, metas, n_metas, data->at, data->len};
  return sol_invoke_signed_c(&instruction, c->accounts, c->n, signer, signer ? 1 : 0);
}

/* From a wallet that signed the transaction. */
static u64 transfer(Ctx *c, const Account *from, const Account *to, u64 lamports) {
  if (!lamports) return 0;
  struct { u32 instruction, lamports[2]; } data = {Transfer, {(u32)lamports, (u32)(lamports >> 32)}};
  Meta metas[] = {{from->key, 1, 1}, {to->key, 1, 0}};
  Bytes bytes = {&data, sizeof data};
  return invoke_system(c, metas, 2, &bytes, 0);
}

/* From the market, which this program owns and therefore may debit itself. */
static u64 pay_out(const Account *market, const Account *to, u64 lamports) {
  u64 rent;
  if (!lamports) return 0;
  REQUIRE(*market->lamports >= lamports, ErrInsufficientFunds);
  TRY(rent_minimum(market->data_len, &rent));
  REQUIRE(*market->lamports - lamports >= rent, ErrWouldBreakRentExemption);
  *market->lamports -= lamports;
  *to->lamports += lamports;
  return 0;
}

typedef struct { const Account *payer, *target; const SignerSeeds *signer; u64 space, rent; } NewAccount;

static u64 create_empty(Ctx *c, const NewAccount *new) {
  u8 data[52];
  *(u32 *)data = CreateAccount;
  *(u64 *)(data + 4) = new->rent;
  *(u64 *)(data + 12) = new->space;
  sol_memcpy_(data + 20, c->program, 32);
  Meta metas[] = {{new->payer->key, 1, 1}, {new->target->key, 1, 1}};
  Bytes bytes = {data, sizeof data};
  return invoke_system(c, metas, 2, &bytes, new->signer);
}

/* An address that already holds lamports cannot be created, only topped up, sized and taken over; otherwise anybody
 * could block a market or a vote by sending it a lamport. On an account that exists, Allocate fails (Custom 0). */
static u64 take_over(Ctx *c, const NewAccount *new) {
  u8 data[36];
  Meta meta = {new->target->key, 1, 1};
  u64 held = *new->target->lamports;
  if (held < new->rent) TRY(transfer(c, new->payer, new->target, new->rent - held));
  *(u32 *)data = Allocate;
  *(u64 *)(data + 4) = new->space;
  Bytes allocate = {data, 12};
  TRY(invoke_system(c, &meta, 1, &allocate, new->signer));
  *(u32 *)data = Assign;
  sol_memcpy_(data + 4, c->program, 32);
  Bytes assign = {data, 36};
  return invoke_system(c, &meta, 1, &assign, new->signer);
}

/* Make `target`, the address of `seeds` (bump included), an account of this program with `space` zero bytes. */
static NOINLINE u64 create_account(Ctx *c, const Account *payer, const Account *target, const SignerSeeds *seeds, u64 space) {
  NewAccount new = {payer, target, seeds, space, 0};
  TRY(rent_minimum(space, &new.rent));
  return *target->lamports ? take_over(c, &new) : create_empty(c, &new);
}

static i64 chain_time(void) {
  Clock clock;
  sol_get_clock_sysvar(&clock);
  return clock.unix_timestamp;
}
