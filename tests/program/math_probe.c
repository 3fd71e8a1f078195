/* Calls one pricing function per instruction, so that tests can compare it with Python and count its compute units.
 * Data: five u64 (which, then its arguments). Logged: three u64 (error code, two results). */
#include "../../programs/zmart_core/math.c"

typedef struct { const u64 *start; u64 length; } ProbeBytes;
extern u64 sol_log_data(const ProbeBytes *, u64);

enum { PROBE_NOTHING, PROBE_COST, PROBE_PRICE, PROBE_BUY, PROBE_SELL, PROBE_MULDIV };

static u64 probe(const u64 *call, u64 *results) {
  switch (call[0]) {
    case PROBE_COST: return lmsr_cost(call[1], call[2], call[3], results);
    case PROBE_PRICE: return lmsr_price_yes(call[1], call[2], call[3], results);
    case PROBE_BUY: return lmsr_buy(call[1], call[2], call[3], call[4], results);
    case PROBE_SELL: return lmsr_sell(call[1], call[2], call[3], call[4], results);
    case PROBE_MULDIV: return muldiv(call[1], call[2], call[3], results);
  }
  return 0;
}

/* The input of an instruction without accounts: their number (0), the length of the data, the data. */
u64 entrypoint(const u64 *input) {
  u64 answer[3] = {0, 0, 0};
  answer[0] = probe(input + 2, answer + 1);
  ProbeBytes bytes = {answer, sizeof answer};
  sol_log_data(&bytes, 1);
  return 0;
}
