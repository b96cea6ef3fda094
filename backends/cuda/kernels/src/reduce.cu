// Reductions, positions of extremes and the largest few.
#include "reduce.h"

// A warp for each row.
template <class T> DEVICE void reduce_rows(const T *x, T *y, int f, i64 rows, i64 count) {
  typedef typename Wide<T>::type V;
  i64 row = (i64)blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  V v = first(f, V());
  for (i64 i = threadIdx.x; i < count; i += 32) v = join(f, v, widen(x[row * count + i]));
#pragma unroll
  for (int i = 16; i > 0; i /= 2) v = join(f, v, shuffle_xor(v, i));
  if (threadIdx.x == 0) narrow(y[row], f == MEAN ? v / (V)count : v);
}
// A thread for each of inner columns; what follows each other is read by threads beside each other.
template <class T> DEVICE void reduce_columns(const T *x, T *y, int f, i64 outer, i64 count, i64 inner) {
  typedef typename Wide<T>::type V;
  i64 id = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (id >= outer * inner) return;
  x += id / inner * count * inner + id % inner;
  V v = first(f, V());
  for (i64 i = 0; i < count; i++) v = join(f, v, widen(x[i * inner]));
  narrow(y[id], f == MEAN ? v / (V)count : v);
}
template <class T> DEVICE void argreduce_rows(const T *x, i64 *y, i64 rows, i64 count, bool smallest, bool last) {
  typedef Found<typename Wide<T>::type> F;
  i64 row = (i64)blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  F f = {0, -1};
  for (i64 i = threadIdx.x; i < count; i += 32) {
    F o = {widen(x[row * count + i]), i};
    if (o.before(f, smallest, last)) f = o;
  }
  f = warp_first(f, smallest, last);
  if (threadIdx.x == 0) y[row] = f.at;
}
template <class T> DEVICE void argreduce_columns(const T *x, i64 *y, i64 outer, i64 count, i64 inner, bool smallest, bool last) {
  typedef Found<typename Wide<T>::type> F;
  i64 id = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (id >= outer * inner) return;
  x += id / inner * count * inner + id % inner;
  F f = {0, -1};
  for (i64 i = 0; i < count; i++) {
    F o = {widen(x[i * inner]), i};
    if (o.before(f, smallest, last)) f = o;
  }
  y[id] = f.at;
}
#define REDUCE(type, T) \
  KERNEL(reduce_##type##_rows, 256, 1, const void *x, void *y, i64 f, i64 outer, i64 count, i64) { \
    reduce_rows((const T *)x, (T *)y, (int)f, outer, count); \
  } \
  KERNEL(reduce_##type##_columns, 256, 1, const void *x, void *y, i64 f, i64 outer, i64 count, i64 inner) { \
    reduce_columns((const T *)x, (T *)y, (int)f, outer, count, inner); \
  } \
  KERNEL(argreduce_##type##_rows, 256, 1, const void *x, void *y, i64 outer, i64 count, i64, i64 smallest, i64 last) { \
    argreduce_rows((const T *)x, (i64 *)y, outer, count, smallest != 0, last != 0); \
  } \
  KERNEL(argreduce_##type##_columns, 256, 1, const void *x, void *y, i64 outer, i64 count, i64 inner, i64 smallest, i64 last) { \
    argreduce_columns((const T *)x, (i64 *)y, outer, count, inner, smallest != 0, last != 0); \
  }
REDUCE(f32, float)
REDUCE(f16, half)
REDUCE(bf16, brain)
REDUCE(i32, int)
REDUCE(i64, i64)

// A block for each row looks for the first of all that go after the one it has found before.
template <class T> DEVICE void topk(const T *x, T *values, i64 *indices, i64 columns, i64 k, bool smallest) {
  SHARED(Found<float>, best, 8);
  i64 row = blockIdx.x;
  int t = threadIdx.x;
  x += row * columns;
  Found<float> found = {0, -1};
  for (i64 n = 0; n < k; n++) {
    Found<float> f = {0, -1};
    for (i64 i = t; i < columns; i += 256) {
      Found<float> o = {to_float(x[i]), i};
      if ((n == 0 || found.before(o, smallest, false)) && o.before(f, smallest, false)) f = o;
    }
    f = warp_first(f, smallest, false);
    if (t % 32 == 0) best[t / 32] = f;
    __syncthreads();
    found = best[0];
    for (int i = 1; i < 8; i++)
      if (best[i].before(found, smallest, false)) found = best[i];
    __syncthreads();
    if (t == 0) {
      values[row * k + n] = x[found.at];
      indices[row * k + n] = found.at;
    }
  }
}
#define TOPK(name, T) \
  KERNEL(name, 256, 1, const void *x, void *values, void *indices, i64 columns, i64 k, i64 smallest) { \
    topk((const T *)x, (T *)values, (i64 *)indices, columns, k, smallest != 0); \
  }
TOPK(topk_f32, float)
TOPK(topk_f16, half)
TOPK(topk_bf16, brain)
