package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/thrumserve/thrum/loadtest/attack"
	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/schedule"
)

const (
	wrkRounds   = 5
	wrkDuration = time.Second // of one side of a round
	wrkWarmUp   = 500 * time.Millisecond
	wrkSearch   = 5   // rates that are tried in a round
	wrkTries    = 4   // of a rate
	connections = 64  // of wrk; an open loop has as many as it needs
	ready       = 512 // of those, before the first start: to make one takes longer than ten requests
)

// wrkRow lets wrk and the generator drive the same server, on the other processor, in turns. In each
// round the generator's rate is searched by halves up to 1.3 of what wrk has just reached: the highest
// Poisson rate at which, in one of four tries, less than 0.1 % were late, none was dropped and all were
// answered. One pause of the machine of two milliseconds in a try of a second is 0.1 %: some tries in ten have
// one at any rate.
func wrkRow(ctx context.Context) (measured string, held bool, err error) {
	if _, err := exec.LookPath("wrk"); err != nil {
		return "", false, errors.New("wrk is not installed: apt-get install wrk")
	}
	server, err := startRole(ctx, "fast server", 1)
	if err != nil {
		return "", false, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	generator, err := startRole(ctx, "generator", 0)
	if err != nil {
		return "", false, err
	}
	defer func() { err = errors.Join(err, generator.stop()) }()
	script, err := wrkScript()
	if err != nil {
		return "", false, err
	}
	defer os.RemoveAll(filepath.Dir(script))

	var rates, ratios, closed []float64
	for range wrkRounds {
		theirs, err := runWrk(ctx, script, server.address)
		if err != nil {
			return "", false, err
		}
		ratio, err := generator.search(server.address, theirs)
		if err != nil {
			return "", false, err
		}
		most, err := generator.most(server.address)
		if err != nil {
			return "", false, err
		}
		rates, ratios, closed = append(rates, theirs), append(ratios, ratio), append(closed, most/theirs)
	}
	ratio := median(ratios)
	return fmt.Sprintf("%.2f (of %.0f/s; rounds %.2f to %.2f; in a closed loop, as wrk, %.2f)",
		ratio, median(rates), slices.Min(ratios), slices.Max(ratios), median(closed)), ratio >= 0.6, nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// wrkScript makes wrk send the same bytes.
func wrkScript() (path string, err error) {
	folder, err := os.MkdirTemp("", "thrum-bench-loadtest-")
	if err != nil {
		return "", err
	}
	r := smallBinary()
	var body strings.Builder
	for _, b := range r.Body {
		fmt.Fprintf(&body, `\%03d`, b)
	}
	script := fmt.Sprintf(`wrk.method = "POST"
wrk.headers["Content-Type"] = "application/octet-stream"
wrk.headers["Inference-Header-Content-Length"] = "%d"
wrk.body = "%s"
`, r.Head, body.String())
	path = filepath.Join(folder, "post.lua")
	return path, os.WriteFile(path, []byte(script), 0o600)
}

var wrkRate = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)

// runWrk returns the requests/s that wrk reaches.
func runWrk(ctx context.Context, script, address string) (float64, error) {
	command := exec.CommandContext(ctx, "taskset", "-c", "0", "wrk", "-t", "1", "-c", strconv.Itoa(connections),
		"-d", wrkDuration.String(), "-s", script, "http://"+address+path)
	out, err := command.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("wrk: %w: %s", err, out)
	}
	found := wrkRate.FindSubmatch(out)
	if found == nil || strings.Contains(string(out), "Non-2xx") || strings.Contains(string(out), "Socket errors") {
		return 0, fmt.Errorf("wrk has not got its answers: %s", out)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// search asks a generator for the highest ratio to a rate that it can schedule.
func (p *process) search(address string, rate float64) (float64, error) {
	low, high := 0.0, 1.3
	for try := 0.8; high-low > 1.0/(1<<wrkSearch) && try > 0.05; try = (low + high) / 2 {
		var held bool
		var err error
		for n := 0; n < wrkTries && err == nil && !held; n++ {
			held, err = p.holds(address, rate*try)
		}
		switch {
		case err != nil:
			return 0, err
		case held:
			low = try
		default:
			high = try
		}
	}
	return low, nil
}

// holds asks a generator to try a rate.
func (p *process) holds(address string, rate float64) (bool, error) {
	answer, err := p.ask(address, rate)
	return answer == "held", err
}

// most asks a generator for the requests/s of a closed loop.
func (p *process) most(address string) (float64, error) {
	answer, err := p.ask(address, 0)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(answer, 64)
}

func (p *process) ask(address string, rate float64) (string, error) {
	if _, err := fmt.Fprintf(p.in, "%s %g\n", address, rate); err != nil {
		return "", err
	}
	line, err := p.out.ReadString('\n')
	return strings.TrimSpace(line), err
}

// generate is the generator: for each line with an address and a rate it attacks and prints whether
// the rate was held; for a rate of 0 it prints what a closed loop reaches.
func generate(ctx context.Context) error {
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var address string
		var rate float64
		if _, err := fmt.Sscan(lines.Text(), &address, &rate); err != nil {
			return err
		}
		verdict, err := attempt(ctx, address, rate)
		if err != nil {
			return err
		}
		fmt.Println(verdict)
	}
	return lines.Err()
}

// attempt says "held" or what kept the rate from being held.
func attempt(ctx context.Context, address string, rate float64) (string, error) {
	if rate == 0 {
		run, err := attack.Run(ctx, attack.Options{
			Target: target(address), Requests: []attack.Request{smallBinary()}, Concurrency: connections, Duration: wrkDuration,
		})
		if err != nil {
			return "", err
		}
		return fmt.Sprint(run.Steps[0].Achieved()), nil
	}
	starts, err := schedule.Profile{Arrivals: schedule.Independent, Parts: []schedule.Part{
		{Rate: rate / 4, To: rate, Duration: wrkWarmUp, Warmup: true}, // wrk does not count its connecting either
		{Rate: rate, To: rate, Duration: wrkDuration},
	}}.Schedule(1)
	if err != nil {
		return "", err
	}
	run, err := attack.Run(ctx, attack.Options{
		Target: target(address), Requests: []attack.Request{smallBinary()}, Schedule: starts, Ready: ready,
	})
	if err != nil {
		return "", err
	}
	g, answered := run.Generator, run.Steps[0].Count(result.OK)
	g.Late += g.Queued // here both are what one core cannot do
	if g.Late*1000 < g.Sent && g.Dropped == 0 && answered == g.Sent {
		return "held", nil
	}
	return fmt.Sprintf("missed: %d of %d late, %d dropped, %d answered", g.Late, g.Sent, g.Dropped, answered), nil
}
