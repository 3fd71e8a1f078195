/* Events as Anchor's emit! writes them: one log line `Program data: <base64 of discriminator + Borsh>`. */
#include "accounts.h"

enum { LONGEST_EVENT = 127 }; /* MarketResolved */
typedef struct { Writer w; u8 bytes[LONGEST_EVENT + 1]; } Event;

static void begin(Event *e, u64 discriminator) {
  e->w.at = e->bytes;
  e->w.end = e->bytes + sizeof e->bytes;
  e->w.bad = 0;
  put_u64(&e->w, &discriminator);
}

static void begin_for_market(Event *e, u64 discriminator, const Market *market) {
  begin(e, discriminator);
  put_Key(&e->w, &market->market_id);
}

static u64 emit(Event *e, i64 now) {
  put_i64(&e->w, &now);
  Bytes bytes = {e->bytes, (u64)(e->w.at - e->bytes)};
  return sol_log_data(&bytes, 1);
}
