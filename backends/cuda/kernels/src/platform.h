// What a kernel may use of the device. Under EMULATED the same names stand for what
// emulated/emulated.h makes of a processor.
#pragma once

typedef long long i64;
typedef unsigned long long u64;
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;
typedef signed char i8;

struct half { u16 bits; };
struct brain { u16 bits; };
struct tf32 { float value; }; // a float whose products are taken with 10 bits of mantissa

#ifdef EMULATED
#include "../emulated/emulated.h"
#else

#define DEVICE static __device__ __forceinline__
#define METHOD __device__ __forceinline__
#define PARAMETER(T) const __grid_constant__ T // the last of a kernel's, which lies in several cells
#define KERNEL(name, threads, blocks, ...) extern "C" __global__ void __launch_bounds__(threads, blocks) name(__VA_ARGS__)
#define SHARED(T, name, n) __shared__ __align__(16) T name[n]
#define DYNAMIC_SHARED(T, name) extern __shared__ __align__(16) char dynamic_[]; T *name = (T *)dynamic_

DEVICE float to_float(half h) { float f; asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h.bits)); return f; }
DEVICE float to_float(brain b) { return __uint_as_float((u32)b.bits << 16); }
DEVICE void from_float(half &h, float f) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h.bits) : "f"(f)); }
DEVICE void from_float(brain &b, float f) { asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(b.bits) : "f"(f)); }
DEVICE u32 round_tf32(u32 f) { u32 r; asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(__uint_as_float(f))); return r; }

template <class T> DEVICE T shuffle(T v, int lane) { return __shfl_sync(0xffffffffu, v, lane); }
template <class T> DEVICE T shuffle_xor(T v, int mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }

// Copies the first bytes of 16 into shared memory, and zeros for the rest, some time before the
// cp_async_wait that leaves fewer groups than have been committed since.
DEVICE void cp_async(void *to, const void *from, int bytes) {
  u32 at = (u32)__cvta_generic_to_shared(to);
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(bytes) : "memory");
}
DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> DEVICE void cp_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

// Matrices of eight rows of 16 bytes: lane 8i + r says where row r of matrix i lies and gets, of each
// matrix, the four bytes at lane % 4 of row lane / 4.
DEVICE void load_matrices(u32 (&r)[4], const void *row) {
  u32 at = (u32)__cvta_generic_to_shared(row);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}
// The same, each matrix of 8 x 8 elements of two bytes transposed.
DEVICE void load_matrices_transposed(u32 (&r)[4], const void *row) {
  u32 at = (u32)__cvta_generic_to_shared(row);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}

// c += a·b of 16 rows, 8 columns and 32 bytes of depth.
#define MMA(T, C, shape, types, constraint)                                                                                   \
  DEVICE void mma(T, C (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {                                                           \
    asm volatile("mma.sync.aligned." shape ".row.col." types " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"          \
                 : "+" constraint(c[0]), "+" constraint(c[1]), "+" constraint(c[2]), "+" constraint(c[3])                      \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));                                              \
  }
MMA(half, float, "m16n8k16", "f32.f16.f16.f32", "f")
MMA(brain, float, "m16n8k16", "f32.bf16.bf16.f32", "f")
MMA(tf32, float, "m16n8k8", "f32.tf32.tf32.f32", "f")
MMA(i8, int, "m16n8k32", "s32.s8.s8.s32", "r")
MMA(u8, int, "m16n8k32", "s32.u8.s8.s32", "r")
#undef MMA

#endif
