/* LMSR pricing in integers. docs/pricing.md states the formulas and their error bounds.
 *
 * Quantities and b are in 1e-9 shares, costs in lamports, prices in 1e-9. Every function returns 0 or the
 * program's custom error code, and writes its result only when it returns 0. */
#pragma once
#include "types.h"

#define LMSR_MIN_B 10000000UL           /* 0.01 SOL */
#define LMSR_MAX_B 1000000000000000UL   /* 1e15; must stay below 2^50 */
#define LMSR_MAX_Q (1UL << 62)          /* the most shares of one side; more is an overflow */
#define LMSR_MAX_EXPONENT 60UL          /* |q_yes - q_no| <= 60 b; must stay below 64 */

#define LMSR_ERR_INSUFFICIENT_SHARES 6014UL
#define LMSR_ERR_OVERFLOW 6033UL
#define LMSR_ERR_DIVISION_BY_ZERO 6035UL
#define LMSR_ERR_EXPONENT_TOO_LARGE 6039UL
#define LMSR_ERR_INVALID_B 6042UL

/* The potential C = max(q_yes, q_no) + F(|q_yes - q_no|, b); a trade costs C(after) - C(before). */
u64 lmsr_cost(u64 q_yes, u64 q_no, u64 b, u64 *cost);

/* The price of YES, to the nearest 1e-9; the price of NO is 1e9 minus it. */
u64 lmsr_price_yes(u64 q_yes, u64 q_no, u64 b, u64 *price_e9);

/* out2[0] = the most shares whose cost is at most the budget, out2[1] = what they cost. */
u64 lmsr_buy(u64 q_side, u64 q_other, u64 b, u64 budget, u64 *out2);

/* What the pool gives back for shares, before fees. */
u64 lmsr_sell(u64 q_side, u64 q_other, u64 b, u64 shares, u64 *gross);

/* floor(a * b / d) over a 128-bit product. */
u64 muldiv(u64 a, u64 b, u64 d, u64 *out);
