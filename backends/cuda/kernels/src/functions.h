// Functions of one element or of several, numbered as in functions.go.
#pragma once
#include "types.h"

enum Function {
  COPY, ABS, ACOS, ASIN, ATAN, CEIL, CLIP, COS, DEQUANTIZE, ELU, ERF, EXP, FLOOR, GELU, GELU_TANH, HARD_SIGMOID, HARD_SWISH,
  IS_NAN, LEAKY_RELU, LOG, NEG, NOT, QUANTIZE, RECIPROCAL, RELU, ROUND, SIGMOID, SIGN, SIN, SOFTPLUS, SQRT, SWISH, TANH,
  ADD, AND, DIV, EQUAL, GREATER, GREATER_OR_EQUAL, LESS, LESS_OR_EQUAL, MAX, MIN, MUL, OR, PRELU, POW, SUB, XOR,
  WHERE
};

DEVICE float sigmoid(float x) { return 1 / (1 + expf(-x)); }
DEVICE float clip(float x, float low, float high) { x = x < low ? low : x; return x > high ? high : x; }
DEVICE float gelu(float x) { return 0.5f * x * (1 + erff(x * 0.70710678118654752f)); }
DEVICE float gelu_tanh(float x) { return 0.5f * x * (1 + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x))); }
DEVICE float hard_swish(float x) { return x * clip(x * (1 / 6.f) + 0.5f, 0, 1); }
DEVICE float larger(float x, float y) { return x != x || x > y ? x : y; }
DEVICE float smaller(float x, float y) { return x != x || x < y ? x : y; }

#define EACH(name, value) case name: _Pragma("unroll") for (int i = 0; i < N; i++) x[i] = (value); break;

// Replaces x by an activation of it.
template <int N> DEVICE void activate(int f, float alpha, float beta, float (&x)[N]) {
  switch (f) {
    EACH(RELU, x[i] < 0 ? 0 : x[i])
    EACH(GELU, gelu(x[i]))
    EACH(GELU_TANH, gelu_tanh(x[i]))
    EACH(SWISH, x[i] * sigmoid(x[i]))
    EACH(HARD_SWISH, hard_swish(x[i]))
    EACH(SIGMOID, sigmoid(x[i]))
    EACH(TANH, tanhf(x[i]))
    EACH(CLIP, clip(x[i], alpha, beta))
  }
}

// Replaces x by a function of x and y.
template <int N> DEVICE void apply(int f, float alpha, float beta, float (&x)[N], const float (&y)[N]) {
  switch (f) {
    EACH(ABS, fabsf(x[i]))
    EACH(ACOS, acosf(x[i]))
    EACH(ASIN, asinf(x[i]))
    EACH(ATAN, atanf(x[i]))
    EACH(CEIL, ceilf(x[i]))
    EACH(COS, cosf(x[i]))
    EACH(DEQUANTIZE, (x[i] - beta) * alpha)
    EACH(ELU, x[i] < 0 ? alpha * expm1f(x[i]) : x[i])
    EACH(ERF, erff(x[i]))
    EACH(EXP, expf(x[i]))
    EACH(FLOOR, floorf(x[i]))
    EACH(HARD_SIGMOID, clip(alpha * x[i] + beta, 0, 1))
    EACH(IS_NAN, x[i] != x[i])
    EACH(LEAKY_RELU, x[i] < 0 ? alpha * x[i] : x[i])
    EACH(LOG, logf(x[i]))
    EACH(NEG, -x[i])
    EACH(NOT, x[i] == 0)
    EACH(QUANTIZE, rintf(x[i] / alpha) + beta)
    EACH(RECIPROCAL, 1 / x[i])
    EACH(ROUND, rintf(x[i]))
    EACH(SIGN, (float)(x[i] > 0) - (float)(x[i] < 0))
    EACH(SIN, sinf(x[i]))
    EACH(SOFTPLUS, (x[i] > 0 ? x[i] : 0) + log1pf(expf(-fabsf(x[i]))))
    EACH(SQRT, sqrtf(x[i]))
    EACH(ADD, x[i] + y[i])
    EACH(AND, x[i] != 0 && y[i] != 0)
    EACH(DIV, x[i] / y[i])
    EACH(EQUAL, x[i] == y[i])
    EACH(GREATER, x[i] > y[i])
    EACH(GREATER_OR_EQUAL, x[i] >= y[i])
    EACH(LESS, x[i] < y[i])
    EACH(LESS_OR_EQUAL, x[i] <= y[i])
    EACH(MAX, larger(x[i], y[i]))
    EACH(MIN, smaller(x[i], y[i]))
    EACH(MUL, x[i] * y[i])
    EACH(OR, x[i] != 0 || y[i] != 0)
    EACH(PRELU, x[i] < 0 ? x[i] * y[i] : x[i])
    EACH(POW, powf(x[i], y[i]))
    EACH(SUB, x[i] - y[i])
    EACH(XOR, (x[i] != 0) != (y[i] != 0))
  default: activate(f, alpha, beta, x);
  }
}
#undef EACH

DEVICE i64 apply_integer(int f, i64 alpha, i64 beta, i64 x, i64 y) {
  switch (f) {
  case ABS: return x < 0 ? (i64)(0 - (u64)x) : x;
  case CLIP: x = x < alpha ? alpha : x; return x > beta ? beta : x;
  case NEG: return (i64)(0 - (u64)x);
  case NOT: return x == 0;
  case RELU: return x < 0 ? 0 : x;
  case SIGN: return (x > 0) - (x < 0);
  case ADD: return (i64)((u64)x + (u64)y);
  case AND: return x != 0 && y != 0;
  case DIV: return y == 0 ? 0 : y == -1 ? (i64)(0 - (u64)x) : x / y;
  case EQUAL: return x == y;
  case GREATER: return x > y;
  case GREATER_OR_EQUAL: return x >= y;
  case LESS: return x < y;
  case LESS_OR_EQUAL: return x <= y;
  case MAX: return x > y ? x : y;
  case MIN: return x < y ? x : y;
  case MUL: return (i64)((u64)x * (u64)y);
  case OR: return x != 0 || y != 0;
  case SUB: return (i64)((u64)x - (u64)y);
  case XOR: return (x != 0) != (y != 0);
  }
  return x;
}
