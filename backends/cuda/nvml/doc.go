// Package nvml reads what NVIDIA's devices say of themselves, through the management library that
// comes with their driver. It loads the library when it is asked to and needs none to be built. A
// figure that the device does not have, or that the library is too old to ask for, is left out.
//
// Functions, results and structures are those of nvml.h of CUDA 13.0 (nvidia-nvml-dev 13.0.87 on PyPI).
package nvml
