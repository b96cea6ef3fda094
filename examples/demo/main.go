// Command demo serves the bundled models with thrum, sends their golden inputs over HTTP as
// any client would, and shows what came back: predictions beside the reference, latencies,
// what was batched and what was cached. It exits non-zero if a prediction is wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	var o options
	flag.StringVar(&o.thrum, "thrum", "./thrum", "the server's binary")
	flag.StringVar(&o.models, "models", "examples/models", "the model repository")
	flag.StringVar(&o.http, "http", "127.0.0.1:8000", "address of the protocol; another free port if it is taken")
	flag.StringVar(&o.admin, "admin", "127.0.0.1:8002", "address of metrics and profiles, likewise")
	flag.BoolVar(&o.once, "once", false, "stop after the predictions")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

type options struct {
	thrum, models, http, admin string
	once                       bool
}

func run(ctx context.Context, o options) (err error) {
	s, err := startServer(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.waitReady(ctx); err != nil {
		return err
	}
	c := &client{base: "http://" + s.http}
	models, err := c.models(ctx)
	if err != nil {
		return err
	}
	wrong := 0
	for _, model := range models {
		n, err := showPredictions(ctx, c, o.models, model)
		if err != nil {
			return err
		}
		wrong += n
	}
	if err := showBatching(ctx, c, s.admin, o.models); err != nil {
		return err
	}
	if err := showCaching(ctx, c, o.models); err != nil {
		return err
	}
	if wrong > 0 {
		return fmt.Errorf("%d predictions differ from the reference", wrong)
	}
	fmt.Println("\nEvery prediction equals the reference.")
	if o.once {
		return nil
	}
	showAddresses(s)
	return s.wait(ctx)
}
