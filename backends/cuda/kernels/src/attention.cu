// Attention, with a softmax that goes along.
#include "functions.h"
#include "product.h"

#define ATTENTION_CELLS \
  const void *q_, i64 qb, i64 qh, i64 qr, const void *k_, i64 kb, i64 kh, i64 kr, const void *v_, i64 vb, i64 vh, i64 vr, void *o_, i64 ob, i64 oh, i64 orow, \
      const void *m_, i64 mb, i64 mh, i64 mr, i64 mk, i64 heads, i64 queries, i64 keys, i64 causal, double scale
#define ATTENTION_ARGS q_, qb, qh, qr, k_, kb, kh, kr, v_, vb, vh, vr, o_, ob, oh, orow, m_, mb, mh, mr, mk, heads, queries, keys, causal, scale
#define HEAD(T) \
  i64 b = blockIdx.z, h = blockIdx.y; \
  const T *q = (const T *)q_ + b * qb + h * qh, *k = (const T *)k_ + b * kb + h * kh, *v = (const T *)v_ + b * vb + h * vh; \
  T *o = (T *)o_ + b * ob + h * oh; \
  Scores<T> scores = {m_ ? (const T *)m_ + b * mb + h * mh : 0, mr, mk, (int)queries, (int)keys, causal != 0, (float)scale};

const float Log2e = 1.4426950408889634f;

// What becomes of the product of a query and a key.
template <class T> struct Scores {
  const T *mask;
  i64 row, step;
  int queries, keys;
  bool causal;
  float scale;

  METHOD bool sees(int query, int key) const { return query < queries && key < keys && !(causal && key > query + keys - queries); }
  METHOD float added(int query, int key) const { return to_float(mask[query * row + key * step]); }
  METHOD float score(int query, int key, float product) const {
    if (!sees(query, key)) return -INFINITY;
    return mask ? product * scale + added(query, key) : product * scale;
  }
  // Makes scores of the products of two queries, eight apart, with a key.
  METHOD void pair(int query, int key, float &first, float &second) const {
    bool one = sees(query, key), two = sees(query + 8, key);
    float extra = mask && (one || two) ? added(query, key) : 0, other = extra;
    if (mask && row != 0 && two) other = added(query + 8, key);
    first = one ? first * scale + extra : -INFINITY;
    second = two ? second * scale + other : -INFINITY;
  }
  // Says that nothing is between 64 keys from one on and all queries, so that scores are products.
  METHOD bool open(int key) const { return !mask && !causal && key + 64 <= keys; }
  // How many keys there are for queries before one.
  METHOD int seen(int query) const { return causal ? max(min(keys, query + keys - queries), 0) : keys; }
};

// The place of 16 bytes in a tile whose rows are heads.
template <int Size> DEVICE int place(int row, int chunk) { return Size == 32 ? narrow(row, chunk) : wide<Size * 2>(row, chunk); }

// Starts to copy 64 rows of a head.
template <class T, int Size> DEVICE void copy(char *to, const Rows<T> &from, int row) {
  const int Chunks = Size / 8;
#pragma unroll
  for (int i = threadIdx.x; i < 64 * Chunks; i += 128) stage<T>(from, from.slot(row + i / Chunks), i % Chunks * 8, to + place<Size>(i / Chunks, i % Chunks));
  cp_async_commit();
}
template <class T> DEVICE u32 pack(float low, float high) {
  Vector<T, 2> v;
  from_float(v.v[0], low);
  from_float(v.v[1], high);
  u32 bits;
  memcpy(&bits, &v, 4);
  return bits;
}

// Four warps take 16 queries each, and 64 keys at a time.
template <class T, int Size> DEVICE void attention(char *ks, char *vs, ATTENTION_CELLS) {
  HEAD(T)
  const int Steps = Size / 16, Columns = Size / 8;
  int lane = threadIdx.x % 32, first = blockIdx.x * 64, query = first + threadIdx.x / 32 * 16 + lane / 4;
  Rows<T> kr_(k, kr, (int)keys, Size), vr_(v, vr, (int)keys, Size);
  copy<T, Size>(vs, Rows<T>(q, qr, (int)queries, Size), first);
  copy<T, Size>(ks, kr_, 0);
  cp_async_wait<1>();
  __syncthreads();
  u32 a[Steps][4];
#pragma unroll
  for (int i = 0; i < Steps; i++) load_matrices(a[i], vs + place<Size>(threadIdx.x / 32 * 16 + lane % 16, i * 2 + lane / 16));
  float out[Columns][4], most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
#pragma unroll
  for (int i = 0; i < Columns; i++)
#pragma unroll
    for (int j = 0; j < 4; j++) out[i][j] = 0;
  int end = scores.seen(min(first + 64, (int)queries));
  for (int from = 0; from < end; from += 64) {
    cp_async_wait<0>();
    __syncthreads();
    copy<T, Size>(vs, vr_, from);
    float s[8][4];
#pragma unroll
    for (int j = 0; j < 8; j++)
#pragma unroll
      for (int x = 0; x < 4; x++) s[j][x] = 0;
#pragma unroll
    for (int i = 0; i < Steps; i++)
#pragma unroll
      for (int j = 0; j < 8; j += 2) {
        u32 r[4];
        load_matrices(r, ks + place<Size>(j * 8 + lane % 8 + lane / 16 * 8, i * 2 + lane / 8 % 2));
        mma(T(), s[j], a[i], r[0], r[1]);
        mma(T(), s[j + 1], a[i], r[2], r[3]);
      }
    cp_async_wait<0>();
    __syncthreads();
    if (from + 64 < end) copy<T, Size>(ks, kr_, from + 64);
    float top[2] = {most[0], most[1]}, factor[2];
    bool open = scores.open(from);
#pragma unroll
    for (int j = 0; j < 8; j++)
#pragma unroll
      for (int x = 0; x < 2; x++) {
        if (open)
          s[j][x] *= scores.scale, s[j][x + 2] *= scores.scale;
        else
          scores.pair(query, from + j * 8 + lane % 4 * 2 + x, s[j][x], s[j][x + 2]);
        top[0] = larger(top[0], s[j][x]);
        top[1] = larger(top[1], s[j][x + 2]);
      }
#pragma unroll
    for (int x = 0; x < 2; x++) {
      top[x] = larger(top[x], shuffle_xor(top[x], 1));
      top[x] = larger(top[x], shuffle_xor(top[x], 2));
      float base = top[x] == -INFINITY ? 0 : top[x];
      factor[x] = exp2f((most[x] - base) * Log2e);
      most[x] = top[x];
      top[x] = base;
      sum[x] *= factor[x];
    }
#pragma unroll
    for (int j = 0; j < 8; j++)
#pragma unroll
      for (int x = 0; x < 4; x++) {
        s[j][x] = exp2f((s[j][x] - top[x / 2]) * Log2e);
        sum[x / 2] += s[j][x];
      }
#pragma unroll
    for (int i = 0; i < Columns; i++)
#pragma unroll
      for (int x = 0; x < 4; x++) out[i][x] *= factor[x / 2];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      u32 p[4] = {pack<T>(s[2 * i][0], s[2 * i][1]), pack<T>(s[2 * i][2], s[2 * i][3]), pack<T>(s[2 * i + 1][0], s[2 * i + 1][1]),
                  pack<T>(s[2 * i + 1][2], s[2 * i + 1][3])};
#pragma unroll
      for (int j = 0; j < Columns; j += 2) {
        u32 r[4];
        load_matrices_transposed(r, vs + place<Size>(i * 16 + lane % 16, j + lane / 16));
        mma(T(), out[j], p, r[0], r[1]);
        mma(T(), out[j + 1], p, r[2], r[3]);
      }
    }
  }
  cp_async_wait<0>();
#pragma unroll
  for (int x = 0; x < 2; x++) {
    sum[x] += shuffle_xor(sum[x], 1);
    sum[x] += shuffle_xor(sum[x], 2);
    float factor = sum[x] == 0 ? 0 : 1 / sum[x];
    int r = query + x * 8;
    bool pairs = orow % 2 == 0 && aligned(o, 4);
    if (r >= queries) continue;
#pragma unroll
    for (int j = 0; j < Columns; j++) {
      T *to = o + r * orow + j * 8 + lane % 4 * 2;
      if (pairs) {
        *(u32 *)to = pack<T>(out[j][2 * x] * factor, out[j][2 * x + 1] * factor);
      } else {
        from_float(to[0], out[j][2 * x] * factor);
        from_float(to[1], out[j][2 * x + 1] * factor);
      }
    }
  }
}

// In single precision without tensor cores: four warps take four queries each, and a key for each lane.
template <int Size> DEVICE void attention_plain(float *qs, float *ks, float *vs, ATTENTION_CELLS) {
  HEAD(float)
  const int Row = Size + 4, Mine = Size / 32;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, first = blockIdx.x * 16;
  for (int i = threadIdx.x; i < 16 * Size; i += 128) {
    int r = first + i / Size;
    qs[i] = r < queries ? q[r * qr + i % Size] : 0;
  }
  float out[4][Mine], most[4], sum[4];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    most[i] = -INFINITY, sum[i] = 0;
#pragma unroll
    for (int d = 0; d < Mine; d++) out[i][d] = 0;
  }
  int end = scores.seen(min(first + 16, (int)queries));
  for (int from = 0; from < end; from += 32) {
    __syncthreads();
    for (int i = threadIdx.x; i < 32 * Size; i += 128) {
      int r = from + i / Size, at = i / Size * Row + i % Size;
      ks[at] = r < keys ? k[r * kr + i % Size] : 0;
      vs[at] = r < keys ? v[r * vr + i % Size] : 0;
    }
    __syncthreads();
    float s[4] = {0, 0, 0, 0};
#pragma unroll 4
    for (int d = 0; d < Size; d += 4) {
      Vector<float, 4> x = *(const Vector<float, 4> *)(ks + lane * Row + d);
#pragma unroll
      for (int i = 0; i < 4; i++) {
        Vector<float, 4> y = *(const Vector<float, 4> *)(qs + (warp * 4 + i) * Size + d);
        s[i] += x.v[0] * y.v[0] + x.v[1] * y.v[1] + x.v[2] * y.v[2] + x.v[3] * y.v[3];
      }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
      s[i] = scores.score(first + warp * 4 + i, from + lane, s[i]);
      float top = larger(most[i], s[i]);
#pragma unroll
      for (int x = 16; x > 0; x /= 2) top = larger(top, shuffle_xor(top, x));
      float base = top == -INFINITY ? 0 : top, factor = expf(most[i] - base);
      s[i] = expf(s[i] - base);
      most[i] = top;
      sum[i] = sum[i] * factor + s[i];
#pragma unroll
      for (int d = 0; d < Mine; d++) out[i][d] *= factor;
    }
#pragma unroll 4
    for (int key = 0; key < 32; key++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        float p = shuffle(s[i], key);
#pragma unroll
        for (int d = 0; d < Mine; d++) out[i][d] += p * vs[key * Row + lane + 32 * d];
      }
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
    int r = first + warp * 4 + i;
#pragma unroll
    for (int x = 16; x > 0; x /= 2) sum[i] += shuffle_xor(sum[i], x);
    float factor = sum[i] == 0 ? 0 : 1 / sum[i];
    if (r >= queries) continue;
#pragma unroll
    for (int d = 0; d < Mine; d++) o[r * orow + lane + 32 * d] = out[i][d] * factor;
  }
}

#define ATTENTION(name, T, size) \
  KERNEL(name, 128, 1, ATTENTION_CELLS) { \
    SHARED(char, ks, 64 * size * 2); \
    SHARED(char, vs, 64 * size * 2); \
    attention<T, size>(ks, vs, ATTENTION_ARGS); \
  }
#define PLAIN(name, size) \
  KERNEL(name, 128, 1, ATTENTION_CELLS) { \
    SHARED(float, qs, 16 * size); \
    SHARED(float, ks, 32 * (size + 4)); \
    SHARED(float, vs, 32 * (size + 4)); \
    attention_plain<size>(qs, ks, vs, ATTENTION_ARGS); \
  }
ATTENTION(attention_f16_32, half, 32)
ATTENTION(attention_f16_64, half, 64)
ATTENTION(attention_f16_128, half, 128)
ATTENTION(attention_bf16_32, brain, 32)
ATTENTION(attention_bf16_64, brain, 64)
ATTENTION(attention_bf16_128, brain, 128)
PLAIN(attention_f32_32, 32)
PLAIN(attention_f32_64, 64)
PLAIN(attention_f32_128, 128)
