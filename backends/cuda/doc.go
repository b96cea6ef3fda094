// Package cuda is the backend for NVIDIA's devices: what of it can be said, decided and tested
// without one. Its children reach the driver: driver by itself, gpu through gorgonia.org/cu.
//
// It finds devices, describes them and accounts for their memory. It runs no model yet.
package cuda
