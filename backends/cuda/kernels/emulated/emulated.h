// What src/platform.h gives to kernels, on a processor.
//
// The threads of a block are fibers, which change places at barriers and wherever a warp exchanges
// something, in an order that is drawn anew each time: what lacks a barrier goes wrong sooner or
// later. Asynchronous copies happen at the latest moment at which they may. Shared memory begins full of
// NaNs and is guarded at its end.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#define DEVICE static inline
#define METHOD inline

struct uint3_ { u32 x, y, z; };
namespace emulated {
struct Fiber;
struct Position { uint3_ thread, block, block_size, grid; };
extern thread_local Position *at;
void barrier();
// Gives every lane of the warp what the others brought, 32 bytes each.
typedef u32 Brought[32][8];
const Brought &exchange(const void *mine, int bytes);
int lane();
void *shared(const void *key, size_t bytes);
void *dynamic_shared();
void copy_later(void *to, const void *from, int bytes);
void commit_copies();
void wait_copies(int left);
typedef void (*Entry)(const u64 *cells);
struct Kernel { Kernel(const char *name, int threads, Entry entry); };

template <class T> T take(const u64 *cells) { T t; memcpy((void *)&t, cells, sizeof t); return t; }
template <int... I> struct Indices {};
template <int N, int... I> struct Count : Count<N - 1, N - 1, I...> {};
template <int... I> struct Count<0, I...> { typedef Indices<I...> type; };
template <class... P, int... I> void spread(void (*f)(P...), const u64 *c, Indices<I...>) { f(take<P>(c + I)...); }
template <class... P> void call(void (*f)(P...), const u64 *c) { spread(f, c, typename Count<sizeof...(P)>::type()); }
} // namespace emulated

#define threadIdx (emulated::at->thread)
#define blockIdx (emulated::at->block)
#define blockDim (emulated::at->block_size)
#define gridDim (emulated::at->grid)
#define __syncthreads emulated::barrier
#define __syncwarp() emulated::exchange(0, 0)
#define PARAMETER(T) const T
#define KERNEL(name, threads, blocks, ...) \
  static void name(__VA_ARGS__); \
  static void name##_entry(const u64 *cells) { emulated::call(name, cells); } \
  static emulated::Kernel name##_kernel(#name, threads, name##_entry); \
  static void name(__VA_ARGS__)
#define SHARED(T, name, n) \
  static const char name##_key = 0; \
  T *name = (T *)emulated::shared(&name##_key, sizeof(T) * (n))
#define DYNAMIC_SHARED(T, name) T *name = (T *)emulated::dynamic_shared()

static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }

DEVICE float to_float(half h) { _Float16 f; memcpy(&f, &h, 2); return (float)f; }
DEVICE float to_float(brain b) { u32 u = (u32)b.bits << 16; float f; memcpy(&f, &u, 4); return f; }
DEVICE void from_float(half &h, float f) { _Float16 r = (_Float16)f; memcpy(&h, &r, 2); }
DEVICE void from_float(brain &b, float f) {
  u32 u;
  memcpy(&u, &f, 4);
  b.bits = f != f ? 0x7fff : (u16)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
DEVICE u32 round_tf32(u32 u) { return (u & 0x7f800000) == 0x7f800000 ? u : (u + 0x1000) & ~0x1fffu; }

template <class T> DEVICE T shuffle(T v, int lane) {
  const emulated::Brought &all = emulated::exchange(&v, sizeof v);
  memcpy(&v, all[lane & 31], sizeof v);
  return v;
}
template <class T> DEVICE T shuffle_xor(T v, int mask) {
  int lane = emulated::lane() ^ mask;
  return shuffle(v, lane);
}

DEVICE void cp_async(void *to, const void *from, int bytes) { emulated::copy_later(to, from, bytes); }
DEVICE void cp_async_commit() { emulated::commit_copies(); }
template <int N> DEVICE void cp_async_wait() { emulated::wait_copies(N); }

void load_matrices(u32 (&r)[4], const void *row);
void load_matrices_transposed(u32 (&r)[4], const void *row);
void mma(half, float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1);
void mma(brain, float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1);
void mma(tf32, float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1);
void mma(i8, int (&c)[4], const u32 (&a)[4], u32 b0, u32 b1);
void mma(u8, int (&c)[4], const u32 (&a)[4], u32 b0, u32 b1);
