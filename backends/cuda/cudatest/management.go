package cudatest

import (
	_ "embed"
	"testing"
)

// ManagementKey is the environment variable in which a process finds the settings of its management
// library, such as "init=9 driver=3 result=15 utilization=3 power=3 ecc=3 events=3 mig=1 hang=1 process=1048576
// faults=/tmp/xids": what the calls return that start it, ask for the driver's version, for anything of a
// device, for some figures, and to listen for events, that devices are parts of others, that they do not
// answer, how many bytes each process takes, which is not told otherwise, and a file into which tests write the
// numbers of faults that all devices have, one a line: without, they tell of none.
const ManagementKey = "FAKE_NVML"

//go:embed testdata/nvml.c
var management []byte

// AddManagement adds a libnvidia-ml.so.1 to a folder, that of a driver from before 2020 if it is to be old.
func AddManagement(t testing.TB, dir string, old bool) {
	t.Helper()
	var flags []string
	if old {
		flags = append(flags, "-DOLD")
	}
	build(t, dir, "libnvidia-ml.so.1", management, flags...)
}
