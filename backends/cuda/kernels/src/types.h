// Elements of tensors.
#pragma once
#include "platform.h"

enum Type { F32, F16, BF16, BOOL, U8, I8, I32, I64 };

DEVICE float to_float(float f) { return f; }
DEVICE float to_float(tf32 f) { return f.value; }
DEVICE float to_float(u8 v) { return v; }
DEVICE float to_float(i8 v) { return v; }
DEVICE void from_float(float &to, float f) { to = f; }
DEVICE void from_float(tf32 &to, float f) { to.value = f; }
DEVICE void from_float(u8 &to, float f) { to = (u8)(int)f; }
DEVICE void from_float(i8 &to, float f) { to = (i8)(int)f; }

// Some elements that are read and written at once.
template <class T, int N> struct alignas(sizeof(T) * N) Vector { T v[N]; };

DEVICE bool aligned(const void *p, int bytes) { return ((u64)p & (bytes - 1)) == 0; }

// Reads up to four elements, as many as there are.
template <class T> DEVICE void load4(float (&v)[4], const T *p, int n, bool vector) {
  if (vector && n >= 4) {
    Vector<T, 4> x = *(const Vector<T, 4> *)p;
    for (int i = 0; i < 4; i++) v[i] = to_float(x.v[i]);
    return;
  }
  for (int i = 0; i < 4; i++) v[i] = i < n ? to_float(p[i]) : 0;
}
template <class T> DEVICE void store4(T *p, const float (&v)[4], int n, bool vector) {
  if (vector && n >= 4) {
    Vector<T, 4> x;
    for (int i = 0; i < 4; i++) from_float(x.v[i], v[i]);
    *(Vector<T, 4> *)p = x;
    return;
  }
  for (int i = 0; i < 4; i++)
    if (i < n) from_float(p[i], v[i]);
}

DEVICE float load_float(int type, const void *p, i64 i) {
  switch (type) {
  case F32: return ((const float *)p)[i];
  case F16: return to_float(((const half *)p)[i]);
  case BF16: return to_float(((const brain *)p)[i]);
  case BOOL:
  case U8: return ((const u8 *)p)[i];
  case I8: return ((const i8 *)p)[i];
  case I32: return (float)((const int *)p)[i];
  }
  return (float)((const i64 *)p)[i];
}
DEVICE void store_integer(int type, void *p, i64 i, i64 v) {
  switch (type) {
  case BOOL: ((u8 *)p)[i] = v != 0; break;
  case U8: ((u8 *)p)[i] = (u8)v; break;
  case I8: ((i8 *)p)[i] = (i8)v; break;
  case I32: ((int *)p)[i] = (int)v; break;
  case I64: ((i64 *)p)[i] = v; break;
  }
}
// A number too large for 64 bits, or none, becomes the least of them.
DEVICE i64 to_integer(float f) { return f >= -9.2233720e18f && f < 9.2233720e18f ? (i64)f : (i64)(1ull << 63); }
DEVICE void store_float(int type, void *p, i64 i, float v) {
  switch (type) {
  case F32: ((float *)p)[i] = v; break;
  case F16: from_float(((half *)p)[i], v); break;
  case BF16: from_float(((brain *)p)[i], v); break;
  case BOOL: ((u8 *)p)[i] = v != 0; break;
  default: store_integer(type, p, i, to_integer(v));
  }
}
DEVICE i64 load_integer(int type, const void *p, i64 i) {
  switch (type) {
  case BOOL:
  case U8: return ((const u8 *)p)[i];
  case I8: return ((const i8 *)p)[i];
  case I32: return ((const int *)p)[i];
  }
  return ((const i64 *)p)[i];
}
DEVICE float saturate(int type, float v) {
  float low = type == U8 ? 0.f : -128.f, high = type == U8 ? 255.f : 127.f;
  return v < low ? low : v > high ? high : v;
}
