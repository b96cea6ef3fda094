package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/thrumserve/thrum/backends/cpu"
	"github.com/thrumserve/thrum/server"
	"github.com/thrumserve/thrum/server/config"
)

// precisionCommand measures what a lower precision costs in accuracy, for people who choose one.
func precisionCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "precision MODEL...",
		Short: "Measure models on their golden sets at each precision",
		Long: `Load each model, a folder of the repository, at each precision of the backend cpu, as thrum serve
would, and print how far its answers are from those of its golden set. One that thrum serve would
refuse is shown with the reason.`,
		Example: `  thrum precision examples/models/*
  thrum precision --at int8 --cpu-level avx2 /mnt/models/fraud`,
		Args: cobra.MinimumNArgs(1),
	}
	at := c.Flags().StringSlice("at", []string{"fp32", "bf16", "int8"}, "precisions, with commas")
	level := c.Flags().String("cpu-level", "", "instruction `set`; the best there is if it is empty")
	c.RunE = func(c *cobra.Command, dirs []string) error {
		if err := cpu.CheckLevel(*level); err != nil {
			return err
		}
		o := server.Options{Version: version, Plugins: builtin(*level), Log: slog.New(slog.DiscardHandler)}
		table := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, strings.Join(append([]string{"MODEL", "PRECISION", "OUTPUT"}, figureColumns...), "\t"))
		for _, dir := range dirs {
			for _, precision := range *at {
				if err := addMeasured(c.Context(), table, dir, precision, o); err != nil {
					return err
				}
			}
		}
		return table.Flush()
	}
	return c
}

// figureColumns are the figures shown, as package golden names them.
var figureColumns = []string{"max_abs", "max_rel", "distance", "min_cosine", "top1", "equal"}

// addMeasured adds the lines of a model at a precision. What is wrong with the model is in them;
// only what ends the command is an error.
func addMeasured(ctx context.Context, w io.Writer, dir, precision string, o server.Options) error {
	m, err := server.Measure(ctx, dir, map[string]string{"precision": precision}, config.Default(), o)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return addLine(w, dir, precision, "", nil, fmt.Sprintf("not served: %v", err))
	case m.Accuracy == nil:
		return addLine(w, dir, m.Precision, "", nil, "not measured: it has no golden set")
	}
	for _, out := range m.Accuracy.Outputs {
		figures := map[string]string{}
		for _, f := range out.Figures {
			figures[f.Kind] = figureText(f.Kind, f.Value)
		}
		if err := addLine(w, dir, m.Precision, out.Name, figures, ""); err != nil {
			return err
		}
	}
	return nil
}

func addLine(w io.Writer, model, precision, output string, figures map[string]string, note string) error {
	cells := []string{model, precision, cmp.Or(printable(output), "-")}
	for _, kind := range figureColumns {
		cells = append(cells, cmp.Or(figures[kind], "-"))
	}
	if note != "" {
		cells = append(cells, printable(note))
	}
	_, err := fmt.Fprintln(w, strings.Join(cells, "\t"))
	return err
}

// figureText shows a share so that one that is not whole does not look so, and a difference by its
// size.
func figureText(kind string, v float64) string {
	switch {
	case kind != "min_cosine" && kind != "top1" && kind != "equal":
		return fmt.Sprintf("%.2g", v)
	case v == 1:
		return "1"
	}
	return fmt.Sprintf("%.7f", min(v, 0.9999999))
}
