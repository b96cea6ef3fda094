// A CUDA driver without a device, for tests: libcuda.so.1 with the functions that are called.
//
// Memory of a device is memory of the process, counted against a bound. What is put on a stream
// waits until somebody waits for it, so that a test sees whether anybody does. FAKE_CUDA in the
// environment, or fake_configure, holds settings such as "devices=2 memory=1048576 version=13010".
//
// Where FAKE_CUDA_KERNELS names the library of backends/cuda/kernels/emulated, launches compute what
// the device would: the same kernels, on the processor. Memory is guarded on both sides, and a kernel
// that writes outside leaves a sticky error, as on a device.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef int result;
typedef uint64_t address;

enum { NOT_SUPPORTED = 801, INVALID = 1, NO_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, BAD_DEVICE = 101, NO_CONTEXT = 201, NOT_FOUND = 500, NOT_PERMITTED = 800, NOT_READY = 600, ILLEGAL_ADDRESS = 700, LAUNCH_FAILED = 719, NOT_REGISTERED = 713, UNMATCHED = 903 };
enum { INVALID_HANDLE = 400, REGISTERED = 712, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901, CAPTURED_EVENT = 907, WRONG_THREAD = 908 };
enum { DEVICES = 8, BLOCKS = 65536, CELLS = 64, GUARD = 256, PAYLOAD = 512 };

static struct { long devices, memory, version, init, pin, meminfo, launch, failing, direct, cost, cold, share, pools; } set = {.pools = 1, .devices = 1, .memory = 1 << 20, .version = 13000};
static int started, sticky;
static long used[DEVICES], kept[DEVICES]; // kept: what a pool has free
static struct { address at; size_t size; int device; char pinned; } blocks[BLOCKS];
enum { SHARED = 3 }; // for pinned: memory that other processes map, too
static int contexts[DEVICES];
static __thread int *current;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;                 // of lists
static pthread_mutex_t device = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP; // held by who performs operations
static const char *(*emulate)(const char *, const unsigned *, const unsigned *, unsigned, const uint64_t *);
static const char *(*emulated_kernel)(int);

typedef struct event { int done, untimed, recorded, captured; double at; } event; // at: milliseconds
typedef struct function { int cells, fills, shared; const char *kernel; } function;
typedef struct op {
  enum { COPY, RECORD, WAIT, LAUNCH, FREE, WORK } kind;
  char *to, *from;
  size_t n;
  event *event;
  struct stream *of;
  function *function;
  unsigned grid[3], block[3], shared;
  uint64_t cells[CELLS];
  result (*work)(const void *);
  double ms;
  char payload[PAYLOAD];
  struct op *next;
} op;
typedef struct graph { op *first; } graph;
typedef struct stream { op *first; graph *capture; int broken; pthread_t by; struct stream *next; } stream;
static stream *streams, null_stream;
static __thread stream *capturing; // that which this thread has begun to capture
static long launches, modules;
static double slower; // milliseconds by which the device says that it has been slower than this processor
static uint64_t last_cells[CELLS];

void fake_configure(const char *text) {
  struct { const char *name; long *value; } keys[] = {{"devices", &set.devices}, {"memory", &set.memory}, {"version", &set.version}, {"init", &set.init}, {"pin", &set.pin}, {"meminfo", &set.meminfo}, {"launch", &set.launch}, {"failing", &set.failing}, {"direct", &set.direct}, {"cost", &set.cost}, {"cold", &set.cold}, {"share", &set.share}, {"pools", &set.pools}};
  for (unsigned i = 0; text && i < sizeof keys / sizeof *keys; i++) {
    const char *at = strstr(text, keys[i].name);
    if (at && at[strlen(keys[i].name)] == '=') *keys[i].value = atol(at + strlen(keys[i].name) + 1);
  }
}

__attribute__((constructor)) static void from_environment(void) {
  fake_configure(getenv("FAKE_CUDA"));
  const char *kernels = getenv("FAKE_CUDA_KERNELS");
  void *library = kernels ? dlopen(kernels, RTLD_NOW) : NULL;
  if (kernels && !library) fprintf(stderr, "%s\n", dlerror());
  if (!library) return;
  *(void **)&emulate = dlsym(library, "emulate");
  *(void **)&emulated_kernel = dlsym(library, "emulated_kernel");
}

long fake_launches(void) { return launches; }
long fake_modules(void) { return modules; } // that are loaded
int fake_capturing(void) { return capturing != NULL; }
uint64_t fake_cell(int i) { return last_cells[i]; }
int fake_pinned(char *at, size_t n) {
  for (int i = 0; i < BLOCKS; i++)
    if (blocks[i].pinned && blocks[i].pinned != SHARED && (address)at >= blocks[i].at && (address)at + n <= blocks[i].at + blocks[i].size) return 1;
  return 0;
}

static result fails(long r) {
  if (r >= 700 && r < 800) sticky = r;
  return r;
}

#define ENTER if (sticky) return sticky; if (!started) return NOT_INITIALIZED
#define IN_CONTEXT ENTER; if (!current) return NO_CONTEXT
// What a thread may not do between cuStreamBeginCapture and cuStreamEndCapture of a capture that is not relaxed: it breaks that.
#define UNSAFE IN_CONTEXT; if (capturing) return capturing->broken = 1, CAPTURE_UNSUPPORTED
// What nobody may do to a stream that is captured.
#define WAITS(s) UNSAFE; if (at(s)->capture) return at(s)->broken = 1, CAPTURE_UNSUPPORTED

result cuDriverGetVersion(int *v) { *v = set.version; return 0; }
result cuInit(unsigned flags) {
  if (set.init) return set.init;
  if (set.devices == 0) return NO_DEVICE;
  started = 1;
  return flags ? INVALID : 0;
}
static const struct { int code; const char *name, *text; } errors[] = {
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"}, {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"}, {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"}, {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"}, {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"}, {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"}, {801, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"}, {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"}};
static result text(int code, const char **out, int name) {
  for (unsigned i = 0; i < sizeof errors / sizeof *errors; i++)
    if (errors[i].code == code) { *out = name ? errors[i].name : errors[i].text; return 0; }
  return INVALID;
}
result cuGetErrorName(int code, const char **out) { return text(code, out, 1); }
result cuGetErrorString(int code, const char **out) { return text(code, out, 0); }

// ---- devices and contexts ----

result cuDeviceGetCount(int *n) { ENTER; *n = set.devices; return 0; }
result cuDeviceGet(int *dev, int i) { ENTER; *dev = i; return i < 0 || i >= set.devices ? BAD_DEVICE : 0; }
result cuDeviceGetName(char *name, int len, int dev) { ENTER; snprintf(name, len, "Fake GPU %d", dev); return 0; }
result cuDeviceTotalMem_v2(size_t *n, int dev) { ENTER; *n = set.memory; return dev >= set.devices; }
result cuDeviceGetAttribute(int *v, int attribute, int dev) { ENTER; *v = attribute == 75 ? 9 : attribute == 16 ? 132 : attribute == 115 ? set.pools : 0; return dev >= set.devices; }
// Devices have a UUID that ends in their number, as in nvml.c.
result cuDeviceGetUuid_v2(unsigned char *uuid, int dev) {
  ENTER;
  for (int i = 0; i < 16; i++) uuid[i] = i == 0 ? 0xab : i == 15 ? dev : i;
  return dev < 0 || dev >= set.devices ? BAD_DEVICE : 0;
}
result cuDevicePrimaryCtxRetain(int **ctx, int dev) { ENTER; contexts[dev] = dev; *ctx = &contexts[dev]; return 0; }
result cuDevicePrimaryCtxRelease_v2(int dev) { ENTER; return dev >= set.devices; }
result cuCtxSetCurrent(int *ctx) { ENTER; current = ctx; return 0; }
result cuCtxGetCurrent(int **ctx) { ENTER; *ctx = current; return 0; }

// ---- memory ----

static result keep(address at, size_t n, char pinned) {
  pthread_mutex_lock(&lock);
  for (int i = 0; i < BLOCKS; i++)
    if (!blocks[i].at) {
      blocks[i].at = at, blocks[i].size = n, blocks[i].pinned = pinned, blocks[i].device = current ? *current : 0;
      pthread_mutex_unlock(&lock);
      return 0;
    }
  pthread_mutex_unlock(&lock);
  return NO_MEMORY;
}
static long drop(address at, char pinned) {
  for (int i = 0; i < BLOCKS; i++)
    if (at && blocks[i].at == at && blocks[i].pinned == pinned) {
      if (!pinned) used[blocks[i].device] -= blocks[i].size;
      blocks[i].at = 0, blocks[i].pinned = 0;
      return blocks[i].size;
    }
  return -1;
}
static int inside(address at, size_t n) {
  for (int i = 0; i < BLOCKS; i++)
    if (blocks[i].at && (!blocks[i].pinned || blocks[i].pinned == SHARED) && at >= blocks[i].at && at + n <= blocks[i].at + blocks[i].size) return 1;
  return 0;
}
result cuMemGetInfo_v2(size_t *free, size_t *total) {
  IN_CONTEXT;
  *total = set.memory, *free = set.memory - used[*current] - kept[*current];
  return fails(set.meminfo);
}
static result take(address *at, size_t n) {
  if (n == 0) return INVALID;
  if (used[*current] + (long)n > set.memory) return NO_MEMORY;
  used[*current] += n;
  char *p;
  if (posix_memalign((void **)&p, 256, n + 2 * GUARD)) return NO_MEMORY;
  memset(p, 0xa5, n + 2 * GUARD);
  return keep(*at = (address)p + GUARD, n, 0);
}
result cuMemAlloc_v2(address *at, size_t n) { UNSAFE; return take(at, n); }
// Says whether nobody has written beside a block.
static int intact(const unsigned char *p, size_t n) {
  for (int i = 1; i <= GUARD; i++)
    if (p[-i] != 0xa5 || p[n + i - 1] != 0xa5) return 0;
  return 1;
}
static result give(address at) {
  long n = drop(at, 0);
  if (n < 0) return INVALID;
  if (!intact((unsigned char *)at, n)) {
    fprintf(stderr, "a kernel has written beside %ld bytes of memory\n", n);
    return fails(ILLEGAL_ADDRESS);
  }
  free((char *)at - GUARD);
  return 0;
}
result cuMemFree_v2(address at) { UNSAFE; return give(at); }
result cuMemHostAlloc(void **p, size_t n, unsigned flags) {
  UNSAFE;
  (void)flags;
  return keep((address)(*p = malloc(n)), n, 2);
}
result cuMemFreeHost(void *p) {
  UNSAFE;
  if (drop((address)p, 2) < 0) return INVALID;
  free(p);
  return 0;
}
// Memory is pinned by the page, and no page twice.
static int pinned_page(address from, address to) {
  for (int i = 0; i < BLOCKS; i++)
    if (blocks[i].pinned == 1 && blocks[i].at / 4096 <= (to - 1) / 4096 && from / 4096 <= (blocks[i].at + blocks[i].size - 1) / 4096) return 1;
  return 0;
}
result cuMemHostRegister_v2(void *p, size_t n, unsigned flags) {
  UNSAFE;
  if (set.pin) return fails(set.pin);
  if (flags != 1 || !n) return INVALID;
  return pinned_page((address)p, (address)p + n) ? REGISTERED : keep((address)p, n, 1);
}
result cuMemHostUnregister(void *p) { UNSAFE; return drop((address)p, 1) < 0 ? NOT_REGISTERED : 0; }

// ---- memory that processes share: a file in memory ----

enum { UNIT = 2 << 20, HANDLES = 64 };
static struct { int fd, refs, device, made; size_t size; } handles[HANDLES]; // a handle is a number from 1
static struct { address at; size_t size; int handle; } ranges[HANDLES];

static int range_of(address at, size_t n) {
  for (int i = 0; i < HANDLES; i++)
    if (ranges[i].at == at && ranges[i].size == n) return i;
  return -1;
}
static void let_go(int h) {
  if (--handles[h].refs) return;
  close(handles[h].fd);
  if (handles[h].made) used[handles[h].device] -= handles[h].size;
}
static result take_file(uint64_t *handle, int fd, size_t n, int device, int made) {
  for (int h = 1; h < HANDLES; h++)
    if (!handles[h].refs) {
      handles[h].fd = fd, handles[h].refs = 1, handles[h].device = device, handles[h].made = made, handles[h].size = n;
      *handle = h;
      return 0;
    }
  return NO_MEMORY;
}
// CUmemAllocationProp and CUmemAccessDesc, as in cuda.h.
typedef struct { int type, handles, where, device; void *windows; unsigned char compression, rdma; unsigned short usage; unsigned char reserved[4]; } allocation;
typedef struct { int where, device, flags; } access_to;
static int wrong(const allocation *p) { return p->type != 1 || p->handles != 1 || p->where != 1 || p->device < 0 || p->device >= set.devices || p->windows || p->compression || p->rdma || p->usage || p->reserved[0]; }

result cuMemGetAllocationGranularity(size_t *n, const allocation *p, int option) { ENTER; *n = UNIT; return wrong(p) || option ? INVALID : 0; }
result cuMemCreate(uint64_t *handle, size_t n, const allocation *p, uint64_t flags) {
  ENTER;
  if (set.share) return fails(set.share);
  if (wrong(p) || flags || n == 0 || n % UNIT) return INVALID;
  if (used[p->device] + (long)n > set.memory) return NO_MEMORY;
  int fd = memfd_create("device memory", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, n)) return NO_MEMORY;
  used[p->device] += n;
  return take_file(handle, fd, n, p->device, 1);
}
result cuMemRelease(uint64_t handle) { ENTER; if (!handle || handle >= HANDLES || !handles[handle].refs) return INVALID; let_go(handle); return 0; }
result cuMemExportToShareableHandle(int *fd, uint64_t handle, int type, uint64_t flags) { ENTER; *fd = dup(handles[handle].fd); return type != 1 || flags || *fd < 0 ? INVALID : 0; }
result cuMemImportFromShareableHandle(uint64_t *handle, void *fd, int type) {
  ENTER;
  struct stat s;
  if (type != 1 || fstat((int)(intptr_t)fd, &s)) return INVALID;
  return take_file(handle, dup((int)(intptr_t)fd), s.st_size, 0, 0);
}
result cuMemAddressReserve(address *at, size_t n, size_t align, address wish, uint64_t flags) {
  ENTER;
  int free = range_of(0, 0);
  if (n == 0 || n % UNIT || align || wish || flags || free < 0) return INVALID;
  void *p = mmap(NULL, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return NO_MEMORY;
  *at = ranges[free].at = (address)p, ranges[free].size = n;
  return 0;
}
result cuMemAddressFree(address at, size_t n) {
  ENTER;
  int i = range_of(at, n);
  if (i < 0 || ranges[i].handle) return INVALID;
  ranges[i].at = ranges[i].size = 0;
  return munmap((void *)at, n) ? INVALID : 0;
}
result cuMemMap(address at, size_t n, size_t offset, uint64_t handle, uint64_t flags) {
  ENTER;
  int i = range_of(at, n);
  if (i < 0 || ranges[i].handle || offset || flags || n != handles[handle].size) return INVALID;
  if (mmap((void *)at, n, PROT_NONE, MAP_SHARED | MAP_FIXED, handles[handle].fd, 0) == MAP_FAILED) return INVALID;
  handles[handle].refs++, ranges[i].handle = handle;
  return keep(at, n, SHARED);
}
result cuMemUnmap(address at, size_t n) {
  ENTER;
  int i = range_of(at, n);
  if (i < 0 || !ranges[i].handle) return INVALID;
  drop(at, SHARED);
  let_go(ranges[i].handle), ranges[i].handle = 0;
  return mprotect((void *)at, n, PROT_NONE) ? INVALID : 0;
}
result cuMemSetAccess(address at, size_t n, const access_to *to, size_t count) {
  ENTER;
  int i = range_of(at, n);
  if (i < 0 || !ranges[i].handle || count != 1 || to->where != 1 || (to->flags != 1 && to->flags != 3)) return INVALID;
  return mprotect((void *)at, n, to->flags == 3 ? PROT_READ | PROT_WRITE : PROT_READ) ? INVALID : 0;
}

// ---- streams ----

static stream *at(stream *s) { return s ? s : &null_stream; }
static void run(stream *s, event *until);
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6 + slower;
}
static void free_to_pool(address at) {
  for (int i = 0; i < BLOCKS; i++)
    if (blocks[i].at == at && !blocks[i].pinned) kept[blocks[i].device] += blocks[i].size;
  fails(give(at));
}
static void perform(op *o) {
  switch (o->kind) {
  case COPY: memcpy(o->to, o->from, o->n); break;
  case RECORD: o->event->done = 1, o->event->at = now(); break;
  case WAIT: if (!o->event->done) for (stream *s = streams; s && !o->event->done; s = s->next) run(s, o->event); break;
  case FREE: free_to_pool((address)o->to); break;
  case WORK:
    slower += o->ms;
    if (!sticky) fails(o->work(o->payload));
    break;
  case LAUNCH:
    launches++;
    if (!set.cold || launches <= set.cold) slower += set.cost;
    memcpy(last_cells, o->cells, sizeof last_cells);
    if (o->function->fills) memset((void *)o->cells[0], (int)o->cells[1], o->cells[2]);
    if (set.failing && launches >= set.failing) fails(ILLEGAL_ADDRESS);
    const char *fault = o->function->kernel && !sticky ? emulate(o->function->kernel, o->grid, o->block, o->shared, o->cells) : NULL;
    if (fault) fprintf(stderr, "kernel %s: %s\n", o->function->kernel, fault), fails(LAUNCH_FAILED);
  }
}
static int awaits(stream *s, event *e) {
  pthread_mutex_lock(&lock);
  op *o = s->first;
  while (o && !(o->kind == RECORD && o->event == e)) o = o->next;
  pthread_mutex_unlock(&lock);
  return o != NULL;
}
static op *next(stream *s) {
  pthread_mutex_lock(&lock);
  op *o = s->first;
  if (o) s->first = o->next;
  pthread_mutex_unlock(&lock);
  return o;
}
static void run(stream *s, event *until) {
  if (until && !awaits(s, until)) return;
  pthread_mutex_lock(&device);
  for (op *o; !(until && until->done) && (o = next(s)); free(o)) perform(o);
  pthread_mutex_unlock(&device);
}
static void append(op **list, const op *o) {
  while (*list) list = &(*list)->next;
  *list = malloc(sizeof **list);
  **list = *o;
  (*list)->next = NULL;
}
static result put(stream *s, op o) {
  if (at(s)->broken) return CAPTURE_INVALIDATED;
  if (set.launch && o.kind == LAUNCH) return fails(set.launch);
  pthread_mutex_lock(&lock);
  append(at(s)->capture ? &at(s)->capture->first : &at(s)->first, &o);
  pthread_mutex_unlock(&lock);
  return 0;
}
result cuStreamCreate(stream **s, unsigned flags) {
  IN_CONTEXT;
  (void)flags;
  *s = calloc(1, sizeof **s);
  pthread_mutex_lock(&lock);
  (*s)->next = streams;
  streams = *s;
  pthread_mutex_unlock(&lock);
  return 0;
}
result cuStreamDestroy_v2(stream *s) {
  IN_CONTEXT;
  pthread_mutex_lock(&device);
  result r = INVALID;
  for (stream **p = &streams; *p; p = &(*p)->next)
    if (*p == s) { *p = s->next; run(s, NULL); free(s); r = 0; break; }
  pthread_mutex_unlock(&device);
  return r;
}
result cuStreamSynchronize(stream *s) { WAITS(s); run(at(s), NULL); return sticky; }
result cuStreamQuery(stream *s) {
  WAITS(s);
  op *o = next(at(s));
  if (!o) return 0;
  perform(o);
  free(o);
  return NOT_READY;
}
static long waits; // of streams for each other
long fake_waits(void) { return waits; }
result cuStreamWaitEvent(stream *s, event *e, unsigned flags) { IN_CONTEXT; (void)flags; __atomic_add_fetch(&waits, 1, __ATOMIC_RELAXED); return put(s, (op){.kind = WAIT, .event = e}); }
result cuCtxSynchronize(void) { UNSAFE; for (stream *s = streams; s; s = s->next) run(s, NULL); return sticky; }
result cuEventCreate(event **e, unsigned flags) { IN_CONTEXT; *e = calloc(1, sizeof **e); (*e)->done = 1, (*e)->untimed = flags >> 1 & 1; return flags & ~3u ? INVALID : 0; }
result cuEventDestroy_v2(event *e) { IN_CONTEXT; free(e); return 0; }
result cuEventRecord(event *e, stream *s) { IN_CONTEXT; e->done = 0, e->recorded = 1, e->captured = at(s)->capture != NULL; return put(s, (op){.kind = RECORD, .event = e}); }
result cuEventQuery(event *e) { UNSAFE; return e->captured ? CAPTURED_EVENT : e->done ? 0 : NOT_READY; }
result cuEventElapsedTime(float *ms, event *from, event *to) {
  IN_CONTEXT;
  if (from->untimed || to->untimed || !from->recorded || !to->recorded) return INVALID_HANDLE;
  *ms = to->at - from->at;
  return from->done && to->done ? 0 : NOT_READY;
}
result cuEventSynchronize(event *e) {
  UNSAFE;
  if (e->captured) return CAPTURED_EVENT;
  pthread_mutex_lock(&device);
  perform(&(op){.kind = WAIT, .event = e});
  pthread_mutex_unlock(&device);
  return sticky;
}

// What other libraries put on streams: work on a copy of a payload, which takes so long on the device.
result fake_put(stream *s, result (*work)(const void *), double ms, const void *payload, size_t n) {
  IN_CONTEXT;
  op o = {.kind = WORK, .work = work, .ms = ms};
  if (n > PAYLOAD) return INVALID;
  memcpy(o.payload, payload, n);
  return put(s, o);
}
int fake_captures(stream *s) { return at(s)->capture != NULL; }
int fake_inside(address at, size_t n) { return inside(at, n); }

static result copy(void *to, const void *from, size_t n, address device, stream *s) {
  if (!inside(device, n)) return fails(ILLEGAL_ADDRESS);
  return put(s, (op){.kind = COPY, .to = to, .from = (void *)from, .n = n});
}
result cuMemcpyHtoDAsync_v2(address to, const void *from, size_t n, stream *s) { IN_CONTEXT; return copy((void *)to, from, n, to, s); }
static int of_driver(address at) { // memory from cuMemHostAlloc
  for (int i = 0; i < BLOCKS; i++)
    if (blocks[i].pinned == 2 && at >= blocks[i].at && at < blocks[i].at + blocks[i].size) return 1;
  return 0;
}
static long aside; // bytes copied to such memory
long fake_aside(void) { return aside; }
result cuMemcpyDtoHAsync_v2(void *to, address from, size_t n, stream *s) {
  IN_CONTEXT;
  if (of_driver((address)to)) {
    if (set.direct) return NOT_PERMITTED;
    aside += n;
  }
  return copy(to, (void *)from, n, from, s);
}
result cuMemcpyHtoD_v2(address to, const void *from, size_t n) { UNSAFE; result r = cuMemcpyHtoDAsync_v2(to, from, n, NULL); run(&null_stream, NULL); return r; }
result cuMemcpyDtoH_v2(void *to, address from, size_t n) { UNSAFE; result r = cuMemcpyDtoHAsync_v2(to, from, n, NULL); run(&null_stream, NULL); return r; }

// ---- pools ----

result cuDeviceGetDefaultMemPool(long **pool, int dev) { ENTER; *pool = &kept[dev]; return dev >= set.devices ? BAD_DEVICE : 0; }
result cuMemPoolTrimTo(long *pool, size_t n) { ENTER; *pool = n; return 0; }
long fake_kept(int dev) { return kept[dev]; }
// What a stream that is captured takes is the graph's, which nothing here asks for.
result cuMemAllocAsync(address *at, size_t n, stream *s) { IN_CONTEXT; return !set.pools ? NOT_SUPPORTED : s && s->capture ? INVALID : take(at, n); }
result cuMemFreeAsync(address at, stream *s) { IN_CONTEXT; return !set.pools ? NOT_SUPPORTED : s && s->capture ? INVALID : put(s, (op){.kind = FREE, .to = (char *)at}); }

// ---- launches and graphs ----

result cuModuleLoadData(char **module, const void *image) { UNSAFE; (void)image; *module = calloc(1, 1), modules++; return 0; }
result cuModuleUnload(char *module) { UNSAFE; free(module), modules--; return 0; }
// Functions are "fill", of an address, a byte and a length, and "args<n>", which do nothing. They are brought to the device here.
result cuModuleGetFunction(function **f, char *module, const char *name) {
  UNSAFE;
  (void)module;
  int cells = strcmp(name, "fill") == 0 ? 3 : strncmp(name, "args", 4) == 0 ? atoi(name + 4) : -1;
  const char *kernel = NULL;
  for (int i = 0; emulate && (kernel = emulated_kernel(i)) && strcmp(kernel, name); i++) {}
  if (kernel) cells = CELLS; // the tests' launches have so many
  if (cells < 0 || cells > CELLS) return NOT_FOUND;
  *f = calloc(1, sizeof **f);
  (*f)->shared = 48 << 10, (*f)->cells = cells, (*f)->fills = strcmp(name, "fill") == 0, (*f)->kernel = kernel;
  return 0;
}
result cuFuncSetAttribute(function *f, int attribute, int value) {
  IN_CONTEXT;
  if (attribute != 8 || value < 0 || value > 227 << 10) return INVALID;
  f->shared = value;
  return 0;
}
result cuLaunchKernel(function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, stream *s, void **params, void **extra) {
  IN_CONTEXT;
  if (!gx || !gy || !gz || gx > 0x7fffffff || gy > 65535 || gz > 65535 || !bx || !by || !bz || bx * by * bz > 1024 || bz > 64) return INVALID;
  if ((int)shared > f->shared || extra) return INVALID;
  op o = {.kind = LAUNCH, .function = f, .grid = {gx, gy, gz}, .block = {bx, by, bz}, .shared = shared};
  for (int i = 0; i < f->cells; i++) memcpy(&o.cells[i], params[i], 8);
  return put(s, o);
}
result cuStreamBeginCapture_v2(stream *s, int mode) {
  IN_CONTEXT;
  if (!s || s->capture || mode != 1 || capturing) return INVALID; // of one thread, one at a time: all that is needed
  s->capture = calloc(1, sizeof(graph)), s->by = pthread_self(), capturing = s;
  return 0;
}
static graph *duplicate(const graph *g) {
  graph *d = calloc(1, sizeof *d);
  for (op *o = g->first; o; o = o->next) append(&d->first, o);
  return d;
}
static void clear(graph *g) { while (g->first) { op *o = g->first; g->first = o->next; free(o); } }
// What is captured after the capture has been broken is no graph.
result cuStreamEndCapture(stream *s, graph **g) {
  IN_CONTEXT;
  if (!s || !s->capture) return UNMATCHED;
  if (!pthread_equal(s->by, pthread_self())) return WRONG_THREAD;
  graph *made = s->capture;
  int broken = s->broken;
  s->capture = NULL, capturing = NULL, s->broken = 0;
  if (broken) clear(made), free(made);
  *g = broken ? NULL : made;
  return broken ? CAPTURE_INVALIDATED : 0;
}
result cuGraphInstantiateWithFlags(graph **exec, graph *g, uint64_t flags) { IN_CONTEXT; if (!g) return INVALID; *exec = duplicate(g); return flags ? INVALID : 0; }
result cuGraphLaunch(graph *exec, stream *s) {
  IN_CONTEXT;
  result r = 0;
  for (op *o = exec->first; o && !r; o = o->next) r = put(s, *o);
  return r;
}
result cuGraphExecDestroy(graph *g) { IN_CONTEXT; clear(g); free(g); return 0; }
result cuGraphDestroy(graph *g) { IN_CONTEXT; clear(g); free(g); return 0; }
