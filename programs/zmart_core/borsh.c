/* Borsh: a Reader and a Writer that never leave their bytes. After the last field ask `bad` once. */
#include "accounts.h"

typedef struct { const u8 *at, *end; int bad; } Reader;
typedef struct { u8 *at, *end; int bad; } Writer;

static int readable(Reader *r, u64 len) {
  if ((u64)(r->end - r->at) < len) r->bad = 1;
  return !r->bad;
}

static int writable(Writer *w, u64 len) {
  if ((u64)(w->end - w->at) < len) w->bad = 1;
  return !w->bad;
}

/* sBPF loads and stores need no alignment, so a field is read where it lies. */
#define NUMBER(type) \
  static void take_##type(Reader *r, type *value) { \
    *value = 0; \
    if (!readable(r, sizeof(type))) return; \
    *value = *(const type *)r->at; \
    r->at += sizeof(type); \
  } \
  static void put_##type(Writer *w, const type *value) { \
    if (!writable(w, sizeof(type))) return; \
    *(type *)w->at = *value; \
    w->at += sizeof(type); \
  }

#define BYTES(type) \
  static void take_##type(Reader *r, type *value) { \
    if (!readable(r, sizeof(type))) return; \
    sol_memcpy_(value, r->at, sizeof(type)); \
    r->at += sizeof(type); \
  } \
  static void put_##type(Writer *w, const type *value) { \
    if (!writable(w, sizeof(type))) return; \
    sol_memcpy_(w->at, value, sizeof(type)); \
    w->at += sizeof(type); \
  }

NUMBER(u8) NUMBER(u16) NUMBER(u32) NUMBER(u64) NUMBER(i64)
BYTES(Key) BYTES(Cid) BYTES(Spare64) BYTES(Spare63)

static void take_below(Reader *r, u8 limit, u8 *value) {
  take_u8(r, value);
  if (*value >= limit) r->bad = 1;
}

static void take_Flag(Reader *r, Flag *value) { take_below(r, 2, value); }
static void put_Flag(Writer *w, const Flag *value) { put_u8(w, value); }
static void take_State(Reader *r, State *value) { take_below(r, Cancelled + 1, value); }
static void put_State(Writer *w, const State *value) { put_u8(w, value); }

static void take_Outcome(Reader *r, Outcome *value) {
  Flag some, yes;
  *value = OutcomeNone;
  take_Flag(r, &some);
  if (r->bad || !some) return;
  take_Flag(r, &yes);
  *value = yes ? OutcomeYes : OutcomeNo;
}

static void put_Outcome(Writer *w, const Outcome *value) {
  Flag some = *value != OutcomeNone, yes = *value == OutcomeYes;
  put_Flag(w, &some);
  if (some) put_Flag(w, &yes);
}

static void take_Moment(Reader *r, Moment *value) {
  value->at = 0;
  take_Flag(r, &value->some);
  if (!r->bad && value->some) take_i64(r, &value->at);
}

static void put_Moment(Writer *w, const Moment *value) {
  put_Flag(w, &value->some);
  if (value->some) put_i64(w, &value->at);
}

/* The arguments of the instruction: what follows the discriminator. */
#define ARGUMENTS(c) {(c)->data + 8, (c)->data + (c)->data_len, 0}
#define REQUIRE_DECODED(args) REQUIRE(!(args).bad, ErrInstructionDidNotDeserialize)
