// What happens to the sums of products and convolutions of bytes.
#pragma once
#include "functions.h"

#define REQUANTIZED_CELLS \
  i64 type, const void *factors, const void *bias, const void *residual, i64 rtype, double rscale, i64 rzero, i64 activation, i64 before, double alpha, \
      double beta, double scale, i64 zero
#define REQUANTIZED_ARGS type, factors, bias, residual, rtype, rscale, rzero, activation, before, alpha, beta, scale, zero

template <class T> DEVICE void read4(float (&v)[4], const void *p, i64 at, int n, bool vector) { load4(v, (const T *)p + at, n, vector); }
DEVICE void read4(int type, float (&v)[4], const void *p, i64 at, int n, bool vector) {
  switch (type) {
  case F16: read4<half>(v, p, at, n, vector); break;
  case BF16: read4<brain>(v, p, at, n, vector); break;
  case U8: read4<u8>(v, p, at, n, vector); break;
  case I8: read4<i8>(v, p, at, n, vector); break;
  default: read4<float>(v, p, at, n, vector);
  }
}
DEVICE void write4(int type, void *p, i64 at, const float (&v)[4], int n, bool vector) {
  switch (type) {
  case F16: store4((half *)p + at, v, n, vector); break;
  case BF16: store4((brain *)p + at, v, n, vector); break;
  case U8: store4((u8 *)p + at, v, n, vector); break;
  case I8: store4((i8 *)p + at, v, n, vector); break;
  default: store4((float *)p + at, v, n, vector);
  }
}
DEVICE int bytes_of(int type) { return type == F32 || type == I32 ? 4 : type == F16 || type == BF16 ? 2 : 1; }

// Writes sums as they are scaled, as bytes again, or themselves. Columns of scales and biases are counted
// from `first` on, as those of the result and the residual are.
struct Requantized {
  const float *factors, *bias;
  const void *residual;
  void *out;
  i64 row, first;
  int type, rtype, activation;
  float rscale, rzero, alpha, beta, scale, zero;
  bool before, vector, wide;

  METHOD Requantized(void *out, i64 row, REQUANTIZED_CELLS, i64 first)
      : factors((const float *)factors), bias((const float *)bias), residual(residual), out(out), row(row), first(first), type((int)type),
        rtype((int)rtype), activation((int)activation), rscale((float)rscale), rzero((float)rzero), alpha((float)alpha), beta((float)beta),
        scale((float)scale), zero((float)zero), before(before != 0) {
    bool whole = row % 4 == 0 && first % 4 == 0;
    vector = whole && aligned(out, 4 * bytes_of((int)type)) && aligned(residual, 4 * bytes_of((int)rtype));
    wide = whole && aligned(factors, 16) && aligned(bias, 16);
  }
  // Takes n sums, at most four, of a row from a column on that is divisible by four.
  METHOD void write(int r, int column, const int (&sums)[4], int n) const {
    i64 c = first + column, at = r * row + c;
    if (type == I32) {
#pragma unroll
      for (int i = 0; i < 4; i++)
        if (i < n) ((int *)out)[at + i] = sums[i];
      return;
    }
    float v[4], extra[4];
    load4(extra, factors + c, n, wide);
#pragma unroll
    for (int i = 0; i < 4; i++) v[i] = (float)sums[i] * extra[i];
    if (bias) {
      load4(extra, bias + c, n, wide);
#pragma unroll
      for (int i = 0; i < 4; i++) v[i] += extra[i];
    }
    if (residual) {
      read4(rtype, extra, residual, at, n, vector);
#pragma unroll
      for (int i = 0; i < 4; i++) extra[i] = (extra[i] - rzero) * rscale;
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
      if (residual && before) v[i] += extra[i];
    activate(activation, alpha, beta, v);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if (residual && !before) v[i] += extra[i];
      if (type == U8 || type == I8) v[i] = saturate(type, rintf(v[i] / scale) + zero);
    }
    write4(type, out, at, v, n, vector);
  }
};
