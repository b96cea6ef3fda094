// Package proto is the wire between a host and its plugins, generated from plugin.proto.
// Only package plugins speaks it.
package proto

//go:generate ./generate.sh
