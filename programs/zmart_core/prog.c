/* The ZMART market program, one translation unit. The interface is that of the IDL; docs/program.md says where the
 * rules differ from v0.69. Every instruction: decode arguments, check accounts, check rules, move money, write, emit. */
#include "interface.h"
#include "sol.h"

#include "math.c"

#include "borsh.c"
#include "accounts.c"
#include "system.c"
#include "debts.c"
#include "events.c"
#include "config.c"
#include "votes.c"
#include "proposal.c"
#include "trading.c"
#include "resolution.c"
#include "dispute.c"
#include "settlement.c"

enum { MAX_GROWTH = 10240, NOT_A_DUPLICATE = 0xff };

/* One account of the input: flags, key, owner, lamports, data with room to grow, rent epoch. Returns what follows it. */
static u8 *parse_account(u8 *at, Account *account) {
  account->is_signer = at[1];
  account->is_writable = at[2];
  account->executable = at[3];
  account->key = (const Key *)(at + 8);
  account->owner = (const Key *)(at + 40);
  account->lamports = (u64 *)(at + 72);
  account->data_len = *(const u64 *)(at + 80);
  account->data = at + 88;
  at = account->data + account->data_len + MAX_GROWTH;
  at += -(u64)at & 7;
  account->rent_epoch = *(const u64 *)at;
  return at + 8;
}

/* Accounts beyond those an instruction can name are walked over, since its data lies behind them. */
static void parse_input(u8 *at, Ctx *c) {
  Account beyond;
  u64 n = *(const u64 *)at;
  at += 8;
  for (u64 i = 0; i < n; i++) {
    Account *account = i < MAX_ACCOUNTS ? &c->accounts[i] : &beyond;
    if (*at == NOT_A_DUPLICATE) { at = parse_account(at, account); continue; }
    if (i < MAX_ACCOUNTS) *account = c->accounts[*at];
    at += 8;
  }
  c->n = n < MAX_ACCOUNTS ? n : MAX_ACCOUNTS;
  c->data_len = *(const u64 *)at;
  c->data = at + 8;
  c->program = (const Key *)(c->data + c->data_len);
  c->culprit = 0;
}

static u64 dispatch(Ctx *c) {
  REQUIRE(c->data_len >= 8, ErrInstructionFallbackNotFound);
  switch (*(const u64 *)c->data) {
#define CASE(name, discriminator, line) case discriminator: LOG(line); return name(c);
    INSTRUCTIONS(CASE)
#undef CASE
  }
  return ErrInstructionFallbackNotFound;
}

static NOINLINE void report(const Ctx *c, u64 code) {
  switch (code) {
#define CASE(number, line) case number: LOG(line); break;
    ERROR_LINES(CASE)
#undef CASE
  }
  if (c->culprit) sol_log_pubkey(c->culprit);
}

u64 entrypoint(u8 *input) {
  Ctx c;
  parse_input(input, &c);
  u64 code = dispatch(&c);
  if (code) report(&c, code);
  return code;
}
