// Several functions of elements, one after the other, in registers.
#include "functions.h"

// Operands of a chain, and the steps that it has at most.
enum { OPERANDS = 4, REGISTERS = 5, STEPS = 12, EACH_THREAD = 8 };
// What a step reads and writes: a register, the result of the step before, or one of its numbers.
enum Place { RESULT = REGISTERS, ALPHA, BETA };

// Element i of a result comes from element i / divide % rows * stride + i % columns.
struct Operand { const void *at; i64 type, divide, rows, stride, columns; };
// The function in the lowest eight bits of code, above it in three bits each where it reads and writes.
struct Step { u64 code; float alpha, beta; };
struct Chain {
  i64 n;
  void *out;
  i64 type, count;
  Operand in[OPERANDS];
  Step steps[STEPS];
};

template <class T> DEVICE void load_vector(float (&v)[EACH_THREAD], const void *p, i64 at) {
  const int N = sizeof(T) == 4 ? 4 : EACH_THREAD;
#pragma unroll
  for (int i = 0; i < EACH_THREAD; i += N) {
    Vector<T, N> x = *(const Vector<T, N> *)((const T *)p + at + i);
#pragma unroll
    for (int k = 0; k < N; k++) v[i + k] = to_float(x.v[k]);
  }
}
template <class T> DEVICE void store_vector(void *p, i64 at, const float (&v)[EACH_THREAD]) {
  const int N = sizeof(T) == 4 ? 4 : EACH_THREAD;
#pragma unroll
  for (int i = 0; i < EACH_THREAD; i += N) {
    Vector<T, N> x;
#pragma unroll
    for (int k = 0; k < N; k++) from_float(x.v[k], v[i + k]);
    *(Vector<T, N> *)((T *)p + at + i) = x;
  }
}
DEVICE int vector_bytes(i64 type) { return type == F32 || type == F16 || type == BF16 ? 16 : 8; }

DEVICE u32 place(const Operand &o, u32 i) {
  u32 at = o.columns == 1 ? 0 : i % (u32)o.columns;
  return o.rows == 1 ? at : at + i / (u32)o.divide % (u32)o.rows * (u32)o.stride;
}
// Reads what n elements from i on need; zeros for none.
DEVICE void load_operand(float (&v)[EACH_THREAD], const Operand &o, u32 i, i64 n) {
  if (n > 0 && o.columns == 1 && (o.rows == 1 || o.divide % EACH_THREAD == 0)) {
    float one = load_float((int)o.type, o.at, place(o, i));
#pragma unroll
    for (int k = 0; k < EACH_THREAD; k++) v[k] = one;
    return;
  }
  if (n >= EACH_THREAD && o.columns % EACH_THREAD == 0 && (o.rows == 1 || o.stride % EACH_THREAD == 0) && o.type != I64 && o.type != I32 && aligned(o.at, vector_bytes(o.type))) {
    u32 at = place(o, i);
    switch (o.type) {
    case F32: load_vector<float>(v, o.at, at); break;
    case F16: load_vector<half>(v, o.at, at); break;
    case BF16: load_vector<brain>(v, o.at, at); break;
    case I8: load_vector<i8>(v, o.at, at); break;
    default: load_vector<u8>(v, o.at, at);
    }
    return;
  }
#pragma unroll
  for (int k = 0; k < EACH_THREAD; k++) v[k] = k < n ? load_float((int)o.type, o.at, place(o, i + k)) : 0;
}

DEVICE void copy(float (&to)[EACH_THREAD], const float (&from)[EACH_THREAD]) {
#pragma unroll
  for (int i = 0; i < EACH_THREAD; i++) to[i] = from[i];
}

KERNEL(chain, 256, 2, PARAMETER(Chain) c) {
  i64 i = ((i64)blockIdx.x * blockDim.x + threadIdx.x) * EACH_THREAD, n = c.n - i;
  if (n <= 0) return;
  float r[REGISTERS][EACH_THREAD], result[EACH_THREAD];
#pragma unroll
  for (int k = 0; k < OPERANDS; k++) load_operand(r[k], c.in[k], (u32)i, c.in[k].at ? n : 0);
#pragma unroll 1
  for (int s = 0; s < (int)c.count; s++) {
    Step step = c.steps[s];
    float x[3][EACH_THREAD];
#pragma unroll
    for (int k = 0; k < 3; k++) {
      int from = (int)(step.code >> (8 + 3 * k)) & 7;
      switch (from) { // registers have no addresses
      case 0: copy(x[k], r[0]); break;
      case 1: copy(x[k], r[1]); break;
      case 2: copy(x[k], r[2]); break;
      case 3: copy(x[k], r[3]); break;
      case 4: copy(x[k], r[4]); break;
      case RESULT: copy(x[k], result); break;
      default:
#pragma unroll
        for (int e = 0; e < EACH_THREAD; e++) x[k][e] = from == ALPHA ? step.alpha : step.beta;
      }
    }
    int f = (int)step.code & 255;
    if (f == WHERE) {
#pragma unroll
      for (int e = 0; e < EACH_THREAD; e++) x[0][e] = x[0][e] != 0 ? x[1][e] : x[2][e];
    } else {
      apply(f, step.alpha, step.beta, x[0], x[1]);
    }
    copy(result, x[0]);
    switch ((int)(step.code >> 17) & 7) {
    case 0: copy(r[0], result); break;
    case 1: copy(r[1], result); break;
    case 2: copy(r[2], result); break;
    case 3: copy(r[3], result); break;
    case 4: copy(r[4], result); break;
    }
  }
  if (n >= EACH_THREAD && aligned(c.out, vector_bytes(c.type))) {
    switch (c.type) {
    case F32: store_vector<float>(c.out, i, result); return;
    case F16: store_vector<half>(c.out, i, result); return;
    case BF16: store_vector<brain>(c.out, i, result); return;
    }
  }
  if (n >= EACH_THREAD && c.type >= BOOL && c.type <= I8 && aligned(c.out, EACH_THREAD)) {
    Vector<u8, EACH_THREAD> bytes;
#pragma unroll
    for (int k = 0; k < EACH_THREAD; k++) store_float((int)c.type, bytes.v, k, result[k]);
    *(Vector<u8, EACH_THREAD> *)((u8 *)c.out + i) = bytes;
    return;
  }
#pragma unroll
  for (int k = 0; k < EACH_THREAD; k++)
    if (k < n) store_float((int)c.type, c.out, i + k, result[k]);
}
