// Products on tensor cores.
#pragma once
#include "tiles.h"

template <class T> struct Sum { typedef float type; };
template <> struct Sum<i8> { typedef int type; };
template <> struct Sum<u8> { typedef int type; };
// B of a product of bytes is signed whatever A is.
template <class T> struct Right { typedef T type; };
template <> struct Right<u8> { typedef i8 type; };

DEVICE u32 rounded(tf32, u32 v) { return round_tf32(v); }
template <class T> DEVICE u32 rounded(T, u32 v) { return v; }

// Where 16 bytes of a tile with 64 bytes a row lie, so that eight rows lie in eight sets of banks.
DEVICE int narrow(int row, int chunk) { return row * 64 + ((chunk ^ (row >> 1 & 3)) << 4); }
// The same for rows of a multiple of 128 bytes.
template <int Bytes> DEVICE int wide(int row, int chunk) { return row * Bytes + ((chunk ^ (row & 7)) << 4); }
// The same for rows of floats of which four, one word of each, are read at once.
template <int Bytes> DEVICE int words(int row, int column) { return row * Bytes + (((column >> 2) ^ (2 * (row & 3))) << 4) + (column & 3) * 4; }

// The slabs of the depth, of 64 bytes each, that a block adds up: all of them, or one of several equal
// shares.
struct Share {
  int first, slabs;
  METHOD Share(int depth, int slab, int shares, int number) {
    int all = (depth + slab - 1) / slab, each = (all + shares - 1) / shares;
    first = number * each;
    slabs = max(min(each, all - first), 0);
  }
};

// Writes the sums of a share, [rows, columns].
template <class C> struct Partial {
  C *out;
  int columns;
  bool vector;
  METHOD Partial(void *parts, i64 matrix, int rows, int columns)
      : out((C *)parts + matrix * rows * columns), columns(columns), vector(columns % 4 == 0) {}
  METHOD void write(int r, int column, const C (&v)[4], int n) const {
    C *to = out + (i64)r * columns + column;
    if (vector) {
      *(Vector<C, 4> *)to = {{v[0], v[1], v[2], v[3]}};
      return;
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
      if (i < n) to[i] = v[i];
  }
};

// A block's part of C [Rows, Columns], which takes 64 bytes of depth at a time. Warps compute
// parts of 32 columns and of 16·Mi rows. B lies as [columns, depth] if Transposed, else as
// [depth, columns].
template <class T, int Rows_, int Columns, int Threads, bool Transposed> struct Product {
  typedef typename Sum<T>::type C;
  typedef typename Right<T>::type B;
  static const int Warps = Threads / 32, Across = Columns / 32, Down = Warps / Across, Mi = Rows_ / Down / 16, Ni = 4;
  static const int Depth = 64 / sizeof(T), Stages = 3, ABytes = Rows_ * 64, BBytes = Columns * 64, Stage = ABytes + BBytes;
  static const int ASlots = Rows_ * 4 / Threads, BSlots = Columns * 4 / Threads;
  static const int BRow = Columns * sizeof(T), BChunks = BRow / 16; // of B that is not transposed
  static const int Memory = Stages * Stage;

  C sum[Mi][Ni][4];

  template <class A> METHOD void run(char *memory, A a, Rows<B> b, Share depth, int row, int column) {
    int t = threadIdx.x;
    typename A::Slot as[ASlots];
    typename Rows<B>::Slot bs[BSlots];
#pragma unroll
    for (int i = 0; i < ASlots; i++) as[i] = a.slot(row + (t + i * Threads) / 4);
    if (Transposed) {
#pragma unroll
      for (int i = 0; i < BSlots; i++) bs[i] = b.slot(column + (t + i * Threads) / 4);
    }
#pragma unroll
    for (int i = 0; i < Mi; i++)
#pragma unroll
      for (int j = 0; j < Ni; j++)
#pragma unroll
        for (int k = 0; k < 4; k++) sum[i][j][k] = 0;
    int first = depth.first * Depth, slabs = depth.slabs;
#pragma unroll
    for (int s = 0; s < Stages - 1; s++) {
      if (s < slabs) fill(memory + s * Stage, a, b, as, bs, first + s * Depth, column);
      cp_async_commit();
    }
#pragma unroll 1
    for (int s = 0; s < slabs; s++) {
      cp_async_wait<Stages - 2>();
      __syncthreads();
      int next = s + Stages - 1;
      if (next < slabs) fill(memory + next % Stages * Stage, a, b, as, bs, first + next * Depth, column);
      cp_async_commit();
      multiply(memory + s % Stages * Stage);
    }
    cp_async_wait<0>();
    __syncthreads();
  }

  template <class A>
  METHOD void fill(char *to, A &a, const Rows<B> &b, typename A::Slot (&as)[ASlots], typename Rows<B>::Slot (&bs)[BSlots], int k, int column) {
    int t = threadIdx.x, chunk = t % 4, at = k + chunk * (16 / (int)sizeof(T));
    a.seek(at);
#pragma unroll
    for (int i = 0; i < ASlots; i++) stage<T>(a, as[i], at, to + narrow((t + i * Threads) / 4, chunk));
    to += ABytes;
#pragma unroll
    for (int i = 0; i < BSlots; i++) {
      if (Transposed) {
        stage<B>(b, bs[i], at, to + narrow((t + i * Threads) / 4, chunk));
        continue;
      }
      int id = t + i * Threads, r = id / BChunks, c = id % BChunks;
      int where = sizeof(T) == 4 ? words<BRow>(r, c * 4) : wide<BRow>(r, c);
      stage<B>(b, b.slot(k + r), column + c * (16 / (int)sizeof(T)), to + where);
    }
  }

  METHOD void multiply(const char *from) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, row = warp / Across * Mi * 16, column = warp % Across * 32;
#pragma unroll
    for (int step = 0; step < 2; step++) {
      u32 a[Mi][4], b[Ni][2];
#pragma unroll
      for (int i = 0; i < Mi; i++) load_matrices(a[i], from + narrow(row + i * 16 + lane % 16, step * 2 + lane / 16));
#pragma unroll
      for (int j = 0; j < Ni; j += 2) {
        u32 r[4];
        right(r, from + ABytes, step, column + j * 8, lane);
        b[j][0] = r[0], b[j][1] = r[1], b[j + 1][0] = r[2], b[j + 1][1] = r[3];
      }
#pragma unroll
      for (int i = 0; i < Mi; i++)
#pragma unroll
        for (int k = 0; k < 4; k++) a[i][k] = rounded(T(), a[i][k]);
#pragma unroll
      for (int j = 0; j < Ni; j++) b[j][0] = rounded(T(), b[j][0]), b[j][1] = rounded(T(), b[j][1]);
#pragma unroll
      for (int i = 0; i < Mi; i++)
#pragma unroll
        for (int j = 0; j < Ni; j++) mma(T(), sum[i][j], a[i], b[j][0], b[j][1]);
    }
  }

  // Reads the parts of B for 16 columns.
  METHOD void right(u32 (&r)[4], const char *b, int step, int column, int lane) {
    if (Transposed) {
      load_matrices(r, b + narrow(column + lane % 8 + lane / 16 * 8, step * 2 + lane / 8 % 2));
    } else if (sizeof(T) == 2) {
      load_matrices_transposed(r, b + wide<BRow>(step * 16 + lane % 16, column / 8 + lane / 16));
    } else {
#pragma unroll
      for (int i = 0; i < 4; i++) r[i] = *(const u32 *)(b + words<BRow>(step * 8 + lane % 4 + i % 2 * 4, column + i / 2 * 8 + lane / 4));
    }
  }

  // Hands the sums to e.write, four of a row at a time, by way of shared memory.
  template <class E> METHOD void finish(char *memory, const E &e, int row, int column, int rows, int columns) {
    const int Row = 40;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    C *mine = (C *)memory + warp * 16 * Row;
    row += warp / Across * Mi * 16;
    column += warp % Across * 32;
#pragma unroll
    for (int i = 0; i < Mi; i++) {
#pragma unroll
      for (int j = 0; j < Ni; j++)
#pragma unroll
        for (int k = 0; k < 2; k++) {
          Vector<C, 2> pair = {{sum[i][j][2 * k], sum[i][j][2 * k + 1]}};
          *(Vector<C, 2> *)(mine + (lane / 4 + k * 8) * Row + j * 8 + lane % 4 * 2) = pair;
        }
      __syncwarp();
#pragma unroll 1
      for (int k = lane / 8; k < 16; k += 4) {
        int r = row + i * 16 + k, c = column + lane % 8 * 4;
        if (r >= rows || c >= columns) continue;
        Vector<C, 4> from = *(const Vector<C, 4> *)(mine + k * Row + lane % 8 * 4);
        e.write(r, c, from.v, min(columns - c, 4));
      }
      __syncwarp();
    }
  }
};

// A block's part of C in single precision without tensor cores: 64 rows and columns, of which each of
// 256 threads computes four by four.
template <bool Transposed> struct PlainProduct {
  typedef float B, C;
  static const int Depth = 16, Row = 68, Memory = 2 * Depth * Row * 4;
  float sum[4][4];

  template <class A> METHOD void run(char *memory, A a, Rows<float> b, Share depth, int row, int column) {
    float *as = (float *)memory, *bs = as + Depth * Row;
    int t = threadIdx.x;
    typename A::Slot slot = a.slot(row + t / 4);
    Rows<float>::Slot other = b.slot(column + t / 4);
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int j = 0; j < 4; j++) sum[i][j] = 0;
    Vector<float, 4> va, vb;
    int slabs = depth.slabs;
#pragma unroll 1
    for (int s = 0; s <= slabs; s++) {
      if (s < slabs) { // while the slab before is multiplied
        int from = (depth.first + s) * Depth, at = from + t % 4 * 4, r = from + t / 16;
        a.seek(at);
        va = read(a, slot, at);
        vb = Transposed ? read(b, other, at) : read(b, b.slot(r), column + t % 16 * 4);
      }
      if (s > 0) multiply(as, bs);
      __syncthreads();
      if (s == slabs) break;
#pragma unroll
      for (int i = 0; i < 4; i++) as[(t % 4 * 4 + i) * Row + t / 4] = va.v[i];
      if (Transposed) {
#pragma unroll
        for (int i = 0; i < 4; i++) bs[(t % 4 * 4 + i) * Row + t / 4] = vb.v[i];
      } else {
        *(Vector<float, 4> *)(bs + t / 16 * Row + t % 16 * 4) = vb;
      }
      __syncthreads();
    }
  }
  template <class S> METHOD Vector<float, 4> read(const S &from, typename S::Slot s, int column) {
    Vector<float, 4> v;
    int n = 0;
    const float *p = from.vector ? from.find(s, column, n) : 0;
    if (n == 4) return *(const Vector<float, 4> *)p;
#pragma unroll
    for (int i = 0; i < 4; i++) v.v[i] = from.element(s, column + i);
    return v;
  }
  METHOD void multiply(const float *as, const float *bs) {
    int t = threadIdx.x;
#pragma unroll
    for (int k = 0; k < Depth; k++) {
      Vector<float, 4> a = *(const Vector<float, 4> *)(as + k * Row + t / 16 * 4), b = *(const Vector<float, 4> *)(bs + k * Row + t % 16 * 4);
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) sum[i][j] += a.v[i] * b.v[j];
    }
  }
  template <class E> METHOD void finish(char *, const E &e, int row, int column, int rows, int columns) {
    int t = threadIdx.x, c = column + t % 16 * 4;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      int r = row + t / 16 * 4 + i;
      if (r < rows && c < columns) e.write(r, c, sum[i], min(columns - c, 4));
    }
  }
};
