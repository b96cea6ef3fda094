// Convolutions of images with their channels last.
#include "epilogue.h"
#include "product.h"

#define CONV_CELLS \
  const void *x, const void *w, void *out, i64 images, i64 height, i64 width, i64 channels, i64 p, i64 q, i64 outs, i64 groups, \
      i64 s0, i64 s1, i64 t0, i64 t1, i64 p0, i64 p1, i64 d0, i64 d1, EPILOGUE_CELLS
#define CONV_ARGS x, w, out, images, height, width, channels, p, q, outs, groups, s0, s1, t0, t1, p0, p1, d0, d1, EPILOGUE_ARGS
#define GEOMETRY \
  { (int)height, (int)width, (int)channels, (int)p, (int)q, {(int)s0, (int)s1}, {(int)t0, (int)t1}, {(int)p0, (int)p1}, {(int)d0, (int)d1} }

// The product of what windows see with the weights; groups one beside the other.
template <class T, class E, class P, int R, int C> DEVICE void conv(char *memory, CONV_CELLS) {
  Geometry g = GEOMETRY;
  int row = blockIdx.x * R, column = blockIdx.y * C, group = blockIdx.z;
  int in = (int)(channels / groups), columns = (int)(outs / groups), rows = (int)(images * p * q), depth = (int)(s0 * s1) * in;
  Windows<T> left((const T *)x + (i64)group * in, g, rows, in);
  Rows<T> right((const T *)w + (i64)group * columns * depth, depth, columns, depth);
  P product;
  product.run(memory, left, right, depth, row, column);
  i64 first = (i64)group * columns;
  product.finish(memory, Epilogue<E>((E *)out, outs, 1, EPILOGUE_ARGS, first, first), row, column, rows, columns);
}
#define CONV(name, T, E, R, threads, blocks) \
  KERNEL(name, threads, blocks, CONV_CELLS) { \
    typedef Product<T, R, R, threads, true> P; \
    SHARED(char, memory, P::Memory); \
    conv<T, E, P, R, R>(memory, CONV_ARGS); \
  }
CONV(conv_f16_128, half, half, 128, 256, 2)
CONV(conv_bf16_128, brain, brain, 128, 256, 2)
CONV(conv_tf32_128, tf32, float, 128, 256, 2)
CONV(conv_f16_64, half, half, 64, 128, 4)
CONV(conv_bf16_64, brain, brain, 64, 128, 4)
CONV(conv_tf32_64, tf32, float, 64, 128, 4)

KERNEL(conv_f32, 256, 2, CONV_CELLS) {
  SHARED(char, memory, PlainProduct<true>::Memory);
  conv<float, float, PlainProduct<true>, 64, 64>(memory, CONV_ARGS);
}

// Each channel by itself, four to a thread.
template <class T> DEVICE void depthwise(CONV_CELLS) {
  Geometry g = GEOMETRY;
  int quads = (int)((channels + 3) / 4);
  i64 id = (i64)blockIdx.x * blockDim.x + threadIdx.x, row = id / quads;
  if (row >= images * p * q) return;
  int c = (int)(id % quads) * 4, n = (int)channels - c;
  int x0 = (int)(row % q) * g.stride[1] - g.pad[1], y0 = (int)(row / q % p) * g.stride[0] - g.pad[0];
  const T *image = (const T *)x + row / q / p * height * width * channels + c, *weights = (const T *)w + c;
  bool vector = channels % 4 == 0 && aligned(x, 4 * sizeof(T)) && aligned(w, 4 * sizeof(T));
  float sum[4] = {0, 0, 0, 0}, v[4], f[4];
  for (int i = 0; i < g.size[0]; i++) {
    int y = y0 + i * g.dilation[0];
    if (y < 0 || y >= g.height) continue;
    for (int j = 0; j < g.size[1]; j++) {
      int xx = x0 + j * g.dilation[1];
      if (xx < 0 || xx >= g.width) continue;
      load4(v, image + ((i64)y * g.width + xx) * g.channels, n, vector);
      load4(f, weights + (i64)(i * g.size[1] + j) * g.channels, n, vector);
#pragma unroll
      for (int k = 0; k < 4; k++) sum[k] += v[k] * f[k];
    }
  }
  Epilogue<T>((T *)out, outs, 1, EPILOGUE_ARGS, 0, 0).write((int)row, c, sum, n);
}
#define DEPTHWISE(name, T) KERNEL(name, 256, 1, CONV_CELLS) { depthwise<T>(CONV_ARGS); }
DEPTHWISE(depthwise_f32, float)
DEPTHWISE(depthwise_f16, half)
DEPTHWISE(depthwise_bf16, brain)
