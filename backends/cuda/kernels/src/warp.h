// What the threads of a warp, or of a block, find out together.
#pragma once
#include "functions.h"

DEVICE float sum_of(float x, float y) { return x + y; }
#define JOIN(name, op) \
  DEVICE float warp_##name(float v) { \
    _Pragma("unroll") for (int i = 16; i > 0; i /= 2) v = op(v, shuffle_xor(v, i)); \
    return v; \
  } \
  /* Threads is 32, for a warp, or all of the block. */ \
  template <int Threads> DEVICE float all_##name(float v) { \
    v = warp_##name(v); \
    if (Threads == 32) return v; \
    SHARED(float, parts, 32); \
    __syncthreads(); \
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v; \
    __syncthreads(); \
    v = parts[0]; \
    for (int i = 1; i < Threads / 32; i++) v = op(v, parts[i]); \
    return v; \
  }
JOIN(sum, sum_of)
JOIN(max, larger)
#undef JOIN
