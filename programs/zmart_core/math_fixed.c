/* Fixed point for sBPF, which has neither a 128-bit multiply nor floats. Qn means a value times 2^n. */
#pragma once
#include "math.h"

#define FX_ONE_Q58 (1UL << 58)
#define FX_ONE_Q63 (1UL << 63)
#define FX_LOG2E_Q63 0xb8aa3b295c17f0bbUL
#define FX_LN2_Q64 0xb17217f7d1cf79acUL

/* 2^(-i/16), Q64, nearest; the first is 1 and never read */
static const u64 FX_EXP2_Q64[16] = {
    0,
    0xf5257d152486cc2cUL, 0xeac0c6e7dd24392fUL, 0xe0ccdeec2a94e111UL, 0xd744fccad69d6af4UL, 0xce248c151f8480e4UL,
    0xc5672a115506daddUL, 0xbd08a39f580c36bfUL, 0xb504f333f9de6484UL, 0xad583eea42a14ac6UL, 0xa5fed6a9b15138eaUL,
    0x9ef5326091a111aeUL, 0x9837f0518db8a96fUL, 0x91c3d373ab11c336UL, 0x8b95c1e3ea8bd6e7UL, 0x85aac367cc487b15UL,
};

/* ln(1 + i/16), Q62, nearest */
static const u64 FX_LN_Q62[17] = {
    0x0UL,
    0x3e14618022c54ccUL, 0x789c1db8abcb97aUL, 0xaff983853c9e9e4UL, 0xe47fbe3cd4d10d6UL,
    0x11675cababa60e04UL, 0x14618bc21c5ec27dUL, 0x1739d7f6bbd0069dUL, 0x19f323ecbf984bf3UL,
    0x1c8ff7c79a9a21acUL, 0x1f128f5faf06ecb3UL, 0x217ce5c84a55056dUL, 0x23d0bebce081a07cUL,
    0x260fae669e217c3fUL, 0x283b1fd08ce55cc9UL, 0x2a545a4cb78b55ddUL, 0x2c5c85fdf473de6bUL,
};

/* floor(a * b / 2^64). The barrier hides the idiom from clang, which would make a 128-bit multiply of it. */
static inline u64 fx_mul_hi(u64 a, u64 b) {
  u64 a0 = a & 0xffffffffUL, a1 = a >> 32, b0 = b & 0xffffffffUL, b1 = b >> 32;
  u64 mid = a1 * b0 + (a0 * b0 >> 32);
  __asm__("" : "+r"(mid));
  u64 mid2 = a0 * b1 + (mid & 0xffffffffUL);
  return a1 * b1 + (mid >> 32) + (mid2 >> 32);
}

/* floor((hi * 2^64 + lo) / d) for hi < d: two digits of 32 bits (Knuth, The Art of Computer Programming 2, 4.3.1 D). */
static __attribute__((noinline)) u64 fx_div_wide(u64 hi, u64 lo, u64 d) {
  u64 shift = (u64)__builtin_clzl(d);
  if (shift) {
    hi = hi << shift | lo >> (64 - shift);
    lo <<= shift;
    d <<= shift;
  }
  u64 d1 = d >> 32, d0 = d & 0xffffffffUL, quotient = 0;
  for (int half = 0; half < 2; half++) {
    u64 next = half ? lo & 0xffffffffUL : lo >> 32;
    u64 digit = hi / d1, rest = hi - digit * d1;
    while (digit >> 32 || digit * d0 > (rest << 32 | next)) {
      digit--;
      rest += d1;
      if (rest >> 32) break;
    }
    hi = (hi << 32 | next) - digit * d;
    quotient = quotient << 32 | digit;
  }
  return quotient;
}

/* floor(2^58 * a / b) for b < 2^50 and a < 64 b: long division, 14 bits a step. */
static u64 fx_ratio_q58(u64 a, u64 b) {
  u64 quotient = a / b, rest = a % b;
  for (int step = 0; step < 4; step++) {
    rest <<= 14;
    quotient = quotient << 14 | rest / b;
    rest %= b;
  }
  return quotient << 2 | (rest << 2) / b;
}

/* exp(-x), Q58 to Q58. Falls or stays as x grows; exactly 1 at 0. */
static u64 fx_exp_neg(u64 x_q58) {
  u64 whole_q57 = fx_mul_hi(x_q58, FX_LOG2E_Q63), low = x_q58 * FX_LOG2E_Q63;
  u64 halvings = whole_q57 >> 57;
  if (halvings > 58) return 0;
  u64 fraction_q64 = whole_q57 << 7 | low >> 57;
  u64 sixteenth = fraction_q64 >> 60;
  u64 u_q64 = fx_mul_hi(fraction_q64 & ((1UL << 60) - 1), FX_LN2_Q64);
  u64 e_q63 = FX_ONE_Q63;
  for (u64 n = 9; n; n--) e_q63 = FX_ONE_Q63 - fx_mul_hi(u_q64, e_q63) / n;
  if (sixteenth) e_q63 = fx_mul_hi(e_q63, FX_EXP2_Q64[sixteenth]);
  return e_q63 >> (5 + halvings);
}

/* ln(1 + e) for 0 <= e <= 1, Q58 to Q62. Grows or stays as e grows.
 * ln(1 + e) = ln c + 2 atanh(s), c the sixteenth below 1 + e and s = (1 + e - c) / (1 + e + c) < 1/32. */
static u64 fx_ln_1p(u64 e_q58) {
  u64 sixteenth = e_q58 >> 54, c_q58 = FX_ONE_Q58 + (sixteenth << 54), z_q58 = FX_ONE_Q58 + e_q58;
  u64 s_q64 = fx_div_wide(z_q58 - c_q58, 0, z_q58 + c_q58);
  u64 square_q64 = fx_mul_hi(s_q64, s_q64);
  u64 series_q63 = FX_ONE_Q63 / 11;
  for (u64 n = 5; n; n--) series_q63 = FX_ONE_Q63 / (2 * n - 1) + fx_mul_hi(square_q64, series_q63);
  return FX_LN_Q62[sixteenth] + fx_mul_hi(s_q64, series_q63);
}
