package plugins

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/thrumserve/thrum/backends"
)

func TestErrorsCross(t *testing.T) {
	for _, k := range kinds {
		sent := fmt.Errorf("predict: %w", backends.Errorf(k.kind, "12 rows, at most 8"))
		got := fromStatus(toStatus(sent))
		if !errors.Is(got, k.kind) || got.Error() != sent.Error() {
			t.Errorf("%v came back as %v", sent, got)
		}
		if status.Code(toStatus(sent)) != k.code {
			t.Errorf("toStatus(%v) = %v, want code %v", sent, toStatus(sent), k.code)
		}
		for _, other := range kinds {
			if other.kind != k.kind && errors.Is(got, other.kind) {
				t.Errorf("%v came back as %v, too", sent, other.kind)
			}
		}
		if bare := fromStatus(toStatus(k.kind)); !errors.Is(bare, k.kind) {
			t.Errorf("%v came back as %v", k.kind, bare)
		}
	}
}

func TestErrorWithoutKindStaysWithout(t *testing.T) {
	for _, sent := range []error{errors.New("a bug"), status.Error(codes.DataLoss, "a bug")} {
		got := fromStatus(toStatus(sent))
		for _, k := range kinds {
			if errors.Is(got, k.kind) {
				t.Errorf("%v came back as %v", sent, k.kind)
			}
		}
		if !strings.Contains(got.Error(), "a bug") {
			t.Errorf("%v came back as %v", sent, got)
		}
	}
	if err := fromStatus(toStatus(nil)); err != nil {
		t.Errorf("nil came back as %v", err)
	}
}

func TestErrorTextIsBounded(t *testing.T) {
	if got := fromStatus(status.Error(codes.Internal, strings.Repeat("é", maxErrorBytes))); len(got.Error()) > maxErrorBytes+8 {
		t.Errorf("a text of %d bytes arrived, at most %d wanted", len(got.Error()), maxErrorBytes)
	}
}
