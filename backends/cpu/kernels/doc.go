// Package kernels is arithmetic on plain slices of float32: matrix products, convolutions, pooling,
// row and elementwise functions. It knows no graph and no tensor.
//
// Every kernel exists in portable Go and, on amd64, as assembly for AVX2 with FMA and for AVX-512;
// one Level is chosen for the process. The build tag purego leaves the assembly out.
//
// Functions that take a *Pool split their own work over it. All others run on the calling
// goroutine and are safe to run on disjoint parts of their output at the same time: split rows or
// ranges with Pool.For.
//
// Sizes that do not fit the slices are programming errors and panic before anything is written.
// Outputs may be the same slice as an input of elementwise and row functions, and must not overlap
// an input otherwise.
//
// A value of a matrix product is summed in the order of K, each product added with one rounding by
// AVX2 and AVX-512 and with two by portable Go. So a row depends on its row of A, on B and on the
// epilogue alone, bit for bit: neither on how many rows are multiplied together, nor on where it
// stands among them, nor on the number of threads, and AVX2 and AVX-512 agree. Elementwise functions
// have the same property; sums of a row are taken in an order that depends on the level.
//
// A convolution that was packed for one of Winograd's methods is no such product: a result is put together from sums of
// transformed values, in an order that depends on its place in its tile, and not on its image's neighbours or the
// threads. By tiles of 2 it is as near to the exact one as a sum is; by tiles of 4 it may be off by some 1e-5 of the
// largest result. A value that is not finite spoils all results of its tile.
//
// Products take and give float32 whatever their Precision. With BF16 the values of A and B are
// rounded to bfloat16 first: to nearest, ties to even, a NaN to a quiet NaN, and what is no normal
// number to a zero of its sign. That is the same at all levels, and below AVX512BF16 the result is
// that of the product in float32 of the rounded values, bit for bit. AVX512BF16 adds two products
// at a time to a sum, with roundings of its own, and takes sums that are no normal numbers for
// zero. AMX adds up 16 units in that manner, even and odd values apart, before it adds them to a sum.
// A row depends on its own data alone here as well. Where neither matrix is packed, BF16 rounds from
// AVX512BF16 on only.
//
// Products of bytes have the same sums at all levels.
//
// Kernels of the level AMX have not been timed by those who wrote them: no machine of theirs has it.
// That they are right is tested on an emulated one, by emulated/run.sh.
package kernels

//go:generate go run -C gen . -out ..
