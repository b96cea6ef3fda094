// Products of matrices.
#include "epilogue.h"
#include "product.h"
#include "requantized.h"

#define GEMM_CELLS \
  const void *a, const void *b, void *c, i64 m, i64 n, i64 k, i64 ra, i64 rb, i64 rc, i64 inner, i64 a0, i64 a1, i64 b0, i64 b1, \
      i64 c0, i64 c1, double scale, EPILOGUE_CELLS, void *parts, i64 shares
#define GEMM_ARGS a, b, c, m, n, k, ra, rb, rc, inner, a0, a1, b0, b1, c0, c1, scale, EPILOGUE_ARGS, parts, shares

// T is what is multiplied, E how it lies in memory.
template <class T, class E, class P, int R, int C, bool Transposed> DEVICE void gemm(char *memory, GEMM_CELLS) {
  int share = blockIdx.z % (u32)shares, matrix = blockIdx.z / (u32)shares, row = blockIdx.x * R, column = blockIdx.y * C;
  i64 outer = matrix / (u32)inner, in = matrix % (u32)inner, z = outer * c0 + in * c1;
  Rows<T> left((const T *)a + outer * a0 + in * a1, ra, (int)m, (int)k);
  Rows<T> right((const T *)b + outer * b0 + in * b1, rb, (int)(Transposed ? n : k), (int)(Transposed ? k : n));
  P p;
  p.run(memory, left, right, Share((int)k, P::Depth, (int)shares, share), row, column);
  if (shares > 1)
    p.finish(memory, Partial<float>(parts, (i64)share * (gridDim.z / (u32)shares) + matrix, (int)m, (int)n), row, column, (int)m, (int)n);
  else
    p.finish(memory, Epilogue<E>((E *)c, rc, (float)scale, EPILOGUE_ARGS, z, 0), row, column, (int)m, (int)n);
}
#define GEMM(name, T, E, R, C, threads, blocks, transposed) \
  KERNEL(name, threads, blocks, GEMM_CELLS) { \
    typedef Product<T, R, C, threads, transposed> P; \
    SHARED(char, memory, P::Memory); \
    gemm<T, E, P, R, C, transposed>(memory, GEMM_ARGS); \
  }
#define GEMMS(name, T, E) \
  GEMM(gemm_##name##_nn_128, T, E, 128, 128, 256, 2, false) \
  GEMM(gemm_##name##_nt_128, T, E, 128, 128, 256, 2, true) \
  GEMM(gemm_##name##_nn_64, T, E, 64, 64, 128, 4, false) \
  GEMM(gemm_##name##_nt_64, T, E, 64, 64, 128, 4, true)
GEMMS(f16, half, half)
GEMMS(bf16, brain, brain)
GEMMS(tf32, tf32, float)

KERNEL(gemm_f32_nn, 256, 2, GEMM_CELLS) {
  SHARED(char, memory, PlainProduct<false>::Memory);
  gemm<float, float, PlainProduct<false>, 64, 64, false>(memory, GEMM_ARGS);
}
KERNEL(gemm_f32_nt, 256, 2, GEMM_CELLS) {
  SHARED(char, memory, PlainProduct<true>::Memory);
  gemm<float, float, PlainProduct<true>, 64, 64, true>(memory, GEMM_ARGS);
}

#define GEMM8(name, T, R, threads, blocks) \
  KERNEL(name, threads, blocks, const void *a, const void *b, void *c, i64 m, i64 n, i64 k, REQUANTIZED_CELLS, void *parts, i64 shares) { \
    typedef Product<T, R, R, threads, true> P; \
    SHARED(char, memory, P::Memory); \
    int share = blockIdx.z, row = blockIdx.x * R, column = blockIdx.y * R; \
    P p; \
    p.run(memory, Rows<T>((const T *)a, k, (int)m, (int)k), Rows<i8>((const i8 *)b, k, (int)n, (int)k), Share((int)k, P::Depth, (int)shares, share), \
          row, column); \
    if (shares > 1) \
      p.finish(memory, Partial<int>(parts, share, (int)m, (int)n), row, column, (int)m, (int)n); \
    else \
      p.finish(memory, Requantized(c, n, REQUANTIZED_ARGS, 0), row, column, (int)m, (int)n); \
  }
GEMM8(gemm_i8_nt_128, i8, 128, 256, 2)
GEMM8(gemm_u8_nt_128, u8, 128, 256, 2)
GEMM8(gemm_i8_nt_64, i8, 64, 128, 4)
GEMM8(gemm_u8_nt_64, u8, 64, 128, 4)

// Adds up the shares of products and of convolutions [shares, matrices, m, n] in order, four columns of a
// row in a thread, and hands the sums on. Matrix i begins i % inner times bias1 further in the bias.
template <class C, class F> DEVICE void join_shares(const C *parts, i64 matrices, i64 m, i64 n, i64 shares, F write) {
  i64 quads = (n + 3) / 4, id = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (id >= matrices * m * quads) return;
  int column = (int)(id % quads) * 4, left = min((int)n - column, 4);
  i64 row = id / quads, each = matrices * m * n;
  const C *from = parts + row * n + column;
  C sum[4] = {0, 0, 0, 0};
#pragma unroll 4
  for (i64 s = 0; s < shares; s++) {
    if (n % 4 == 0) {
      Vector<C, 4> v = *(const Vector<C, 4> *)(from + s * each);
#pragma unroll
      for (int i = 0; i < 4; i++) sum[i] += v.v[i];
      continue;
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
      if (i < left) sum[i] += from[s * each + i];
  }
  write(row / m, (int)(row % m), column, sum, left);
}
#define JOIN_SHARES(name, T) \
  KERNEL(name, 256, 1, const void *parts, void *c, i64 matrices, i64 m, i64 n, i64 rc, i64 inner, i64 c0, i64 c1, i64 bias1, i64 shares, double scale, \
         EPILOGUE_CELLS) { \
    join_shares((const float *)parts, matrices, m, n, shares, [&](i64 matrix, int row, int column, const float (&sum)[4], int left) { \
      i64 outer = matrix / inner, in = matrix % inner; \
      Epilogue<T>((T *)c, rc, (float)scale, EPILOGUE_ARGS, outer * c0 + in * c1, in * bias1).write(row, column, sum, left); \
    }); \
  }
JOIN_SHARES(join_f32, float)
JOIN_SHARES(join_f16, half)
JOIN_SHARES(join_bf16, brain)

KERNEL(join_i32, 256, 1, const void *parts, void *c, i64 matrices, i64 m, i64 n, i64 rc, i64 shares, REQUANTIZED_CELLS) {
  join_shares((const int *)parts, matrices, m, n, shares, [&](i64 matrix, int row, int column, const int (&sum)[4], int left) {
    Requantized(c, rc, REQUANTIZED_ARGS, matrix * n).write(row, column, sum, left);
  });
}
