// Package cpu is the main of the plugin that runs models on this processor.
package cpu

import (
	"github.com/thrumserve/thrum/backends/cpu"
	"github.com/thrumserve/thrum/plugins"
)

// Serve is the whole main of the plugin; see plugins.Serve.
func Serve(o cpu.Options) { plugins.Serve(cpu.New(o)) }
