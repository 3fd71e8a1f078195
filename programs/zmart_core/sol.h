/* The Solana program ABI in C: input buffer of loader v3, syscalls, System program calls.
 * Layouts follow the C side of the runtime (SolAccountInfo, SolInstruction, SolSignerSeeds). */
#pragma once
#include "types.h"
#include "interface.h"

typedef struct { u64 w[4]; } Key;
typedef struct { const void *at; u64 len; } Bytes; /* also SolSignerSeed */
typedef struct { const Bytes *seeds; u64 count; } SignerSeeds;

/* == SolAccountInfo. Two entries for one account share `lamports` and `data`, so every balance change must go
 * through the pointer, never through a copy taken before another account was touched. */
typedef struct {
  const Key *key;
  u64 *lamports;
  u64 data_len;
  u8 *data;
  const Key *owner;
  u64 rent_epoch;
  u8 is_signer, is_writable, executable;
} Account;

typedef struct { const Key *key; u8 is_writable, is_signer; } Meta;
typedef struct { const Key *program; const Meta *metas; u64 n_metas; const u8 *data; u64 data_len; } Instruction;
typedef struct { u64 slot; i64 epoch_start; u64 epoch; u64 leader_epoch; i64 unix_timestamp; } Clock;
/* `threshold_bits` is an f64, which sBPF cannot calculate with: see rent_minimum(). */
typedef struct { u64 lamports_per_byte_year, threshold_bits; u8 burn_percent; } Rent;

extern u64 sol_log_(const char *, u64);
extern u64 sol_log_pubkey(const Key *);
extern u64 sol_log_data(const Bytes *, u64);
extern u64 sol_memcpy_(void *, const void *, u64);
extern u64 sol_memset_(void *, u8, u64);
extern u64 sol_get_clock_sysvar(Clock *);
extern u64 sol_get_rent_sysvar(Rent *);
extern u64 sol_try_find_program_address(const Bytes *, u64, const Key *, Key *, u8 *);
extern u64 sol_create_program_address(const Bytes *, u64, const Key *, Key *);
extern u64 sol_invoke_signed_c(const Instruction *, const Account *, u64, const SignerSeeds *, u64);

#define LOG(text) sol_log_((text), sizeof(text) - 1)
#define TRY(call) do { u64 code_ = (call); if (code_) return code_; } while (0)
#define REQUIRE(condition, code) do { if (!(condition)) return (code); } while (0)
#define NOINLINE __attribute__((noinline)) /* a frame of its own: sBPF gives 4096 bytes to each */

#define MAX_ACCOUNTS 16
typedef struct {
  Account accounts[MAX_ACCOUNTS];
  u64 n;
  const u8 *data;
  u64 data_len;
  const Key *program;
  const Key *culprit; /* the account that a framework error is about, for the log */
} Ctx;

static const Key SYSTEM_PROGRAM = {{0}};
/* Sysvar1111111111111111111111111111111111111 */
static const Key SYSVAR_OWNER = {{0x29f7751817d5a706, 0x2061218f40933dc7, 0x288ce0768cd87e06, 0x000000006094c17f}};

static inline int same_key(const Key *a, const Key *b) {
  return a->w[0] == b->w[0] && a->w[1] == b->w[1] && a->w[2] == b->w[2] && a->w[3] == b->w[3];
}

static inline u64 add(u64 a, u64 b, u64 *sum) {
  REQUIRE(!__builtin_add_overflow(a, b, sum), ErrOverflowError);
  return 0;
}

static inline u64 sub(u64 a, u64 b, u64 *difference) {
  REQUIRE(a >= b, ErrUnderflowError);
  *difference = a - b;
  return 0;
}
