// Where the rows of a product's operands come from, 16 bytes at a time.
#pragma once
#include "types.h"

template <class T> DEVICE T zero() { T t; from_float(t, 0); return t; }
template <> METHOD u8 zero<u8>() { return 0; }
template <> METHOD i8 zero<i8>() { return 0; }

// Rows of a matrix, which has rows·columns elements.
template <class T> struct Rows {
  static const int N = 16 / sizeof(T);
  const T *base;
  i64 stride;
  int rows, columns;
  bool vector;
  struct Slot { const T *row; };

  METHOD Rows(const T *base, i64 stride, int rows, int columns) : base(base), stride(stride), rows(rows), columns(columns) {
    vector = stride % N == 0 && aligned(base, 16);
  }
  METHOD Slot slot(int row) const { return {row < rows ? base + row * stride : 0}; }
  METHOD void seek(int) {}
  // Returns where the elements from column on lie, and how many of a vector there are.
  METHOD const T *find(Slot s, int column, int &n) const {
    n = s.row && column < columns ? min(columns - column, N) : 0;
    return n ? s.row + column : base;
  }
  METHOD T element(Slot s, int column) const { return s.row && column < columns ? s.row[column] : zero<T>(); }
  METHOD bool filled() const { return false; }
  METHOD T outside() const { return zero<T>(); }
};

struct Geometry { int height, width, channels, p, q, size[2], stride[2], pad[2], dilation[2]; };

// The parts of images that a convolution's window sees: a row for each place of the window, with a
// column for each of its pixels and channels. What lies outside is `pad`.
template <class T> struct Windows {
  static const int N = 16 / sizeof(T);
  Geometry g;
  const T *base;
  int rows, columns, channels; // channels of a group
  bool vector;
  T pad;
  int y, x, c; // where seek is
  struct Slot { const T *image; int y, x; };

  METHOD Windows(const T *base, const Geometry &g, int rows, int channels, T pad) : g(g), base(base), rows(rows), channels(channels), pad(pad) {
    columns = g.size[0] * g.size[1] * channels;
    vector = channels % N == 0 && g.channels % N == 0 && aligned(base, 16);
  }
  METHOD Slot slot(int row) const {
    if (row >= rows) return {0, 0, 0};
    int x = row % g.q, y = row / g.q % g.p;
    return {base + (i64)(row / g.q / g.p) * g.height * g.width * g.channels, y * g.stride[0] - g.pad[0], x * g.stride[1] - g.pad[1]};
  }
  METHOD void seek(int column) {
    int pixel = column / channels;
    c = column % channels;
    y = pixel / g.size[1] * g.dilation[0];
    x = pixel % g.size[1] * g.dilation[1];
  }
  METHOD const T *at(Slot s, int y, int x, int c) const {
    y += s.y, x += s.x;
    if (!s.image || y < 0 || y >= g.height || x < 0 || x >= g.width) return 0;
    return s.image + ((i64)y * g.width + x) * g.channels + c;
  }
  METHOD const T *find(Slot s, int column, int &n) const {
    const T *p = column < columns ? at(s, y, x, c) : 0;
    n = p ? N : 0;
    return p ? p : base;
  }
  METHOD T element(Slot s, int column) const {
    if (column >= columns) return zero<T>();
    int pixel = column / channels;
    const T *p = at(s, pixel / g.size[1] * g.dilation[0], pixel % g.size[1] * g.dilation[1], column % channels);
    return p ? *p : pad;
  }
  METHOD bool filled() const { return sizeof(T) == 1; }
  METHOD T outside() const { return pad; }
};

// Puts 16 bytes of a row into shared memory, those at the column that was sought.
template <class T, class Source> DEVICE void stage(const Source &from, typename Source::Slot s, int column, void *to) {
  if (from.vector) {
    int n;
    const T *p = from.find(s, column, n);
    if (n || !from.filled()) {
      cp_async(to, p, n * (int)sizeof(T));
      return;
    }
    Vector<T, Source::N> v;
#pragma unroll
    for (int i = 0; i < Source::N; i++) v.v[i] = from.outside();
    *(Vector<T, Source::N> *)to = v;
    return;
  }
  Vector<T, Source::N> v;
#pragma unroll
  for (int i = 0; i < Source::N; i++) v.v[i] = from.element(s, column + i);
  *(Vector<T, Source::N> *)to = v;
}
