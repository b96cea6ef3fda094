// Package ml computes the operators of ai.onnx.ml on slices: tree ensembles, linear models,
// support vector machines, and what stands before and after them in a pipeline. It knows no
// graph and no tensor. A matrix is row-major with its number of columns beside it.
//
// Building a model checks every number that came from a file, so that using it cannot fail
// but for rows of the wrong width. A built model is immutable and may be used by many goroutines.
//
// The answers are those of ONNX Runtime, its habits with two classes included, to within the
// rounding of a float32: sums run in the order of the file. What a row gets depends on that
// row alone, never on the number of threads or on the rows beside it.
package ml

import "github.com/thrumserve/thrum/backends"

// Float is the type of features, limits and scores.
type Float interface{ float32 | float64 }

// For splits work on n things: it calls body for ranges that cover [0, n), none of them shorter
// than grain but the last, perhaps at the same time, and returns when all have returned.
type For func(n, grain int, body func(from, to int))

func invalid(format string, args ...any) error {
	return backends.Errorf(backends.ErrInvalid, format, args...)
}
