/* A program that calls another with the flags that its caller chooses, as the wallet "vault" of its own: what a multisig
 * does, and what an attacker may do. Accounts: the program to call, then those of the call.
 * Data: the bump of the vault, one byte for each account of the call (1 writable, 2 signer), the data of the call. */
#define entrypoint zmart_entrypoint
#include "../../programs/zmart_core/prog.c"
#undef entrypoint

u64 entrypoint(u8 *input) {
  Ctx c;
  Meta metas[MAX_ACCOUNTS];
  parse_input(input, &c);
  u64 n = c.n - 1;
  const u8 *flags = c.data + 1;
  for (u64 i = 0; i < n; i++) {
    metas[i].key = c.accounts[i + 1].key;
    metas[i].is_writable = flags[i] & 1;
    metas[i].is_signer = flags[i] >> 1;
  }
  const Bytes seeds[] = {SEED("vault"), {c.data, 1}};
  const SignerSeeds vault = {seeds, 2};
  const Instruction call = {c.accounts[0].key, metas, n, flags + n, c.data_len - 1 - n};
  return sol_invoke_signed_c(&call, c.accounts, c.n, &vault, 1);
}
