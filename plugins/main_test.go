package plugins

import (
	"os"
	"testing"
)

// roleKey makes this test binary act as another program: a plugin, or a host of one.
const roleKey = "THRUM_TEST_ROLE"

func TestMain(m *testing.M) {
	if role, ok := roles[os.Getenv(roleKey)]; ok {
		role()
		os.Exit(0)
	}
	os.Exit(m.Run())
}
