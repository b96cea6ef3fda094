// Package kernels is the code that runs on NVIDIA's devices, and how it is called.
//
// The code is CUDA C++ in src, compiled by build.sh into images, which are part of the program. Each
// type here with a method Launch, or Launches where there may be several, describes one operation; the
// method checks it, chooses among the kernels that do it and returns names of the image and arguments.
//
// Every parameter of every kernel takes eight bytes: an address, an integer of 64 bits or a float64. That
// of a Chain is a struct of such, which lie side by side.
// Addresses of the device are uint64, zero where an operand is left out. Tensors are as everywhere in
// thrum: little-endian, row-major. Sums are kept in single precision, of int8 in int32.
package kernels
