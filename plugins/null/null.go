// Package null is the main of the plugin that serves the null backend.
package null

import (
	"github.com/thrumserve/thrum/backends/null"
	"github.com/thrumserve/thrum/plugins"
)

// Serve is the whole main of the plugin; see plugins.Serve.
func Serve() { plugins.Serve(null.New()) }
