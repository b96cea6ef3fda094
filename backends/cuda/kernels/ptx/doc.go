// Package ptx executes the text of PTX that the kernels' image holds, instruction by instruction, for
// tests: what the compiler has made of the sources, inline assembly with its operands included.
//
// It is written from NVIDIA's description of the instruction set (PTX ISA 9.0) alone and knows neither
// the sources nor their emulation. It knows the instructions that the image has and refuses any other.
//
// Where a device is free to choose, it does what a kernel can least rely on: warps run in an order that
// is drawn anew at every barrier, asynchronous copies land when they are waited for and not before,
// shared memory begins as NaN, and approximate functions miss by a unit of the last place. What
// a device leaves undefined is an error: a register that is read before it is written; an access outside of the operands' memory or of a variable, or
// misaligned; accesses to the same byte of shared memory that nothing orders, one of them a write; reading
// what another thread has written to an operand, or writing something else there; a warp that is not whole
// where it has to be; arguments that are not the parameters that a kernel declares.
package ptx
