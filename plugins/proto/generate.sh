#!/bin/sh
# Regenerates plugin.pb.go and plugin_grpc.pb.go; running it on a clean tree changes nothing.
#
# The two generators are tools of go.mod and so pinned. protoc itself is not a Go program:
# take any release from 3.21 on (Debian: protobuf-compiler), or set PROTOC, for instance to
# "python3 -m grpc_tools.protoc". It only parses the .proto file, so its release shows in a
# comment line alone, which is dropped to make the output the same everywhere.
set -eu
cd "$(dirname "$0")/../.."

bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
go build -o "$bin/" google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc

# shellcheck disable=SC2086 # PROTOC may hold a command with arguments
${PROTOC:-protoc} -I . \
	--plugin="protoc-gen-go=$bin/protoc-gen-go" --go_out=. --go_opt=paths=source_relative \
	--plugin="protoc-gen-go-grpc=$bin/protoc-gen-go-grpc" --go-grpc_out=. --go-grpc_opt=paths=source_relative \
	plugins/proto/plugin.proto
sed -i -E '/^\/\/[[:space:]]+-? ?protoc[[:space:]]+(v|\(unknown\))/d' plugins/proto/*.pb.go
