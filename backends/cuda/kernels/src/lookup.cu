// Rows of tables at indices.
#include "types.h"

DEVICE i64 index_of(const void *indices, i64 bytes, i64 i, i64 rows) {
  i64 at = bytes == 4 ? ((const int *)indices)[i] : ((const i64 *)indices)[i];
  return at < 0 ? at + rows : at;
}

// Units of T, of which a row has inner.
template <class T> DEVICE void gather(const T *table, T *y, const void *indices, int *fault, i64 outer, i64 rows, i64 inner, i64 count, i64 bytes) {
  i64 id = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (id >= outer * count * inner) return;
  i64 unit = id % inner, place = id / inner, row = index_of(indices, bytes, place % count, rows);
  T v = T();
  if (row >= 0 && row < rows)
    v = table[(place / count * rows + row) * inner + unit];
  else if (fault)
    *fault = 1;
  y[id] = v;
}
#define GATHER(name, T) \
  KERNEL(name, 256, 1, const void *table, void *y, const void *indices, void *fault, i64 outer, i64 rows, i64 inner, i64 count, i64 bytes) { \
    gather((const T *)table, (T *)y, indices, (int *)fault, outer, rows, inner, count, bytes); \
  }
typedef Vector<u32, 4> Unit16;
GATHER(gather_1, u8)
GATHER(gather_2, u16)
GATHER(gather_4, u32)
GATHER(gather_8, u64)
GATHER(gather_16, Unit16)

struct Bags { const void *table; const i64 *indices; void *y; i64 rows, length; };

// A warp for each bag, four columns to a lane.
template <class T> DEVICE void bags(const Bags *tables, int *fault, i64 count, i64 width, i64 stride, bool mean) {
  Bags b = tables[blockIdx.y];
  i64 bag = (i64)blockIdx.x * blockDim.y + threadIdx.y;
  if (bag >= count) return;
  const T *table = (const T *)b.table;
  T *y = (T *)b.y + bag * stride;
  const i64 *indices = b.indices + bag * b.length;
  bool vector = width % 4 == 0 && stride % 4 == 0 && aligned(table, 4 * sizeof(T)) && aligned(b.y, 4 * sizeof(T));
  for (i64 c = threadIdx.x * 4; c < width; c += 128) {
    int n = (int)(width - c);
    float sum[4] = {0, 0, 0, 0}, v[4];
#pragma unroll 4
    for (i64 i = 0; i < b.length; i++) {
      i64 row = index_of(indices, 8, i, b.rows);
      if (row < 0 || row >= b.rows) {
        if (fault) *fault = 1;
        continue;
      }
      load4(v, table + row * width + c, n, vector);
#pragma unroll
      for (int k = 0; k < 4; k++) sum[k] += v[k];
    }
#pragma unroll
    for (int k = 0; k < 4; k++)
      if (mean) sum[k] /= (float)b.length;
    store4(y + c, sum, n, vector);
  }
}
#define BAGS(name, T) \
  KERNEL(name, 256, 1, const void *tables, void *fault, i64 count, i64 width, i64 stride, i64 mean) { \
    bags<T>((const Bags *)tables, (int *)fault, count, width, stride, mean != 0); \
  }
BAGS(bags_f32, float)
BAGS(bags_f16, half)
BAGS(bags_bf16, brain)
