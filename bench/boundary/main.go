// Command boundary measures what it costs to compute a batch in another process: a call of a
// plugin through shared memory beside the same call over gRPC, beside a ping-pong between two
// processes that says nothing at all, and the whole server with its model in a plugin beside the
// same server with the model in its own process.
//
// What is compared runs in turns, and each ratio is the median over rounds of neighbours, so that
// a machine whose clock or neighbours change hits both sides. The generator shares the
// processors with what it measures: read the ratios, not the times.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/thrumserve/thrum/plugins/null"
)

// roleKey makes this program one of the processes that it measures.
const roleKey = "THRUM_BOUNDARY_ROLE"

var roles = map[string]func() error{
	"plugin":       func() error { null.Serve(); return nil },
	"echo":         serveEcho,
	"front alone":  func() error { return serveFront(false) },
	"front plugin": func() error { return serveFront(true) },
}

type options struct {
	rounds int
	round  time.Duration
	only   *regexp.Regexp
}

func main() {
	if role, ok := roles[os.Getenv(roleKey)]; ok {
		exitOn(role())
		return
	}
	var o options
	flag.IntVar(&o.rounds, "rounds", 15, "rounds of each comparison")
	flag.DurationVar(&o.round, "round", 200*time.Millisecond, "length of one side of a round")
	only := flag.String("only", "", "compare only what this regular expression is found in the name of, such as ^64 or server")
	flag.Parse()
	var err error
	o.only, err = regexp.Compile(*only)
	exitOn(err)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exitOn(run(ctx, o))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "boundary:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	fmt.Printf("%d rounds of %v a side, %d processors shared with the generator, load average %s\n\n",
		o.rounds, o.round, runtime.NumCPU(), loadAverage())
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "what\tmeasured\tcompared with\tratio\tratio of CPU time\ttarget\t")
	calls, err := openCalls(ctx)
	if err != nil {
		return err
	}
	err = calls.compare(ctx, o, table)
	err = errors.Join(err, calls.close())
	if err == nil {
		err = compareMessages(ctx, o, table)
	}
	if err == nil {
		err = compareFronts(ctx, o, table)
	}
	if err == nil {
		err = table.Flush()
	}
	fmt.Printf("\nload average at the end %s\n", loadAverage())
	return err
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// self returns the path of this program.
func self() string {
	path, err := os.Executable()
	exitOn(err)
	return path
}
