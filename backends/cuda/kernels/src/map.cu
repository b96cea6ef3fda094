// Functions of elements.
#include "functions.h"

// Operands of one type without gaps, 16 bytes a thread.
template <class T> DEVICE void map(int f, i64 n, float alpha, float beta, T *out, const T *a, const T *b) {
  const int N = 16 / sizeof(T);
  i64 at = ((i64)blockIdx.x * blockDim.x + threadIdx.x) * N;
  if (at >= n) return;
  float x[N], y[N];
  if (at + N <= n) {
    Vector<T, N> va = *(const Vector<T, N> *)(a + at), vb = *(const Vector<T, N> *)(b + at);
#pragma unroll
    for (int i = 0; i < N; i++) x[i] = to_float(va.v[i]), y[i] = to_float(vb.v[i]);
    apply(f, alpha, beta, x, y);
#pragma unroll
    for (int i = 0; i < N; i++) from_float(va.v[i], x[i]);
    *(Vector<T, N> *)(out + at) = va;
    return;
  }
#pragma unroll 1
  for (; at < n; at++) {
    float u[1] = {to_float(a[at])}, v[1] = {to_float(b[at])};
    apply(f, alpha, beta, u, v);
    from_float(out[at], u[0]);
  }
}
#define MAP(name, T) \
  KERNEL(name, 256, 1, i64 f, i64 n, double alpha, double beta, void *out, const void *a, const void *b) { \
    map<T>((int)f, n, (float)alpha, (float)beta, (T *)out, (const T *)a, (const T *)b); \
  }
MAP(map_f32, float)
MAP(map_f16, half)
MAP(map_bf16, brain)

// An element's coordinates, the innermost dimension first, from its number.
struct Coordinates {
  u32 c[6];
  METHOD Coordinates(u32 i, const i64 (&sizes)[5]) {
#pragma unroll
    for (int d = 0; d < 5; d++) {
      u32 size = (u32)sizes[d];
      c[d] = 0;
      if (size == 1) continue;
      c[d] = i % size;
      i /= size;
    }
    c[5] = i;
  }
  METHOD i64 offset(const i64 (&strides)[6]) const {
    i64 at = 0;
#pragma unroll
    for (int d = 0; d < 6; d++) at += (i64)c[d] * strides[d];
    return at;
  }
};

#define SIX(p) i64 p##0, i64 p##1, i64 p##2, i64 p##3, i64 p##4, i64 p##5
#define STRIDES(p) {p##0, p##1, p##2, p##3, p##4, p##5}
#define STRIDED(name, ...) \
  KERNEL(name, 256, 1, i64 f, i64 n, double alpha, double beta, void *out, i64 to, const void *a, i64 ta, const void *b, i64 tb, \
         const void *c, i64 tc, i64 n0, i64 n1, i64 n2, i64 n3, i64 n4, SIX(o), __VA_ARGS__)
#define START \
  i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; \
  if (i >= n) return; \
  const i64 sizes[5] = {n0, n1, n2, n3, n4}, so[6] = STRIDES(o); \
  Coordinates at((u32)i, sizes);

DEVICE void strided_float(int f, float alpha, float beta, void *out, i64 to, i64 o, float a, float b) {
  float x[1] = {a}, y[1] = {b};
  apply(f, alpha, beta, x, y);
  store_float((int)to, out, o, x[0]);
}

STRIDED(strided1_f32, SIX(p)) {
  START
  const i64 sa[6] = STRIDES(p);
  strided_float((int)f, (float)alpha, (float)beta, out, to, at.offset(so), load_float((int)ta, a, at.offset(sa)), 0);
}
STRIDED(strided2_f32, SIX(p), SIX(q)) {
  START
  const i64 sa[6] = STRIDES(p), sb[6] = STRIDES(q);
  strided_float((int)f, (float)alpha, (float)beta, out, to, at.offset(so), load_float((int)ta, a, at.offset(sa)), load_float((int)tb, b, at.offset(sb)));
}
STRIDED(strided3_f32, SIX(p), SIX(q), SIX(r)) {
  START
  const i64 sa[6] = STRIDES(p), sb[6] = STRIDES(q), sc[6] = STRIDES(r);
  bool yes = load_integer((int)ta, a, at.offset(sa)) != 0;
  store_float((int)to, out, at.offset(so), yes ? load_float((int)tb, b, at.offset(sb)) : load_float((int)tc, c, at.offset(sc)));
}
STRIDED(strided1_i64, SIX(p)) {
  START
  const i64 sa[6] = STRIDES(p);
  store_integer((int)to, out, at.offset(so), apply_integer((int)f, to_integer((float)alpha), to_integer((float)beta), load_integer((int)ta, a, at.offset(sa)), 0));
}
STRIDED(strided2_i64, SIX(p), SIX(q)) {
  START
  const i64 sa[6] = STRIDES(p), sb[6] = STRIDES(q);
  store_integer((int)to, out, at.offset(so), apply_integer((int)f, 0, 0, load_integer((int)ta, a, at.offset(sa)), load_integer((int)tb, b, at.offset(sb))));
}
STRIDED(strided3_i64, SIX(p), SIX(q), SIX(r)) {
  START
  const i64 sa[6] = STRIDES(p), sb[6] = STRIDES(q), sc[6] = STRIDES(r);
  bool yes = load_integer((int)ta, a, at.offset(sa)) != 0;
  store_integer((int)to, out, at.offset(so), yes ? load_integer((int)tb, b, at.offset(sb)) : load_integer((int)tc, c, at.offset(sc)));
}

// to[c][r] = from[r][c] of each matrix, in tiles through shared memory; rows of to are counted by
// fast, those of from by slow.
template <class T> DEVICE void transpose(const T *from, T *to, int slow, int fast, i64 from_row, i64 to_row, i64 from_batch, i64 to_batch) {
  SHARED(T, tile, 32 * 33);
  from += blockIdx.z * from_batch;
  to += blockIdx.z * to_batch;
  int f = blockIdx.x * 32, s = blockIdx.y * 32;
  for (int i = threadIdx.y; i < 32; i += 8)
    if (f + i < fast && s + (int)threadIdx.x < slow) tile[i * 33 + threadIdx.x] = from[(f + i) * from_row + s + threadIdx.x];
  __syncthreads();
  for (int i = threadIdx.y; i < 32; i += 8)
    if (s + i < slow && f + (int)threadIdx.x < fast) to[(s + i) * to_row + f + threadIdx.x] = tile[threadIdx.x * 33 + i];
}
#define TRANSPOSE(name, T) \
  KERNEL(name, 256, 1, const void *from, void *to, i64 slow, i64 fast, i64 from_row, i64 to_row, i64 from_batch, i64 to_batch) { \
    transpose((const T *)from, (T *)to, (int)slow, (int)fast, from_row, to_row, from_batch, to_batch); \
  }
TRANSPOSE(transpose_1, u8)
TRANSPOSE(transpose_2, u16)
TRANSPOSE(transpose_4, u32)
TRANSPOSE(transpose_8, u64)
