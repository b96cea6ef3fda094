// What happens to the sums of products and convolutions.
#pragma once
#include "functions.h"

#define EPILOGUE_CELLS const void *bias, const void *residual, i64 activation, i64 before, double alpha, double beta
#define EPILOGUE_ARGS bias, residual, activation, before, alpha, beta

// Writes sums as elements of type T.
template <class T> struct Epilogue {
  const T *bias, *residual;
  T *out;
  i64 row; // of out and residual
  int activation;
  bool before, vector;
  float scale, alpha, beta;

  METHOD Epilogue(T *out, i64 row, float scale, EPILOGUE_CELLS, i64 matrix, i64 column)
      : bias(bias ? (const T *)bias + column : 0), residual(residual ? (const T *)residual + matrix : 0), out(out + matrix), row(row),
        activation((int)activation), before(before != 0), scale(scale), alpha((float)alpha), beta((float)beta) {
    const int four = 4 * sizeof(T);
    vector = row % 4 == 0 && aligned(this->out, four) && aligned(this->bias, four) && aligned(this->residual, four);
  }
  // Takes n sums, at most four, of a row from a column on that is divisible by four.
  METHOD void write(int r, int column, const float (&sums)[4], int n) const {
    float v[4], extra[4];
    i64 at = r * row + column;
#pragma unroll
    for (int i = 0; i < 4; i++) v[i] = sums[i] * scale;
    if (bias) {
      load4(extra, bias + column, n, vector);
#pragma unroll
      for (int i = 0; i < 4; i++) v[i] += extra[i];
    }
    if (residual) load4(extra, residual + at, n, vector);
#pragma unroll
    for (int i = 0; i < 4; i++)
      if (residual && before) v[i] += extra[i];
    activate(activation, alpha, beta, v);
#pragma unroll
    for (int i = 0; i < 4; i++)
      if (residual && !before) v[i] += extra[i];
    store4(out + at, v, n, vector);
  }
};
