package driver

import "fmt"

// Version is a version of CUDA as the driver counts it: 12040 is 12.4.
type Version int32

// String returns the version as people write it, such as "12.4".
func (v Version) String() string { return fmt.Sprintf("%d.%d", v/1000, v%1000/10) }
