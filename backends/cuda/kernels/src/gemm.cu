// Products of matrices.
#include "epilogue.h"
#include "product.h"

#define GEMM_CELLS \
  const void *a, const void *b, void *c, i64 m, i64 n, i64 k, i64 ra, i64 rb, i64 rc, i64 inner, i64 a0, i64 a1, i64 b0, i64 b1, \
      i64 c0, i64 c1, double scale, EPILOGUE_CELLS
#define GEMM_ARGS a, b, c, m, n, k, ra, rb, rc, inner, a0, a1, b0, b1, c0, c1, scale, EPILOGUE_ARGS

// T is what is multiplied, E how it lies in memory.
template <class T, class E, class P, int R, int C, bool Transposed> DEVICE void gemm(char *memory, GEMM_CELLS) {
  i64 outer = blockIdx.z / (u32)inner, in = blockIdx.z % (u32)inner, z = outer * c0 + in * c1;
  int row = blockIdx.x * R, column = blockIdx.y * C;
  Rows<T> left((const T *)a + outer * a0 + in * a1, ra, (int)m, (int)k);
  Rows<T> right((const T *)b + outer * b0 + in * b1, rb, (int)(Transposed ? n : k), (int)(Transposed ? k : n));
  P p;
  p.run(memory, left, right, (int)k, row, column);
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

// Writes products of bytes: as they are scaled, or as bytes again.
struct Requantized {
  const float *factors, *bias;
  void *out;
  int type, columns, activation;
  float alpha, beta, scale, zero;
  bool eight;

  METHOD void write(int r, int column, float (&v)[4], int n) const {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if (i >= n) continue;
      v[i] = v[i] * factors[column + i] + (bias ? bias[column + i] : 0);
    }
    activate(activation, alpha, beta, v);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if (i >= n) continue;
      if (eight) v[i] = saturate(type, rintf(v[i] / scale) + zero);
      store_float(type, out, (i64)r * columns + column + i, v[i]);
    }
  }
};
#define GEMM8(name, T, R, threads, blocks) \
  KERNEL(name, threads, blocks, const void *a, const void *b, void *c, i64 m, i64 n, i64 k, i64 type, const void *factors, EPILOGUE_CELLS, \
         double scale, i64 zero) { \
    typedef Product<T, R, R, threads, true> P; \
    SHARED(char, memory, P::Memory); \
    int row = blockIdx.x * R, column = blockIdx.y * R; \
    P p; \
    p.run(memory, Rows<T>((const T *)a, k, (int)m, (int)k), Rows<i8>((const i8 *)b, k, (int)n, (int)k), (int)k, row, column); \
    p.finish(memory, Requantized{(const float *)factors, (const float *)bias, c, (int)type, (int)n, (int)activation, (float)alpha, (float)beta, \
                                 (float)scale, (float)zero, type == U8 || type == I8}, row, column, (int)m, (int)n); \
  }
GEMM8(gemm_i8_nt_128, i8, 128, 256, 2)
GEMM8(gemm_u8_nt_128, u8, 128, 256, 2)
GEMM8(gemm_i8_nt_64, i8, 64, 128, 4)
GEMM8(gemm_u8_nt_64, u8, 64, 128, 4)
