package main

import (
	"github.com/spf13/cobra"

	"github.com/thrumserve/thrum/backends/cpu"
	"github.com/thrumserve/thrum/plugins"
	cpuplugin "github.com/thrumserve/thrum/plugins/cpu"
	nullplugin "github.com/thrumserve/thrum/plugins/null"
)

// self is this program as it was started, even if its file has been replaced since.
const self = "/proc/self/exe"

// builtin returns how to start the backends that are built in, by their names. cpuLevel is the
// instruction set of the backend cpu, the best there is if it is empty.
func builtin(cpuLevel string) map[string]plugins.Command {
	return map[string]plugins.Command{
		"cpu":  {Path: self, Args: []string{"plugin", "cpu", "--cpu-level=" + cpuLevel}},
		"null": {Path: self, Args: []string{"plugin", "null"}},
	}
}

// plugin holds the backends that are built in, which the server starts as processes of their own
// and nobody needs to type, and the list of all backends.
func plugin() *cobra.Command {
	c := &cobra.Command{
		Use:   "plugin",
		Short: "List the backends, or run one that is built in (thrum serve does that)",
	}
	c.AddCommand(
		pluginList(),
		pluginCPU(),
		&cobra.Command{
			Use:   "null",
			Short: "A model that computes nothing, to measure the server around it",
			Args:  cobra.NoArgs,
			Run:   func(*cobra.Command, []string) { nullplugin.Serve() },
		},
	)
	return c
}

func pluginCPU() *cobra.Command {
	c := &cobra.Command{
		Use:   "cpu",
		Short: "ONNX models on this processor",
		Args:  cobra.NoArgs,
	}
	var o cpu.Options
	c.Flags().StringVar(&o.Level, "cpu-level", "", "instruction `set` of models whose options name no cpu_level; the best there is if it is empty")
	c.Run = func(*cobra.Command, []string) { cpuplugin.Serve(o) }
	return c
}
