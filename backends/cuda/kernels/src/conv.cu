// Convolutions of images with their channels last.
#include "epilogue.h"
#include "product.h"
#include "requantized.h"

#define SLIDING_CELLS \
  const void *x, const void *w, void *out, i64 images, i64 height, i64 width, i64 channels, i64 p, i64 q, i64 outs, i64 groups, \
      i64 s0, i64 s1, i64 t0, i64 t1, i64 p0, i64 p1, i64 d0, i64 d1
#define SLIDING_ARGS x, w, out, images, height, width, channels, p, q, outs, groups, s0, s1, t0, t1, p0, p1, d0, d1
#define CONV_CELLS SLIDING_CELLS, EPILOGUE_CELLS, void *parts, i64 shares
#define CONV_ARGS SLIDING_ARGS, EPILOGUE_ARGS, parts, shares
#define CONV8_CELLS SLIDING_CELLS, i64 pad, REQUANTIZED_CELLS, void *parts, i64 shares
#define CONV8_ARGS SLIDING_ARGS, pad, REQUANTIZED_ARGS, parts, shares
#define GEOMETRY \
  { (int)height, (int)width, (int)channels, (int)p, (int)q, {(int)s0, (int)s1}, {(int)t0, (int)t1}, {(int)p0, (int)p1}, {(int)d0, (int)d1} }

// The product of what windows see with the weights; groups one beside the other. The sums go to what
// `epilogue` makes of the first column of a group.
template <class T, class P, int R, class F> DEVICE void conv(char *memory, SLIDING_CELLS, T pad, void *parts, i64 shares, F epilogue) {
  Geometry g = GEOMETRY;
  int row = blockIdx.x * R, column = blockIdx.y * R, share = blockIdx.z % (u32)shares, group = blockIdx.z / (u32)shares;
  int in = (int)(channels / groups), columns = (int)(outs / groups), rows = (int)(images * p * q), depth = (int)(s0 * s1) * in;
  Windows<T> left((const T *)x + (i64)group * in, g, rows, in, pad);
  Rows<typename P::B> right((const typename P::B *)w + (i64)group * columns * depth, depth, columns, depth);
  P product;
  product.run(memory, left, right, Share(depth, P::Depth, (int)shares, share), row, column);
  if (shares > 1)
    product.finish(memory, Partial<typename P::C>(parts, share * groups + group, rows, columns), row, column, rows, columns);
  else
    product.finish(memory, epilogue((i64)group * columns), row, column, rows, columns);
}
#define CONV_OF(P, T, E, R) \
  SHARED(char, memory, P::Memory); \
  conv<T, P, R>(memory, SLIDING_ARGS, zero<T>(), parts, shares, [&](i64 first) { return Epilogue<E>((E *)out, outs, 1, EPILOGUE_ARGS, first, first); });
#define CONV(name, T, E, R, threads, blocks) \
  KERNEL(name, threads, blocks, CONV_CELLS) { \
    typedef Product<T, R, R, threads, true> P; \
    CONV_OF(P, T, E, R) \
  }
CONV(conv_f16_128, half, half, 128, 256, 2)
CONV(conv_bf16_128, brain, brain, 128, 256, 2)
CONV(conv_tf32_128, tf32, float, 128, 256, 2)
CONV(conv_f16_64, half, half, 64, 128, 4)
CONV(conv_bf16_64, brain, brain, 64, 128, 4)
CONV(conv_tf32_64, tf32, float, 64, 128, 4)

KERNEL(conv_f32, 256, 2, CONV_CELLS) { CONV_OF(PlainProduct<true>, float, float, 64) }

#define CONV8(name, T, R, threads, blocks) \
  KERNEL(name, threads, blocks, CONV8_CELLS) { \
    typedef Product<T, R, R, threads, true> P; \
    SHARED(char, memory, P::Memory); \
    conv<T, P, R>(memory, SLIDING_ARGS, (T)pad, parts, shares, [&](i64 first) { return Requantized(out, outs, REQUANTIZED_ARGS, first); }); \
  }
CONV8(conv_i8_128, i8, 128, 256, 2)
CONV8(conv_u8_128, u8, 128, 256, 2)
CONV8(conv_i8_64, i8, 64, 128, 4)
CONV8(conv_u8_64, u8, 64, 128, 4)

// Each channel by itself, four to a thread. Numbers are multiplied as N, and what lies outside is
// `pad`. The sums go to what `epilogue` makes.
template <class T, class W, class N, class F> DEVICE void depthwise(SLIDING_CELLS, N pad, F epilogue) {
  Geometry g = GEOMETRY;
  int quads = (int)((channels + 3) / 4);
  i64 id = (i64)blockIdx.x * blockDim.x + threadIdx.x, row = id / quads;
  if (row >= images * p * q) return;
  int c = (int)(id % quads) * 4, n = (int)channels - c;
  int x0 = (int)(row % q) * g.stride[1] - g.pad[1], y0 = (int)(row / q % p) * g.stride[0] - g.pad[0];
  const T *image = (const T *)x + row / q / p * height * width * channels + c;
  const W *weights = (const W *)w + c;
  bool vector = channels % 4 == 0 && aligned(x, 4 * sizeof(T)) && aligned(w, 4 * sizeof(W));
  float v[4], f[4];
  N sum[4] = {0, 0, 0, 0};
  for (int i = 0; i < g.size[0]; i++) {
    int y = y0 + i * g.dilation[0];
    if (pad == 0 && (y < 0 || y >= g.height)) continue;
    for (int j = 0; j < g.size[1]; j++) {
      int xx = x0 + j * g.dilation[1];
      bool inside = y >= 0 && y < g.height && xx >= 0 && xx < g.width;
      if (pad == 0 && !inside) continue;
      load4(v, image + ((i64)y * g.width + xx) * g.channels, inside ? n : 0, vector);
      load4(f, weights + (i64)(i * g.size[1] + j) * g.channels, n, vector);
#pragma unroll
      for (int k = 0; k < 4; k++) sum[k] += (inside ? (N)v[k] : pad) * (N)f[k];
    }
  }
  epilogue().write((int)row, c, sum, min(n, 4));
}
#define DEPTHWISE(name, T) \
  KERNEL(name, 256, 1, CONV_CELLS) { \
    depthwise<T, T, float>(SLIDING_ARGS, 0, [&]() { return Epilogue<T>((T *)out, outs, 1, EPILOGUE_ARGS, 0, 0); }); \
  }
DEPTHWISE(depthwise_f32, float)
DEPTHWISE(depthwise_f16, half)
DEPTHWISE(depthwise_bf16, brain)
#define DEPTHWISE8(name, T) \
  KERNEL(name, 256, 1, CONV8_CELLS) { \
    depthwise<T, i8, int>(SLIDING_ARGS, (int)pad, [&]() { return Requantized(out, outs, REQUANTIZED_ARGS, 0); }); \
  }
DEPTHWISE8(depthwise_i8, i8)
DEPTHWISE8(depthwise_u8, u8)
