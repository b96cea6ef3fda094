// Command thrum serves models: hand it a model repository and it answers over the Open
// Inference Protocol, with every backend in a process of its own.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the build.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "thrum:", err)
		os.Exit(codeOf(err))
	}
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use:           "thrum",
		Short:         "Serve models at low latency over the Open Inference Protocol",
		Example:       "  thrum serve --models examples/models\n  curl -s localhost:8000/v2/models/digits",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	c.AddCommand(serve(), loadtestCommand(), precisionCommand(), plugin())
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w: `%s --help` lists the flags", err, c.CommandPath())
	})
	return c
}
