// Forests.
#include "functions.h"

enum Aggregate { AGGREGATE_SUM, AGGREGATE_AVERAGE, AGGREGATE_MIN, AGGREGATE_MAX };
enum Comparison { LEQ, LT, GTE, GT, EQ, NEQ };

// Mode is in bits 28 to 30 of head, above the feature, and bit 31 says that NaN goes to yes.
struct alignas(16) Node { u32 head; float limit; int yes, no; };

DEVICE bool compare(int mode, float x, float limit) {
  switch (mode) {
  case LEQ: return x <= limit;
  case LT: return x < limit;
  case GTE: return x >= limit;
  case GT: return x > limit;
  case EQ: return x == limit;
  }
  return x != limit;
}

// A score with another weight, for which the first replaces an infinity.
DEVICE float gathered(int aggregate, float s, float v) {
  switch (aggregate) {
  case AGGREGATE_MIN: return smaller(s, v);
  case AGGREGATE_MAX: return larger(s, v);
  }
  return s == -INFINITY ? v : s + v;
}

// Threads of a block take `abreast` rows, and for each of those every so manieth tree; each counts
// what its leaves hold by itself, and then the counts of a row are joined in order.
KERNEL(trees, 256, 1, const void *nodes_, const void *roots_, const void *ends_, const void *targets_, const void *values_, const void *x_, void *y_,
       i64 aggregate, i64 rows, i64 features, i64 count, i64 targets, i64 abreast, double absent) {
  DYNAMIC_SHARED(float, scores); // [targets, threads]
  const Node *nodes = (const Node *)nodes_;
  const int *roots = (const int *)roots_, *ends = (const int *)ends_, *ids = (const int *)targets_;
  const float *values = (const float *)values_;
  int t = threadIdx.x, threads = blockDim.x, lanes = threads / (int)abreast;
  i64 row = blockIdx.x * abreast + t % abreast;
  float none = aggregate == AGGREGATE_MIN ? INFINITY : -INFINITY; // a score that no weight has reached
  for (int k = 0; k < targets; k++) scores[k * threads + t] = none;
  if (row < rows) {
    const float *x = (const float *)x_ + row * features;
    for (i64 i = t / abreast; i < count; i += lanes) {
      int at = roots[i];
      while (at >= 0) {
        Node n = nodes[at];
        float v = x[n.head & 0xfffffff];
        bool yes = compare(n.head >> 28 & 7, v, n.limit) || (v != v && n.head >> 31);
        at = yes ? n.yes : n.no;
      }
      int leaf = ~at;
      for (int w = leaf > 0 ? ends[leaf - 1] : 0; w < ends[leaf]; w++) {
        float *s = scores + ids[w] * threads + t;
        *s = gathered((int)aggregate, *s, values[w]);
      }
    }
  }
  __syncthreads();
  for (int i = t; i < abreast * targets; i += threads) {
    int target = i % (int)targets, r = i / (int)targets;
    if (blockIdx.x * abreast + r >= rows) break;
    float s = none;
    for (int k = 0; k < lanes; k++) {
      float v = scores[target * threads + k * (int)abreast + r];
      if (v != none) s = gathered((int)aggregate, s, v);
    }
    if (s == none)
      s = (float)absent;
    else if (aggregate == AGGREGATE_AVERAGE)
      s /= (float)count;
    ((float *)y_)[(blockIdx.x * abreast + r) * targets + target] = s;
  }
}
