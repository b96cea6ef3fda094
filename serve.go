package main

import (
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/thrumserve/thrum/backends/cpu"
	"github.com/thrumserve/thrum/server"
	"github.com/thrumserve/thrum/server/config"
)

func serve() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve --models DIR",
		Short: "Serve a model repository",
		Long: `Serve a model repository: DIR/<model>/<version>/model.onnx, with an optional model.yaml
beside the versions. Flags win over the configuration file.`,
		Example: `  thrum serve --models examples/models
  thrum serve --models /mnt/models --http :8080 --control explicit
  thrum serve --config thrum.yaml
  thrum serve --models /mnt/models --plugin-path /opt/thrum/backends

  curl -s localhost:8000/v2/health/ready
  curl -s localhost:8000/v2/models/digits
  curl -s -X POST localhost:8000/v2/repository/index
  curl -s localhost:8002/metrics`,
		Args: cobra.NoArgs,
	}
	cfg := config.Default()
	file := c.Flags().String("config", "", "configuration `file` (YAML)")
	serveFlags(c.Flags(), &cfg)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *file != "" {
			if err := underFlags(c.Flags(), *file, &cfg); err != nil {
				return err
			}
		}
		if err := cpu.CheckLevel(cfg.CPULevel); err != nil {
			return err
		}
		return server.Run(c.Context(), cfg, server.Options{
			Version: version,
			Plugins: builtin(cfg.CPULevel),
			Log:     slog.New(slog.NewTextHandler(os.Stderr, nil)),
		})
	}
	return c
}

func serveFlags(f *pflag.FlagSet, cfg *config.Server) {
	f.SortFlags = false
	f.StringVar(&cfg.Models, "models", cfg.Models, "the model repository's `folder`")
	f.StringVar(&cfg.HTTP, "http", cfg.HTTP, "`address` of the Open Inference Protocol over HTTP")
	f.StringVar(&cfg.Admin, "admin", cfg.Admin, "`address` of /metrics, /healthz and /debug/pprof")
	f.Var(&cfg.Control, "control", "who loads models: poll (the folder decides), explicit (the repository API), none (as at start)")
	f.Var(&cfg.PollInterval, "poll-interval", "how often to look for changes, with --control poll")
	f.Lookup("poll-interval").DefValue = "5s" // its zero value means this
	f.Var(&cfg.LoadTimeout, "load-timeout", "time for one version to load and warm up")
	f.Var(&cfg.Deadline, "deadline", "time for a request that brings no timeout and whose model sets none")
	f.Var(&cfg.Plugins.Path, "plugin-path", "`folder` of external backends, programs named thrum-backend-<name>; several times, or with colons, for several")
	f.StringVar(&cfg.CaptureDir, "capture-dir", cfg.CaptureDir, "`folder` for samples of requests, of models whose model.yaml asks for them; without it none are kept")
	f.StringVar(&cfg.CPULevel, "cpu-level", cfg.CPULevel, "instruction `set` of the backend cpu, for models whose options name no cpu_level: "+strings.Join(cpu.Levels(), ", ")+"; the last is the default")
	f.Var(&cfg.Limits.MaxBody, "max-body", "size of a request, after decompression")
	f.IntVar(&cfg.Limits.MaxConnections, "max-connections", cfg.Limits.MaxConnections, "open connections")
	f.Var(&cfg.Limits.ReadTimeout, "read-timeout", "time for a whole request to arrive")
	f.Var(&cfg.Limits.WriteTimeout, "write-timeout", "time for a whole reply to be taken")
	f.Var(&cfg.Limits.IdleTimeout, "idle-timeout", "time that a kept-alive connection may be silent")
	f.Var(&cfg.Shutdown.Delay, "shutdown-delay", "time to go on serving, not ready, after SIGTERM")
	f.Var(&cfg.Shutdown.Timeout, "shutdown-timeout", "time for what is in flight to finish")
}

// underFlags lays the file under the flags that were given.
func underFlags(f *pflag.FlagSet, file string, cfg *config.Server) error {
	given := map[string]string{}
	f.Visit(func(flag *pflag.Flag) { given[flag.Name] = flag.Value.String() })
	if err := config.ReadServer(file, cfg); err != nil {
		return err
	}
	if f.Changed("plugin-path") {
		cfg.Plugins.Path = nil // the flag adds to it
	}
	for name, value := range given {
		if err := f.Set(name, value); err != nil {
			return err
		}
	}
	return nil
}
