// From numbers to bytes and back.
#include "types.h"

#define AFFINE(name) \
  KERNEL(name, 256, 1, const void *x, void *y, const void *scale, const void *zero, i64 type, i64 integer, i64 n, i64 count, i64 inner)

AFFINE(quantize) {
  i64 id = (i64)blockIdx.x * blockDim.x + threadIdx.x, c = id / inner % count;
  if (id >= n) return;
  float v = rintf(load_float((int)type, x, id) / ((const float *)scale)[c]);
  store_float((int)integer, y, id, saturate((int)integer, zero ? v + load_float((int)integer, zero, c) : v));
}
AFFINE(dequantize) {
  i64 id = (i64)blockIdx.x * blockDim.x + threadIdx.x, c = id / inner % count;
  if (id >= n) return;
  i64 v = load_integer((int)integer, x, id);
  if (zero) v -= load_integer((int)integer, zero, c);
  store_float((int)type, y, id, (float)v * ((const float *)scale)[c]);
}
