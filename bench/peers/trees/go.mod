module github.com/thrumserve/thrum/bench/peers/trees

go 1.26.0

require github.com/thrumserve/thrum v0.0.0

require (
	github.com/klauspost/cpuid/v2 v2.4.2 // indirect
	golang.org/x/sys v0.49.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/thrumserve/thrum => ../../..
