// Runs kernels on the processor. See emulated.h.
#include "../src/platform.h"

#include <atomic>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

// Saves where this fiber is and goes on where another one was.
asm(R"(.text
.type fiber_switch,@function
fiber_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
)");
extern "C" __attribute__((visibility("hidden"))) void fiber_switch(void **save, void *to);

namespace emulated {

enum { MOST = 1024, STACK = 128 << 10, SHARED_MOST = 96 << 10, GUARD = 64, COPIES = 64 };
enum State { READY, IN_WARP, IN_BLOCK, DONE };

struct Copy { void *to; const void *from; int bytes, group; };
struct Fiber {
  Position at;
  void *stack;
  State state;
  int number, copies, groups;
  Copy copy[COPIES];
};
struct Warp { int live, arrived, phase; Brought brought[2]; };

struct Program { const char *name; int threads; Entry entry; };
static Program programs[512];
static int program_count;
Kernel::Kernel(const char *name, int threads, Entry entry) { programs[program_count++] = {name, threads, entry}; }

// A processor's thread, which runs one block at a time.
struct Worker {
  Fiber fibers[MOST];
  Warp warps[MOST / 32];
  char *stacks;
  void *scheduler;
  Fiber *current;
  int threads, live, arrived;
  u32 random;
  Entry entry;
  const u64 *cells;
  char memory[2 * SHARED_MOST + 8 * GUARD] __attribute__((aligned(256)));
  size_t used, dynamic;
  struct { const void *key; char *at; size_t bytes; } arrays[8];
  int array_count;
  const char *fault;

  u32 draw() { return random = random * 1664525u + 1013904223u, random >> 8; }
};
thread_local Position *at;
static thread_local Worker *worker;

static void leave(State s) {
  Fiber *f = worker->current;
  f->state = s;
  fiber_switch(&f->stack, worker->scheduler);
}
static void release_block(Worker *w) {
  if (w->arrived == 0 || w->arrived < w->live) return;
  w->arrived = 0;
  for (int i = 0; i < w->threads; i++)
    if (w->fibers[i].state == IN_BLOCK) w->fibers[i].state = READY;
}
static void release_warp(Worker *w, int n) {
  Warp &p = w->warps[n];
  if (p.arrived == 0 || p.arrived < p.live) return;
  p.arrived = 0;
  p.phase ^= 1;
  for (int i = n * 32; i < w->threads && i < n * 32 + 32; i++)
    if (w->fibers[i].state == IN_WARP) w->fibers[i].state = READY;
}
void barrier() {
  Worker *w = worker;
  w->arrived++;
  w->current->state = IN_BLOCK;
  release_block(w);
  leave(w->current->state);
}
int lane() { return worker->current->number % 32; }
const Brought &exchange(const void *mine, int bytes) {
  Worker *w = worker;
  int n = w->current->number / 32;
  Warp &p = w->warps[n];
  int phase = p.phase;
  if (bytes) memcpy(p.brought[phase][lane()], mine, bytes);
  p.arrived++;
  w->current->state = IN_WARP;
  release_warp(w, n);
  leave(w->current->state);
  return p.brought[phase];
}
void *shared(const void *key, size_t bytes) {
  Worker *w = worker;
  for (int i = 0; i < w->array_count; i++)
    if (w->arrays[i].key == key) return w->arrays[i].at;
  char *p = w->memory + w->used;
  bytes = (bytes + 15) / 16 * 16;
  w->used += bytes + GUARD;
  if (w->array_count == 8 || w->used > sizeof w->memory) {
    fprintf(stderr, "emulate: shared memory is exhausted\n");
    abort();
  }
  memset(p, 0xff, bytes);
  memset(p + bytes, 0xa5, GUARD);
  w->arrays[w->array_count].key = key, w->arrays[w->array_count].at = p, w->arrays[w->array_count].bytes = bytes;
  w->array_count++;
  return p;
}
void *dynamic_shared() { return shared(&worker->dynamic, worker->dynamic); }

void copy_later(void *to, const void *from, int bytes) {
  Fiber *f = worker->current;
  if (f->copies == COPIES || ((uintptr_t)to | (uintptr_t)from) & 15 || bytes < 0 || bytes > 16) {
    worker->fault = "an asynchronous copy that is not aligned, too long, or one too many";
    return;
  }
  f->copy[f->copies++] = {to, from, bytes, f->groups};
}
void commit_copies() { worker->current->groups++; }
void wait_copies(int left) {
  Fiber *f = worker->current;
  int kept = 0;
  for (int i = 0; i < f->copies; i++) {
    Copy &c = f->copy[i];
    if (c.group >= f->groups - left) {
      f->copy[kept++] = c;
      continue;
    }
    memcpy(c.to, c.from, c.bytes);
    memset((char *)c.to + c.bytes, 0, 16 - c.bytes);
  }
  f->copies = kept;
}

static void body() {
  Worker *w = worker;
  w->entry(w->cells);
  Fiber *f = w->current;
  int n = f->number / 32;
  w->live--;
  w->warps[n].live--;
  f->state = DONE;
  release_block(w);
  release_warp(w, n);
  leave(DONE);
}
static void start(Worker *w, int i) {
  Fiber &f = w->fibers[i];
  void **top = (void **)(w->stacks + (size_t)(i + 1) * STACK - 64);
  top[0] = (void *)body; // after six registers
  f.stack = top - 6;
  f.state = READY, f.number = i, f.copies = f.groups = 0;
}
static bool pass(Worker *w) {
  bool moved = false;
  int warps = (w->threads + 31) / 32;
  u32 first = w->draw();
  for (int k = 0; k < warps; k++) {
    int n = (int)((first + k) % warps), lanes = w->threads - n * 32 < 32 ? w->threads - n * 32 : 32;
    for (bool again = true; again;) {
      again = false;
      u32 offset = w->draw(), step = w->draw() % 2 ? 1 : (u32)lanes - 1;
      for (int i = 0; i < lanes; i++) {
        Fiber &f = w->fibers[n * 32 + (int)((offset + (u64)i * step) % lanes)];
        if (f.state != READY) continue;
        w->current = &f;
        at = &f.at;
        fiber_switch(&w->scheduler, f.stack);
        again = moved = true;
      }
    }
  }
  return moved;
}

struct Job {
  Program *program;
  uint3_ grid, block;
  u32 shared;
  const u64 *cells;
  std::atomic<u64> next;
  std::atomic<const char *> fault;
};
static void run_block(Worker *w, Job *j, u64 number) {
  w->threads = w->live = (int)(j->block.x * j->block.y * j->block.z);
  w->arrived = 0, w->used = 0, w->array_count = 0, w->dynamic = j->shared;
  w->entry = j->program->entry, w->cells = j->cells, w->fault = 0;
  memset(w->warps, 0, sizeof w->warps);
  for (int i = 0; i < w->threads; i++) {
    start(w, i);
    u32 x = j->block.x, y = j->block.y;
    w->fibers[i].at = {{i % x, i / x % y, i / x / y},
                       {(u32)(number % j->grid.x), (u32)(number / j->grid.x % j->grid.y), (u32)(number / j->grid.x / j->grid.y)}, j->block, j->grid};
    w->warps[i / 32].live++;
  }
  while (w->live > 0 && !w->fault)
    if (!pass(w)) w->fault = "threads wait at different barriers for ever";
  for (int i = 0; i < w->threads && !w->fault; i++)
    for (int k = 0; k < w->fibers[i].copies; k++) w->fault = "an asynchronous copy is not waited for";
  for (int i = 0; i < w->array_count; i++)
    for (int k = 0; k < GUARD; k++)
      if ((u8)w->arrays[i].at[w->arrays[i].bytes + k] != 0xa5) w->fault = "shared memory is written beyond its end";
  if (w->fault) j->fault = w->fault;
}
static void *work(void *p) {
  Job *j = (Job *)p;
  Worker *w = (Worker *)mmap(0, sizeof(Worker), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  w->stacks = (char *)mmap(0, (size_t)MOST * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  w->random = (u32)(uintptr_t)&w + (u32)j->next.load() * 2654435761u;
  worker = w;
  u64 blocks = (u64)j->grid.x * j->grid.y * j->grid.z;
  for (u64 n; !j->fault && (n = j->next++) < blocks;) run_block(w, j, n);
  munmap(w->stacks, (size_t)MOST * STACK);
  munmap(w, sizeof(Worker));
  return 0;
}
} // namespace emulated

using namespace emulated;

// Runs a kernel to its end. grid and block are three numbers each; args are its cells, of which the
// addresses are of this process. Returns 0, or the text of what went wrong.
extern "C" __attribute__((visibility("default"))) const char *emulate(const char *name, const u32 *grid, const u32 *block, u32 shared, const u64 *args) {
  Job j = {};
  for (int i = 0; i < program_count; i++)
    if (strcmp(programs[i].name, name) == 0) j.program = &programs[i];
  if (!j.program) return "there is no kernel of that name";
  j.grid = {grid[0], grid[1], grid[2]}, j.block = {block[0], block[1], block[2]}, j.shared = shared, j.cells = args;
  u64 threads = (u64)block[0] * block[1] * block[2];
  if (!grid[0] || !grid[1] || !grid[2] || grid[1] > 65535 || grid[2] > 65535) return "the grid is larger than a device's";
  if (!threads || threads > (u64)j.program->threads || shared > SHARED_MOST) return "the block is larger than the kernel allows";
  long processors = sysconf(_SC_NPROCESSORS_ONLN);
  u64 blocks = (u64)grid[0] * grid[1] * grid[2], n = processors > 16 ? 16 : (u64)processors;
  if (n > blocks) n = blocks;
  // The threads take no signals, which may be for threads of another kind.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t workers[16];
  for (u64 i = 0; i < n; i++)
    if (pthread_create(&workers[i], 0, work, &j)) n = i;
  pthread_sigmask(SIG_SETMASK, &before, 0);
  for (u64 i = 0; i < n; i++) pthread_join(workers[i], 0);
  return n ? j.fault.load() : "no thread can be started";
}

// Returns the name of kernel i, or 0 beyond the last.
extern "C" __attribute__((visibility("default"))) const char *emulated_kernel(int i) { return i < program_count ? programs[i].name : 0; }

// ---- what warps do together ----

void load_matrices(u32 (&r)[4], const void *row) {
  if ((uintptr_t)row & 15) worker->fault = "the row of a matrix is not aligned";
  const Brought &all = exchange(&row, 8);
  int l = lane();
  for (int i = 0; i < 4; i++) {
    const char *p;
    memcpy(&p, all[8 * i + l / 4], 8);
    memcpy(&r[i], p + l % 4 * 4, 4);
  }
}
void load_matrices_transposed(u32 (&r)[4], const void *row) {
  if ((uintptr_t)row & 15) worker->fault = "the row of a matrix is not aligned";
  const Brought &all = exchange(&row, 8);
  int l = lane();
  for (int i = 0; i < 4; i++)
    for (int k = 0; k < 2; k++) {
      const char *p;
      memcpy(&p, all[8 * i + l % 4 * 2 + k], 8);
      memcpy((char *)&r[i] + 2 * k, p + l / 4 * 2, 2);
    }
}

static float to_number(half h) { return to_float(h); }
static float to_number(brain b) { return to_float(b); }
// The device reads the upper 19 bits alone.
static float to_number(tf32 f) { u32 u; memcpy(&u, &f, 4); u &= ~0x1fffu; memcpy(&f, &u, 4); return f.value; }
static int to_number(i8 v) { return v; }
static int to_number(u8 v) { return v; }

// The layouts of PTX: lane 4g + t holds of A the rows g and g + 8, of B and C the columns g, and of C
// the columns 2t and 2t + 1 of rows g and g + 8. Registers a[0], a[1] and b[0] are the first half of the
// depth, the others the second; 4 bytes at place t of each half.
template <class T, class U, class C> static void product(C (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  const int n = 4 / sizeof(T);
  u32 mine[6] = {a[0], a[1], a[2], a[3], b0, b1};
  const Brought &all = exchange(mine, sizeof mine);
  int g = lane() / 4, t = lane() % 4;
  for (int i = 0; i < 4; i++) {
    int row = g, side = i / 2, column = 2 * t + i % 2;
    C sum = 0;
    for (int half = 0; half < 2; half++)
      for (int p = 0; p < 4; p++) {
        T x[n];
        U y[n];
        memcpy(x, &all[row * 4 + p][2 * half + side], 4);
        memcpy(y, &all[column * 4 + p][4 + half], 4);
        for (int e = 0; e < n; e++) sum += (C)to_number(x[e]) * (C)to_number(y[e]);
      }
    c[i] += sum;
  }
}
void mma(half, float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) { product<half, half>(c, a, b0, b1); }
void mma(brain, float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) { product<brain, brain>(c, a, b0, b1); }
void mma(tf32, float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) { product<tf32, tf32>(c, a, b0, b1); }
void mma(i8, int (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) { product<i8, i8>(c, a, b0, b1); }
void mma(u8, int (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) { product<u8, i8>(c, a, b0, b1); }
