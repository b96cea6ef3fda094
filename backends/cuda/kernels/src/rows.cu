// Normalisations and softmax of rows.
#include "warp.h"

// A row of which each of Threads threads keeps Kept elements in registers. What is beyond those is
// read from memory each time.
template <class T, int Threads> struct Row {
  static const int Kept = 32, N = 16 / sizeof(T), Part = Threads * Kept;
  const T *x, *more;
  int columns, t;
  bool vector;
  float kept[Kept];

  METHOD Row(const T *x, const T *more, int columns) : x(x), more(more), columns(columns), t(threadIdx.x) {
    vector = columns % N == 0 && aligned(x, 16) && aligned(more, 16);
#pragma unroll
    for (int i = 0; i < Kept; i += N) {
      if (vector && place(i) < columns) {
        Vector<T, N> v = *(const Vector<T, N> *)(x + place(i));
#pragma unroll
        for (int k = 0; k < N; k++) kept[i + k] = to_float(v.v[k]);
        if (more) {
          v = *(const Vector<T, N> *)(more + place(i));
#pragma unroll
          for (int k = 0; k < N; k++) kept[i + k] += to_float(v.v[k]);
        }
      } else {
#pragma unroll
        for (int k = 0; k < N; k++) kept[i + k] = !vector && place(i + k) < columns ? read(place(i + k)) : 0;
      }
    }
  }
  METHOD float read(int i) const { return to_float(x[i]) + (more ? to_float(more[i]) : 0); }
  // The column of a kept element.
  METHOD int place(int i) const { return vector ? (i / N * Threads + t) * N + i % N : i * Threads + t; }
  template <class F> METHOD void each(F f) const {
#pragma unroll
    for (int i = 0; i < Kept; i++)
      if (place(i) < columns) f(kept[i]);
    for (int i = Part + t; i < columns; i += Threads) f(read(i));
  }
  // Writes f of each element, times the weight of its column, plus its bias; each may be missing.
  template <class F> METHOD void write(T *y, const T *weight, const T *bias, F f) const {
    bool wide = vector && aligned(y, 16) && aligned(weight, 16) && aligned(bias, 16);
#pragma unroll
    for (int i = 0; i < Kept; i += N) {
      if (wide && place(i) < columns) {
        float v[N];
#pragma unroll
        for (int k = 0; k < N; k++) v[k] = f(kept[i + k]);
        Vector<T, N> other;
        if (weight) {
          other = *(const Vector<T, N> *)(weight + place(i));
#pragma unroll
          for (int k = 0; k < N; k++) v[k] *= to_float(other.v[k]);
        }
        if (bias) {
          other = *(const Vector<T, N> *)(bias + place(i));
#pragma unroll
          for (int k = 0; k < N; k++) v[k] += to_float(other.v[k]);
        }
#pragma unroll
        for (int k = 0; k < N; k++) from_float(other.v[k], v[k]);
        *(Vector<T, N> *)(y + place(i)) = other;
      } else {
#pragma unroll
        for (int k = 0; k < N; k++)
          if (place(i + k) < columns) one(y, weight, bias, f(kept[i + k]), place(i + k));
      }
    }
    for (int i = Part + t; i < columns; i += Threads) one(y, weight, bias, f(read(i)), i);
  }
  METHOD void one(T *y, const T *weight, const T *bias, float v, int i) const {
    if (weight) v *= to_float(weight[i]);
    from_float(y[i], bias ? v + to_float(bias[i]) : v);
  }
};

template <class T, int Threads>
DEVICE void norm(const T *x, T *y, const T *residual, T *sum, const T *weight, const T *bias, i64 rows, int columns, bool root, float epsilon,
                 i64 period) {
  i64 row = (i64)blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  i64 from = row * columns;
  Row<T, Threads> r(x + from, residual ? residual + row % period * columns : 0, columns);
  if (sum) r.write(sum + from, 0, 0, [](float v) { return v; });
  float mean = 0, squares = 0;
  if (!root) {
    r.each([&](float v) { mean += v; });
    mean = all_sum<Threads>(mean) / columns;
  }
  r.each([&](float v) { squares += (v - mean) * (v - mean); });
  float factor = 1 / sqrtf(all_sum<Threads>(squares) / columns + epsilon);
  r.write(y + from, weight, bias, [&](float v) { return (v - mean) * factor; });
}

template <class T, int Threads> DEVICE void softmax(const T *x, T *y, i64 rows, int columns, bool log) {
  i64 row = (i64)blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  Row<T, Threads> r(x + row * columns, 0, columns);
  float most = -INFINITY, sum = 0;
  r.each([&](float v) { most = larger(most, v); });
  most = all_max<Threads>(most);
  r.each([&](float v) { sum += expf(v - most); });
  sum = all_sum<Threads>(sum);
  float factor = log ? logf(sum) : 1 / sum;
  r.write(y + row * columns, 0, 0, [&](float v) { return log ? v - most - factor : expf(v - most) * factor; });
}

#define ROWS(type, T, kind, threads) \
  KERNEL(norm_##type##_##kind, threads * (threads == 32 ? 4 : 1), threads == 32 ? 4 : 2, const void *x, void *y, const void *residual, void *sum, const void *weight, \
         const void *bias, i64 rows, i64 columns, i64 root, double epsilon, i64 period) { \
    norm<T, threads>((const T *)x, (T *)y, (const T *)residual, (T *)sum, (const T *)weight, (const T *)bias, rows, (int)columns, root != 0, (float)epsilon, period); \
  } \
  KERNEL(softmax_##type##_##kind, threads * (threads == 32 ? 4 : 1), threads == 32 ? 4 : 2, const void *x, void *y, i64 rows, i64 columns, i64 log) { \
    softmax<T, threads>((const T *)x, (T *)y, rows, (int)columns, log != 0); \
  }
ROWS(f32, float, warp, 32)
ROWS(f16, half, warp, 32)
ROWS(bf16, brain, warp, 32)
ROWS(f32, float, block, 256)
ROWS(f16, half, block, 256)
ROWS(bf16, brain, block, 256)
