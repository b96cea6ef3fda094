// Reductions, numbered as in reduce.go.
#pragma once
#include "functions.h"

enum Reduction { SUM, MEAN, LARGEST, LEAST, PRODUCT };

DEVICE float join(int f, float x, float y) {
  switch (f) {
  case LARGEST: return larger(x, y);
  case LEAST: return smaller(x, y);
  case PRODUCT: return x * y;
  }
  return x + y;
}
DEVICE i64 join(int f, i64 x, i64 y) {
  switch (f) {
  case LARGEST: return x > y ? x : y;
  case LEAST: return x < y ? x : y;
  case PRODUCT: return (i64)((u64)x * (u64)y);
  }
  return (i64)((u64)x + (u64)y);
}
DEVICE float first(int f, float) { return f == LARGEST ? -INFINITY : f == LEAST ? INFINITY : f == PRODUCT; }
DEVICE i64 first(int f, i64) { return f == LARGEST ? (i64)(1ull << 63) : f == LEAST ? (i64)~(1ull << 63) : f == PRODUCT; }

// What is reduced in place of elements of type T.
template <class T> struct Wide { typedef float type; };
template <> struct Wide<int> { typedef i64 type; };
template <> struct Wide<i64> { typedef i64 type; };
DEVICE i64 widen(int v) { return v; }
DEVICE i64 widen(i64 v) { return v; }
template <class T> DEVICE float widen(T v) { return to_float(v); }
DEVICE void narrow(int &to, i64 v) { to = (int)v; }
DEVICE void narrow(i64 &to, i64 v) { to = v; }
template <class T> DEVICE void narrow(T &to, float v) { from_float(to, v); }

// An element and where it is. One that is not there has place -1.
template <class V> struct Found {
  V v;
  i64 at;
  // Says that this one goes before another: NaN first, and of equal ones that at the lower place, or
  // with last at the higher.
  METHOD bool before(const Found &o, bool smallest, bool last) const {
    if (at < 0 || o.at < 0) return at >= 0;
    bool nan = v != v, other = o.v != o.v;
    if (nan != other) return nan;
    if (!nan && v != o.v) return smallest ? v < o.v : v > o.v;
    return last ? at > o.at : at < o.at;
  }
};
template <class V> DEVICE Found<V> warp_first(Found<V> f, bool smallest, bool last) {
#pragma unroll
  for (int i = 16; i > 0; i /= 2) {
    Found<V> o = {shuffle_xor(f.v, i), shuffle_xor(f.at, i)};
    if (o.before(f, smallest, last)) f = o;
  }
  return f;
}
