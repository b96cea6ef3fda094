// Pooling of images with their channels last: a thread for each result.
#include "functions.h"

enum Pooling { LARGEST_SEEN, MEAN_SEEN, MEAN_OF_ALL };

#define POOL_CELLS \
  i64 kind, i64 n, i64 h, i64 w, i64 c, i64 p, i64 q, i64 s0, i64 s1, i64 t0, i64 t1, i64 p0, i64 p1, i64 d0, i64 d1, i64 e0, i64 e1
#define POOL_ARGS kind, n, h, w, c, p, q, s0, s1, t0, t1, p0, p1, d0, d1, e0, e1

// Returns result id of elements that count from zero on.
template <class T> DEVICE float pooled(i64 id, const T *x, float zero, POOL_CELLS) {
  i64 row = id / c, x0 = row % q * t1 - p1, y0 = row / q % p * t0 - p0;
  x += row / q / p * h * w * c + id % c;
  float v = kind == LARGEST_SEEN ? -INFINITY : 0;
  int seen = 0;
  for (i64 i = 0; i < s0; i++)
    for (i64 j = 0; j < s1; j++) {
      i64 yy = y0 + i * d0, xx = x0 + j * d1;
      bool inside = yy >= 0 && yy < h && xx >= 0 && xx < w;
      // Padding counts, and not what a window sees beyond it.
      seen += inside || (kind == MEAN_OF_ALL && yy < h + e0 && xx < w + e1);
      if (!inside) continue;
      float u = to_float(x[(yy * w + xx) * c]) - zero;
      v = kind == LARGEST_SEEN ? larger(v, u) : v + u;
    }
  return kind == LARGEST_SEEN ? v : v / seen;
}
#define POOL(name, T) \
  KERNEL(name, 256, 1, const void *x, void *y, POOL_CELLS) { \
    i64 id = (i64)blockIdx.x * blockDim.x + threadIdx.x; \
    if (id < n * p * q * c) from_float(((T *)y)[id], pooled(id, (const T *)x, 0, POOL_ARGS)); \
  }
POOL(pool_f32, float)
POOL(pool_f16, half)
POOL(pool_bf16, brain)
POOL(pool_u8, u8)
POOL(pool_i8, i8)

// Means of bytes. Their sums are exact.
#define POOL_MEAN(name, T) \
  KERNEL(name, 256, 1, const void *x, void *y, POOL_CELLS, double scale, i64 zero, i64 type, double out_scale, i64 out_zero) { \
    i64 id = (i64)blockIdx.x * blockDim.x + threadIdx.x; \
    if (id >= n * p * q * c) return; \
    float v = pooled(id, (const T *)x, (float)zero, POOL_ARGS) * (float)scale; \
    if (type == U8 || type == I8) v = saturate((int)type, rintf(v / (float)out_scale) + (float)out_zero); \
    store_float((int)type, y, id, v); \
  }
POOL_MEAN(pool_mean_u8, u8)
POOL_MEAN(pool_mean_i8, i8)
