package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/thrumserve/thrum/plugins"
	"github.com/thrumserve/thrum/plugins/discover"
	"github.com/thrumserve/thrum/server/config"
)

func pluginList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List all backends, and why those that cannot be used cannot",
		Long: `List all backends: those that are built in and the programs thrum-backend-<name> on the plugin
path. Each is started for a moment and asked what it is, as thrum serve would start it.`,
		Example: `  thrum plugin list
  thrum plugin list --plugin-path /opt/thrum/backends
  thrum plugin list --config thrum.yaml --json`,
		Args: cobra.NoArgs,
	}
	var cfg config.Server
	c.Flags().SortFlags = false
	c.Flags().Var(&cfg.Plugins.Path, "plugin-path", "`folder` of external backends; several times, or with colons, for several")
	file := c.Flags().String("config", "", "configuration `file` (YAML) of a server, whose plugin path and pins to use")
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *file != "" {
			if err := underFlags(c.Flags(), *file, &cfg); err != nil {
				return err
			}
		}
		entries, err := listBackends(c.Context(), cfg.Plugins)
		if err != nil {
			return err
		}
		if *asJSON {
			out := json.NewEncoder(c.OutOrStdout())
			out.SetIndent("", "  ")
			return out.Encode(entries)
		}
		return printTable(c.OutOrStdout(), entries)
	}
	return c
}

// entry is what the list says of a backend. What is not known is left out.
type entry struct {
	Name      string `json:"name"`
	Kind      string `json:"kind"` // built-in or external
	Version   string `json:"version,omitempty"`
	API       int    `json:"api,omitempty"`
	Device    string `json:"device,omitempty"`
	Transport string `json:"transport,omitempty"`
	Checksum  string `json:"checksum,omitempty"`
	Path      string `json:"path,omitempty"`
	Status    string `json:"status"` // ok or unusable
	Reason    string `json:"reason,omitempty"`
}

// mostProbes is how many backends are started at once.
const mostProbes = 4

func listBackends(ctx context.Context, p config.Plugins) ([]entry, error) {
	found, err := discover.Find(p.Path)
	if err != nil {
		return nil, err
	}
	programs := builtin("")
	entries := make([]entry, len(programs)+len(found))
	var probes errgroup.Group
	probes.SetLimit(mostProbes)
	for i, name := range slices.Sorted(maps.Keys(programs)) {
		probes.Go(func() error {
			entries[i] = entry{Name: name, Kind: "built-in"}.asked(ctx, programs[name], plugins.Options{})
			return nil
		})
	}
	for i, c := range found {
		e := entry{Name: c.Name, Kind: "external", Checksum: c.Checksum, Path: c.Path}
		if _, ok := programs[c.Name]; ok {
			c.Refused = cmp.Or(c.Refused, errors.New("a backend of that name is built in: rename the program"))
		}
		probes.Go(func() error {
			if c.Refused != nil {
				e.Status, e.Reason = "unusable", c.Refused.Error()
			} else {
				e = e.asked(ctx, plugins.Command{Path: c.Path}, plugins.Options{AutoMTLS: true, Checksum: p.Pins[c.Name]})
			}
			entries[len(programs)+i] = e
			return nil
		})
	}
	return entries, probes.Wait()
}

// asked returns e with what the backend says of itself.
func (e entry) asked(ctx context.Context, cmd plugins.Command, o plugins.Options) entry {
	o.Name, o.Log = e.Name, slog.New(slog.DiscardHandler)
	info, err := discover.Probe(ctx, cmd, o)
	if err != nil {
		e.Status, e.Reason = "unusable", err.Error()
		return e
	}
	e.Status, e.Version, e.API, e.Device, e.Transport = "ok", info.Version, info.API, info.Device, info.Transport
	return e
}

func printTable(w io.Writer, entries []entry) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tKIND\tVERSION\tAPI\tDEVICE\tTRANSPORT\tCHECKSUM\tPATH\tSTATUS")
	for _, e := range entries {
		api, status := "", e.Status
		if e.API > 0 {
			api = fmt.Sprint(e.API)
		}
		if e.Reason != "" {
			status += ": " + e.Reason
		}
		cells := []string{e.Name, e.Kind, e.Version, api, e.Device, e.Transport, short(e.Checksum), e.Path, status}
		for i, cell := range cells {
			cells[i] = cmp.Or(printable(cell), "-")
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

// short cuts a checksum to what tells two programs apart by eye.
func short(checksum string) string {
	return checksum[:min(len(checksum), len("sha256:")+12)]
}

// printable makes one line, without a terminal's control codes, of what a plugin says.
func printable(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
}
