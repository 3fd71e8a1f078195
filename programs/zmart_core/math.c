/* LMSR with the potential C = max(q_yes, q_no) + F(|q_yes - q_no|, b). See docs/pricing.md. */
#include "math_fixed.c"

/* Covers every downward error of exp and ln, so that F is never below b ln(1 + exp(-d/b)). */
#define LMSR_MARGIN_Q62 32UL
#define LMSR_LN2_Q58 0x2c5c85fdf473de8UL
#define LMSR_PRICE_ONE 1000000000UL

u64 muldiv(u64 a, u64 b, u64 d, u64 *out) {
  if (d == 0) return LMSR_ERR_DIVISION_BY_ZERO;
  u64 hi = fx_mul_hi(a, b);
  if (hi >= d) return LMSR_ERR_OVERFLOW;
  *out = hi ? fx_div_wide(hi, a * b, d) : a * b / d;
  return 0;
}

static inline u64 lmsr_gap(u64 q_a, u64 q_b) { return q_a > q_b ? q_a - q_b : q_b - q_a; }

static u64 lmsr_check(u64 q_a, u64 q_b, u64 b) {
  if (b < LMSR_MIN_B || b > LMSR_MAX_B) return LMSR_ERR_INVALID_B;
  if (q_a > LMSR_MAX_Q || q_b > LMSR_MAX_Q) return LMSR_ERR_OVERFLOW;
  if (lmsr_gap(q_a, q_b) > LMSR_MAX_EXPONENT * b) return LMSR_ERR_EXPONENT_TOO_LARGE;
  return 0;
}

/* The potential of quantities that passed lmsr_check. */
static __attribute__((noinline)) u64 lmsr_potential(u64 q_a, u64 q_b, u64 b) {
  u64 x_q58 = fx_ratio_q58(lmsr_gap(q_a, q_b), b);
  u64 ln_q62 = fx_ln_1p(fx_exp_neg(x_q58)) + LMSR_MARGIN_Q62;
  u64 hi = fx_mul_hi(b, ln_q62), low = b * ln_q62;
  u64 f = (hi << 2 | low >> 62) + ((low & (LMSR_MAX_Q - 1)) != 0);
  return (q_a > q_b ? q_a : q_b) + f;
}

u64 lmsr_cost(u64 q_yes, u64 q_no, u64 b, u64 *cost) {
  u64 error = lmsr_check(q_yes, q_no, b);
  if (error) return error;
  *cost = lmsr_potential(q_yes, q_no, b);
  return 0;
}

u64 lmsr_price_yes(u64 q_yes, u64 q_no, u64 b, u64 *price_e9) {
  u64 error = lmsr_check(q_yes, q_no, b);
  if (error) return error;
  u64 odds_q58 = FX_ONE_Q58 + fx_exp_neg(fx_ratio_q58(lmsr_gap(q_yes, q_no), b));
  u64 dear = fx_div_wide(LMSR_PRICE_ONE >> 6, odds_q58 / 2, odds_q58); /* 1e9 * 2^58 / odds, nearest */
  *price_e9 = q_yes >= q_no ? dear : LMSR_PRICE_ONE - dear;
  return 0;
}

u64 lmsr_sell(u64 q_side, u64 q_other, u64 b, u64 shares, u64 *gross) {
  u64 error = lmsr_check(q_side, q_other, b);
  if (error) return error;
  if (shares > q_side) return LMSR_ERR_INSUFFICIENT_SHARES;
  error = lmsr_check(q_side - shares, q_other, b);
  if (error) return error;
  *gross = lmsr_potential(q_side, q_other, b) - lmsr_potential(q_side - shares, q_other, b);
  return 0;
}

/* Where C would be q_other + rise in real numbers: q_other + rise + b ln(1 - exp(-rise/b)), 0 if that is negative.
 * out2[1] is how far the integer answer may be from it: a little, and the noise of C over the price. */
static void lmsr_guess(u64 q_other, u64 rise, u64 b, u64 *out2) {
  u64 price_q58 = FX_ONE_Q58 - fx_exp_neg(fx_ratio_q58(rise, b));
  u64 halvings = (u64)__builtin_clzl(price_q58) - 5;
  u64 minus_ln_q58 = halvings * LMSR_LN2_Q58 - (fx_ln_1p((price_q58 << halvings) - FX_ONE_Q58) >> 4);
  u64 back = fx_mul_hi(b, minus_ln_q58) << 6 | b * minus_ln_q58 >> 58;
  out2[0] = q_other + rise > back ? q_other + rise - back : 0;
  out2[1] = 2 + b * 8 / price_q58;
}

/* The largest q in [first, last] with C(q, q_other) <= target, given that C(first) is, from the guess outwards. */
static u64 lmsr_search(u64 first, u64 last, u64 q_other, u64 b, u64 target) {
  u64 guess[2];
  lmsr_guess(q_other, target - q_other, b, guess);
  u64 step = guess[1], low = guess[0] > step ? guess[0] - step : 0, high;
  if (low > last) low = last;
  if (low < first) low = first;
  while (low > first && lmsr_potential(low, q_other, b) > target) {
    last = low - 1;
    low = low - first > step ? low - step : first;
    step *= 2;
  }
  for (high = low + 2 * guess[1]; high <= last && lmsr_potential(high, q_other, b) <= target; step *= 2) {
    low = high;
    high = low + step;
  }
  if (high > last) high = last + 1;
  while (high - low > 1) {
    u64 middle = low + (high - low) / 2;
    if (lmsr_potential(middle, q_other, b) <= target) low = middle;
    else high = middle;
  }
  return low;
}

u64 lmsr_buy(u64 q_side, u64 q_other, u64 b, u64 budget, u64 *out2) {
  u64 error = lmsr_check(q_side, q_other, b);
  if (error) return error;
  u64 last = q_other + LMSR_MAX_EXPONENT * b;
  error = LMSR_ERR_EXPONENT_TOO_LARGE;
  if (last > LMSR_MAX_Q) {
    last = LMSR_MAX_Q;
    error = LMSR_ERR_OVERFLOW;
  }
  u64 before = lmsr_potential(q_side, q_other, b);
  if (lmsr_potential(last, q_other, b) - before < budget) return error;
  u64 after = lmsr_search(q_side, last, q_other, b, before + budget);
  out2[0] = after - q_side;
  out2[1] = lmsr_potential(after, q_other, b) - before;
  return 0;
}
