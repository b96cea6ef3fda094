package onnx

import (
	"errors"
	"fmt"

	"github.com/thrumserve/thrum/backends"
)

// Unsupported returns the refusal of a node, an ErrUnsupported with a text of the form
//
//	operator Foo (node "x", ai.onnx opset 17): why
//
// where why is the formatted message.
func Unsupported(n *Node, format string, args ...any) error {
	return refuse(backends.ErrUnsupported, n, format, args...)
}

// invalid is Unsupported for a node that no backend could run.
func invalid(n *Node, format string, args ...any) error {
	return refuse(backends.ErrInvalid, n, format, args...)
}

func refuse(kind error, n *Node, format string, args ...any) error {
	return backends.Errorf(kind, "operator %s (node %q, %s opset %d): %w",
		n.Op, n.Name, domainName(n.Domain), n.Opset, fmt.Errorf(format, args...))
}

// kindOf returns the sentinel to carry on with when more is said about an error.
func kindOf(err error) error {
	if errors.Is(err, backends.ErrUnsupported) {
		return backends.ErrUnsupported
	}
	return backends.ErrInvalid
}

// domainName returns the domain as people write it.
func domainName(domain string) string {
	if domain == "" {
		return "ai.onnx"
	}
	return domain
}
