package main

import (
	"github.com/spf13/cobra"

	"github.com/thrumserve/thrum/backends/cpu"
	cpuplugin "github.com/thrumserve/thrum/plugins/cpu"
	nullplugin "github.com/thrumserve/thrum/plugins/null"
)

// plugin holds the backends that are built in. The server starts them as processes of their
// own; nobody needs to type them.
func plugin() *cobra.Command {
	c := &cobra.Command{
		Use:   "plugin",
		Short: "Run a built-in backend as a plugin process (started by thrum serve)",
	}
	c.AddCommand(
		&cobra.Command{
			Use:   "cpu",
			Short: "ONNX models on this processor",
			Args:  cobra.NoArgs,
			Run:   func(*cobra.Command, []string) { cpuplugin.Serve(cpu.Options{}) },
		},
		&cobra.Command{
			Use:   "null",
			Short: "A model that computes nothing, to measure the server around it",
			Args:  cobra.NoArgs,
			Run:   func(*cobra.Command, []string) { nullplugin.Serve() },
		},
	)
	return c
}
