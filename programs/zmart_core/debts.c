/* What a market owes to wallets that only receive money: the resolver's reward, the protocol's fee. No instruction fails
 * because such a wallet cannot be credited: the debt is noted in the market, its lamports stay in the market's account,
 * and every later instruction that moves the market's money pays it if the wallet is among its accounts. */
#include "accounts.h"

/* What the runtime allows at the end of a transaction: no program is credited, and nobody is left below rent exemption. */
static int payable(const Account *to, u64 lamports) {
  u64 rent, after;
  if (!to->is_writable || to->executable) return 0;
  return !rent_minimum(to->data_len, &rent) && !add(*to->lamports, lamports, &after) && after >= rent;
}

/* The lamports that the market owes to this wallet. All of them lie in the account, so the sum fits. */
static u64 owed_to(const Market *market, const Key *wallet) {
  u64 owed = same_key(wallet, &market->resolver) ? market->owed_resolver : 0;
  return owed + (same_key(wallet, &market->fee_wallet) ? market->owed_protocol : 0);
}

/* All of what the wallet is owed or nothing of it: one who is resolver and fee wallet may need both to make its account. */
static void pay_debt(const Account *account, const Account *to, Market *market) {
  u64 owed = owed_to(market, to->key);
  if (!owed || !payable(to, owed) || pay_out(account, to, owed)) return;
  if (same_key(to->key, &market->resolver)) market->owed_resolver = 0;
  if (same_key(to->key, &market->fee_wallet)) market->owed_protocol = 0;
}

/* Pays whom it can among the accounts of the instruction, named by the interface or added behind those. No CPI may
 * follow: the runtime would find its accounts out of balance. */
static void settle_debts(const Ctx *c, const Account *account, Market *market) {
  for (u64 i = 0; i < c->n; i++) pay_debt(account, &c->accounts[i], market);
}
