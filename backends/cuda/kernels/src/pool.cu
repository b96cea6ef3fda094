// Pooling of images with their channels last: a thread for each result.
#include "functions.h"

enum Pooling { LARGEST_SEEN, MEAN_SEEN, MEAN_OF_ALL };

template <class T>
DEVICE void pool(const T *x, T *y, int kind, i64 n, i64 h, i64 w, i64 c, i64 p, i64 q, i64 s0, i64 s1, i64 t0, i64 t1, i64 p0, i64 p1, i64 d0, i64 d1,
                 i64 e0, i64 e1) {
  i64 id = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (id >= n * p * q * c) return;
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
      float u = to_float(x[(yy * w + xx) * c]);
      v = kind == LARGEST_SEEN ? larger(v, u) : v + u;
    }
  from_float(y[id], kind == LARGEST_SEEN ? v : v / seen);
}
#define POOL(name, T) \
  KERNEL(name, 256, 1, const void *x, void *y, i64 kind, i64 n, i64 h, i64 w, i64 c, i64 p, i64 q, i64 s0, i64 s1, i64 t0, i64 t1, i64 p0, i64 p1, \
         i64 d0, i64 d1, i64 e0, i64 e1) { \
    pool((const T *)x, (T *)y, (int)kind, n, h, w, c, p, q, s0, s1, t0, t1, p0, p1, d0, d1, e0, e1); \
  }
POOL(pool_f32, float)
POOL(pool_f16, half)
POOL(pool_bf16, brain)
POOL(pool_u8, u8)
POOL(pool_i8, i8)
