// Package cublaslt has products of matrices computed by NVIDIA's library of that name, which it loads when
// it is asked to and needs not to be built. Numbers and sizes are those of cublasLt.h, cublas_api.h and
// library_types.h of CUDA 13.0.
//
// The library orders matrices by columns. One that is ordered by rows is the transpose of one that is ordered
// by columns, so that a product A·B goes to the library as Bᵀ·Aᵀ, of the same memory.
package cublaslt
