package plugins

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/thrumserve/thrum/backends"
)

// kinds pairs what an error may be with the code that carries it. Too large takes the code
// with which gRPC itself refuses a message over its limit, and crashed the one with which it
// reports that the peer is gone, so that those come out right too.
var kinds = []struct {
	kind error
	code codes.Code
}{
	{backends.ErrInvalid, codes.InvalidArgument},
	{backends.ErrNotFound, codes.NotFound},
	{backends.ErrTooLarge, codes.ResourceExhausted},
	{backends.ErrOverloaded, codes.Aborted},
	{backends.ErrUnsupported, codes.Unimplemented},
	{backends.ErrUnavailable, codes.FailedPrecondition},
	{backends.ErrCrashed, codes.Unavailable},
	{context.Canceled, codes.Canceled},
	{context.DeadlineExceeded, codes.DeadlineExceeded},
}

// maxErrorBytes bounds the text of an error from a plugin: it ends up in logs and replies.
const maxErrorBytes = 8 << 10

// toStatus returns the error that gRPC carries for err: its kind as a code and its text. What
// has no kind is a fault of the backend and becomes codes.Internal.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	for _, k := range kinds {
		if errors.Is(err, k.kind) {
			return status.Error(k.code, err.Error())
		}
	}
	return status.Error(codes.Internal, err.Error())
}

// fromStatus undoes toStatus.
func fromStatus(err error) error {
	if err == nil {
		return nil
	}
	s := status.Convert(err)
	text := shorten(s.Message())
	for _, k := range kinds {
		if s.Code() == k.code {
			return backends.Errorf(k.kind, "%s", text)
		}
	}
	return errors.New(text)
}

func shorten(text string) string {
	if len(text) > maxErrorBytes {
		text = text[:maxErrorBytes] + " …"
	}
	return strings.ToValidUTF8(text, "")
}
