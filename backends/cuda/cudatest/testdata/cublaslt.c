// A cuBLASLt without a device, for tests: libcublasLt.so.13 with the functions that are called, in the forms of
// cublasLt.h of CUDA 13.0.
//
// It takes descriptors for what has been set, refuses attributes of another size than the header gives, and puts products on
// the streams of the driver that pretends, to be computed on the processor when somebody waits. FAKE_CUBLASLT in the
// environment holds settings such as "create=1 heuristic=15 matmul=15 capture=15 after=5 failing=5 wrong=1 cost=2":
// cudatest.go says what they mean.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int status;
typedef struct stream stream;

enum { NOT_INITIALIZED = 1, INVALID_VALUE = 7, EXECUTION_FAILED = 13, INTERNAL_ERROR = 14, NOT_SUPPORTED = 15 };
enum { F32 = 0, F16 = 2, I8 = 3, I32 = 10, BF16 = 14 };                       // cudaDataType
enum { COMPUTE_32F = 68, COMPUTE_32I = 72, COMPUTE_32F_FAST_TF32 = 77 };      // cublasComputeType_t
enum { DEFAULT = 1, RELU = 2, BIAS = 4, GELU = 32 };                          // cublasLtEpilogue_t
enum { ILLEGAL_ADDRESS = 700, MISALIGNED = 716, LAUNCH_FAILED = 719 };        // CUresult
enum { ALGORITHMS = 2, WORKSPACE = 4096 };

static struct { long create, heuristic, matmul, capture, after, failing, wrong, cost; } set;
static int (*put)(stream *, int (*)(const void *), double, const void *, size_t);
static int (*captures)(stream *);
static int (*inside)(uint64_t, size_t);
static int (*capturing)(void);
static long products[ALGORITHMS], captured, performed, tf32;

__attribute__((constructor)) static void start(void) {
  struct { const char *name; long *value; } keys[] = {{"create", &set.create}, {"heuristic", &set.heuristic}, {"matmul", &set.matmul}, {"capture", &set.capture}, {"after", &set.after}, {"failing", &set.failing}, {"wrong", &set.wrong}, {"cost", &set.cost}};
  const char *text = getenv("FAKE_CUBLASLT");
  for (unsigned i = 0; text && i < sizeof keys / sizeof *keys; i++) {
    const char *at = strstr(text, keys[i].name);
    if (at && at[strlen(keys[i].name)] == '=') *keys[i].value = atol(at + strlen(keys[i].name) + 1);
  }
  Dl_info self; // the driver is the one beside this library
  char path[4096];
  if (!dladdr((void *)start, &self)) return;
  snprintf(path, sizeof path, "%.*slibcuda.so.1", (int)(strrchr(self.dli_fname, '/') + 1 - self.dli_fname), self.dli_fname);
  void *driver = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
  if (!driver) return;
  *(void **)&put = dlsym(driver, "fake_put");
  *(void **)&captures = dlsym(driver, "fake_captures");
  *(void **)&inside = dlsym(driver, "fake_inside");
  *(void **)&capturing = dlsym(driver, "fake_capturing");
}

// How many products have been put on streams by an algorithm, and how many of them with TF32.
long fake_products(int algorithm) { return products[algorithm]; }
long fake_tf32(void) { return tf32; }

size_t cublasLtGetVersion(void) { return 130002; }
const char *cublasLtGetStatusName(status s) { return s == 1 ? "CUBLAS_STATUS_NOT_INITIALIZED" : s == 3 ? "CUBLAS_STATUS_ALLOC_FAILED" : s == 7 ? "CUBLAS_STATUS_INVALID_VALUE" : s == 13 ? "CUBLAS_STATUS_EXECUTION_FAILED" : s == 15 ? "CUBLAS_STATUS_NOT_SUPPORTED" : "unrecognized status"; }
const char *cublasLtGetStatusString(status s) { return s == 15 ? "the requested functionality is not supported" : "the library says no more"; }
status cublasLtCreate(int **handle) {
  if (set.create) return set.create;
  if (!put) return NOT_INITIALIZED;
  *handle = malloc(sizeof **handle);
  return 0;
}
status cublasLtDestroy(int *handle) { free(handle); return 0; }

// ---- descriptors ----

typedef struct layout { uint32_t type; int32_t order; uint64_t rows, columns; int64_t ld; int32_t count; int64_t stride; } layout;
typedef struct desc { int32_t compute, scale, mode, ta, tb; uint32_t epilogue; uint64_t bias; int32_t bias_type; } desc;
typedef struct preference { uint32_t search; uint64_t workspace; uint32_t alignment[4]; } preference;

typedef struct field { int attribute; void *at; size_t size; } field;
static status assign(const field *fields, int n, int attribute, const void *from, size_t size) {
  for (int i = 0; i < n; i++)
    if (fields[i].attribute == attribute) return from && fields[i].size == size ? (memcpy(fields[i].at, from, size), 0) : INVALID_VALUE;
  return NOT_SUPPORTED;
}
static status give(const field *fields, int n, int attribute, void *to, size_t size, size_t *written) {
  for (int i = 0; i < n; i++)
    if (fields[i].attribute == attribute) return to && fields[i].size == size ? (memcpy(to, fields[i].at, *written = size), 0) : INVALID_VALUE;
  return NOT_SUPPORTED;
}
#define FIELD(attribute, member) {attribute, &of->member, sizeof of->member}
#define DESCRIPTOR(name, type, ...) \
  status cublasLt##name##SetAttribute(type *of, int attribute, const void *from, size_t size) { const field f[] = {__VA_ARGS__}; return assign(f, sizeof f / sizeof *f, attribute, from, size); } \
  status cublasLt##name##GetAttribute(type *of, int attribute, void *to, size_t size, size_t *written) { const field f[] = {__VA_ARGS__}; return give(f, sizeof f / sizeof *f, attribute, to, size, written); } \
  status cublasLt##name##Destroy(type *of) { free(of); return 0; }
DESCRIPTOR(MatrixLayout, layout, FIELD(0, type), FIELD(1, order), FIELD(2, rows), FIELD(3, columns), FIELD(4, ld), FIELD(5, count), FIELD(6, stride))
DESCRIPTOR(MatmulDesc, desc, FIELD(0, compute), FIELD(1, scale), FIELD(2, mode), FIELD(3, ta), FIELD(4, tb), FIELD(7, epilogue), FIELD(8, bias), FIELD(26, bias_type))
DESCRIPTOR(MatmulPreference, preference, FIELD(0, search), FIELD(1, workspace), FIELD(5, alignment[0]), FIELD(6, alignment[1]), FIELD(7, alignment[2]), FIELD(8, alignment[3]))

status cublasLtMatrixLayoutCreate(layout **l, int type, uint64_t rows, uint64_t columns, int64_t ld) {
  *l = malloc(sizeof **l);
  **l = (layout){.type = type, .rows = rows, .columns = columns, .ld = ld, .count = 1};
  return 0;
}
status cublasLtMatmulDescCreate(desc **d, int compute, int scale) {
  *d = malloc(sizeof **d);
  **d = (desc){.compute = compute, .scale = scale, .epilogue = DEFAULT, .bias_type = -1};
  return 0;
}
status cublasLtMatmulPreferenceCreate(preference **p) {
  *p = malloc(sizeof **p);
  **p = (preference){.alignment = {256, 256, 256, 256}};
  return 0;
}

// ---- algorithms ----

typedef struct algorithm { uint64_t number, m, n, k, alignment[4]; } algorithm;
typedef struct result { algorithm algo; size_t workspace; status state; float waves; int reserved[4]; } result;
_Static_assert(sizeof(algorithm) == 64 && sizeof(result) == 96, "the sizes of cublasLtMatmulAlgo_t and cublasLtMatmulHeuristicResult_t");

static uint64_t depth(const desc *d, const layout *a) { return d->ta ? a->rows : a->columns; }

// Says what is wrong with a product's description: 0 for nothing.
static status check(const desc *d, const layout *a, const layout *b, const layout *c, const layout *o) {
  uint64_t k = depth(d, a), m = d->ta ? a->columns : a->rows, n = d->tb ? b->rows : b->columns;
  if ((d->tb ? b->columns : b->rows) != k || o->rows != m || o->columns != n || c->rows != m || c->columns != n) return INVALID_VALUE;
  if (a->count != o->count || b->count != o->count || c->count != o->count || a->type != b->type || c->type != o->type) return INVALID_VALUE;
  const layout *all[] = {a, b, c, o};
  for (int i = 0; i < 4; i++)
    if (all[i]->order || all[i]->ld < (int64_t)all[i]->rows) return INVALID_VALUE;
  if ((d->epilogue & BIAS) && !d->bias) return INVALID_VALUE;
  if (a->type == I8) return d->compute == COMPUTE_32I && d->scale == I32 && o->type == I32 && d->epilogue == DEFAULT && d->ta && !d->tb && m % 4 == 0 && k % 4 == 0 ? 0 : NOT_SUPPORTED;
  if (d->compute != COMPUTE_32F && !(d->compute == COMPUTE_32F_FAST_TF32 && a->type == F32)) return NOT_SUPPORTED;
  return d->scale == F32 && o->type == a->type && (a->type == F32 || a->type == F16 || a->type == BF16) ? 0 : NOT_SUPPORTED;
}

// The algorithms are a slow one, a fast one that needs workspace, and one that is not for this device. The library of CUDA 13.3
// finds none in a thread that captures a stream.
status cublasLtMatmulAlgoGetHeuristic(int *handle, desc *d, layout *a, layout *b, layout *c, layout *o, preference *p, int most, result *found, int *n) {
  (void)handle;
  *n = 0;
  if (set.heuristic) return set.heuristic;
  if (capturing()) return INTERNAL_ERROR;
  status s = check(d, a, b, c, o);
  if (s) return s;
  for (int i = 0; i < 3 && *n < most; i++) {
    result r = {.algo = {.number = i, .m = o->rows, .n = o->columns, .k = depth(d, a)}, .workspace = i == 1 ? WORKSPACE : 0, .state = i == 2 ? NOT_SUPPORTED : 0};
    for (int k = 0; k < 4; k++) r.algo.alignment[k] = p->alignment[k];
    if (r.workspace <= p->workspace) found[(*n)++] = r;
  }
  return *n ? 0 : NOT_SUPPORTED;
}

// ---- products ----

typedef struct product { desc d; layout a, b, o; algorithm algo; float alpha, beta; const char *at, *bt, *ct; char *ot, *workspace; } product;

static float from_bits(uint32_t bits) { float v; memcpy(&v, &bits, 4); return v; }
static uint32_t to_bits(float v) { uint32_t bits; memcpy(&bits, &v, 4); return bits; }
static int size(int type) { return type == I8 ? 1 : type == F16 || type == BF16 ? 2 : 4; }
static double load(int type, const char *from, int64_t i) {
  switch (type) {
  case I8: return ((const int8_t *)from)[i];
  case I32: return ((const int32_t *)from)[i];
  case F16: return (double)((const _Float16 *)from)[i];
  case BF16: return from_bits((uint32_t)((const uint16_t *)from)[i] << 16);
  }
  return ((const float *)from)[i];
}
static void store(int type, char *to, int64_t i, double v) {
  uint32_t bits = to_bits((float)v);
  switch (type) {
  case I32: ((int32_t *)to)[i] = (int32_t)v; return;
  case F16: ((_Float16 *)to)[i] = (_Float16)v; return;
  case BF16: ((uint16_t *)to)[i] = v != v ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16; return;
  }
  ((float *)to)[i] = (float)v;
}
static double operand(const product *p, const layout *l, const char *from, int64_t i) {
  double v = load(l->type, from, i);
  return p->d.compute == COMPUTE_32F_FAST_TF32 ? from_bits((to_bits((float)v) + 0x1000) & ~0x1fffu) : v;
}
static double activated(uint32_t epilogue, double v) {
  if (epilogue & GELU) return 0.5 * v * (1 + tanh(0.7978845608028654 * (v + 0.044715 * v * v * v)));
  return epilogue & RELU ? (v > 0 ? v : 0) : v;
}
static size_t span(const layout *l) { return ((l->count - 1) * l->stride + (l->columns - 1) * l->ld + l->rows) * size(l->type); }

static int compute(const void *payload) {
  const product *p = payload;
  if (set.failing && ++performed >= set.failing) return LAUNCH_FAILED;
  const char *addresses[] = {p->at, p->bt, p->ct, p->ot};
  const layout *layouts[] = {&p->a, &p->b, &p->o, &p->o};
  for (int i = 0; i < 4; i++) {
    if (!inside((uint64_t)addresses[i], span(layouts[i]))) return fprintf(stderr, "operand %d lies outside\n", i), ILLEGAL_ADDRESS;
    if ((uint64_t)addresses[i] % p->algo.alignment[i]) return fprintf(stderr, "operand %d is not aligned as was said\n", i), MISALIGNED;
  }
  if (p->algo.number == 1) {
    if (!inside((uint64_t)p->workspace, WORKSPACE) || (uint64_t)p->workspace % 256) return fprintf(stderr, "the workspace lies outside\n"), ILLEGAL_ADDRESS;
    memset(p->workspace, 0x5a, WORKSPACE);
  }
  if ((p->d.epilogue & BIAS) && !inside(p->d.bias, p->o.rows * size(p->o.type))) return fprintf(stderr, "the bias lies outside\n"), ILLEGAL_ADDRESS;
  int64_t m = p->o.rows, n = p->o.columns, k = depth(&p->d, &p->a);
  for (int64_t at = 0; at < m * n * p->o.count; at++) {
    int64_t which = at / (m * n), row = at % m, column = at / m % n;
    double sum = 0;
    for (int64_t i = 0; i < k; i++) {
      int64_t ia = which * p->a.stride + (p->d.ta ? row * p->a.ld + i : i * p->a.ld + row);
      int64_t ib = which * p->b.stride + (p->d.tb ? i * p->b.ld + column : column * p->b.ld + i);
      sum += operand(p, &p->a, p->at, ia) * operand(p, &p->b, p->bt, ib);
    }
    int64_t to = which * p->o.stride + column * p->o.ld + row;
    sum *= p->alpha;
    if (p->beta != 0) sum += p->beta * load(p->o.type, p->ct, to);
    if (p->d.epilogue & BIAS) sum += load(p->o.type, (const char *)p->d.bias, row);
    if (set.wrong && p->algo.number == 1) sum += 1;
    store(p->o.type, p->ot, to, activated(p->d.epilogue, sum));
  }
  return 0;
}

status cublasLtMatmul(int *handle, desc *d, const void *alpha, const char *at, layout *a, const char *bt, layout *b, const void *beta, const char *ct, layout *c, char *ot, layout *o, const algorithm *algo, char *workspace, size_t bytes, stream *s) {
  (void)handle;
  if (set.matmul) return set.matmul;
  if (set.capture && captures(s) && ++captured > set.after) return set.capture;
  status bad = check(d, a, b, c, o);
  if (bad) return bad;
  // Products of bytes have numbers that scale nothing, and rows and addresses of multiples of four bytes.
  if (a->type == I8) {
    const int32_t *one = alpha, *zero = beta;
    if (*one != 1 || *zero != 0 || a->ld % 4 || b->ld % 4 || o->ld % 4 || (uint64_t)at % 4 || (uint64_t)bt % 4 || (uint64_t)ot % 4) return NOT_SUPPORTED;
  }
  if (algo->number >= ALGORITHMS || algo->m != o->rows || algo->n != o->columns || algo->k != depth(d, a) || (algo->number == 1 && bytes < WORKSPACE)) return INVALID_VALUE;
  product p = {.d = *d, .a = *a, .b = *b, .o = *o, .algo = *algo, .at = at, .bt = bt, .ct = ct, .ot = ot, .workspace = workspace};
  if (d->scale == I32) p.alpha = *(const int32_t *)alpha, p.beta = *(const int32_t *)beta;
  else p.alpha = *(const float *)alpha, p.beta = *(const float *)beta;
  products[algo->number]++;
  tf32 += d->compute == COMPUTE_32F_FAST_TF32;
  return put(s, compute, algo->number == 1 ? set.cost : set.cost * 3, &p, sizeof p) ? EXECUTION_FAILED : 0;
}
