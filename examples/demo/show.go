package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"os"
)

// showPredictions asks for every golden case and returns how many answers are wrong.
func showPredictions(ctx context.Context, c *client, models, model string) (wrong int, err error) {
	set, err := readGolden(models, model)
	if err != nil {
		return 0, err
	}
	fmt.Printf("\n%s: %d golden cases, reference %s\n\n", model, len(set.Cases), set.Source)
	showPictures(set)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  input\trows\tprediction\treference\tlatency\tcache\t")
	for _, golden := range set.Cases {
		a, err := c.infer(ctx, model, golden.Inputs, false)
		if err != nil {
			return wrong, err
		}
		verdict := ""
		if err := compare(a.Outputs, golden.Outputs, set.Tolerance.Abs, set.Tolerance.Rel); err != nil {
			verdict = "WRONG: " + err.Error()
			wrong++
		}
		fmt.Fprintf(table, "  %s\t%d\t%s\t%s\t%v\t%s\t%s\n", shorten(golden.Name, 60), golden.Inputs[0].Shape[0],
			summary(a.Outputs), summary(golden.Outputs), a.took.Round(10*time.Microsecond), orDash(a.Parameters["cache"]), verdict)
	}
	return wrong, table.Flush()
}

// compare reports the first element of want that have does not hold within the tolerance.
func compare(have, want []tensor, abs, rel float64) error {
	for _, w := range want {
		i := slices.IndexFunc(have, func(t tensor) bool { return t.Name == w.Name })
		if i < 0 {
			return fmt.Errorf("output %s is missing", w.Name)
		}
		h := have[i]
		if h.Datatype != w.Datatype || !slices.Equal(h.Shape, w.Shape) || len(h.Data) != len(w.Data) {
			return fmt.Errorf("output %s is %s%v, want %s%v", w.Name, h.Datatype, h.Shape, w.Datatype, w.Shape)
		}
		for j := range w.Data {
			if !same(h.Data[j], w.Data[j], strings.HasPrefix(w.Datatype, "FP"), abs, rel) {
				return fmt.Errorf("%s[%d] is %v, want %v", w.Name, j, h.Data[j], w.Data[j])
			}
		}
	}
	return nil
}

func same(have, want any, float bool, abs, rel float64) bool {
	h, w, ok := numbers(have, want)
	if !float || !ok {
		return fmt.Sprint(have) == fmt.Sprint(want)
	}
	return math.Abs(h-w) <= abs+rel*math.Abs(w)
}

func numbers(a, b any) (x, y float64, ok bool) {
	n, isA := a.(json.Number)
	m, isB := b.(json.Number)
	if !isA || !isB {
		return 0, 0, false
	}
	x, errX := n.Float64()
	y, errY := m.Float64()
	return x, y, errX == nil && errY == nil
}

// summary shows the first output of a few rows: a label, or a probability.
func summary(outputs []tensor) string {
	const most = 4
	var parts []string
	for _, element := range outputs[0].Data[:min(most, len(outputs[0].Data))] {
		text := fmt.Sprint(element)
		if x, _, ok := numbers(element, element); ok && strings.HasPrefix(outputs[0].Datatype, "FP") {
			text = fmt.Sprintf("%.3f", x)
		}
		parts = append(parts, text)
	}
	if len(outputs[0].Data) > most {
		parts = append(parts, "…")
	}
	return outputs[0].Name + " " + strings.Join(parts, " ")
}

// showPictures draws the first inputs that are small grey images, so that people see what the
// model sees.
func showPictures(set goldenSet) {
	const side, most = 8, 6
	var pictures [][]any
	for _, golden := range set.Cases {
		if in := golden.Inputs[0]; len(in.Shape) == 4 && in.Shape[0] == 1 && in.Shape[2] == side && len(pictures) < most {
			pictures = append(pictures, in.Data)
		}
	}
	if len(pictures) == 0 {
		return
	}
	for y := range side {
		line := "  "
		for _, picture := range pictures {
			for x := range side {
				line += shade(picture[y*side+x])
			}
			line += "   "
		}
		fmt.Println(line)
	}
	fmt.Println()
}

func shade(grey any) string {
	shades := []string{"  ", "░░", "▒▒", "▓▓", "██"}
	x, _, _ := numbers(grey, grey)
	if x > 1 {
		x /= 16 // the data set's own scale
	}
	return shades[min(len(shades)-1, int(x*float64(len(shades))))]
}

// showBatching sends many single rows at once, past the cache, and reads from the metrics how
// they were executed.
func showBatching(ctx context.Context, c *client, admin, models string) error {
	const model, requests, clients = "digits", 1000, 32
	set, err := readGolden(models, model)
	if err != nil {
		return err
	}
	batchesBefore, rowsBefore, err := batches(ctx, admin, model)
	if err != nil {
		return err
	}
	took := make([]time.Duration, requests)
	errs := make([]error, clients)
	begin := time.Now()
	var wait sync.WaitGroup
	for k := range clients {
		wait.Go(func() {
			for i := k; i < requests && errs[k] == nil; i += clients {
				var a answer
				a, errs[k] = c.infer(ctx, model, set.Cases[i%8].Inputs, true)
				took[i] = a.took
			}
		})
	}
	wait.Wait()
	elapsed := time.Since(begin)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	batchesAfter, rowsAfter, err := batches(ctx, admin, model)
	if err != nil {
		return err
	}
	slices.Sort(took)
	n, rows := batchesAfter-batchesBefore, rowsAfter-rowsBefore
	fmt.Printf("\nBatching: %d requests of one row from %d clients in %v ran as %.0f batches of %.1f rows on average; p50 %v, p99 %v.\n",
		requests, clients, elapsed.Round(time.Millisecond), n, rows/n,
		took[requests/2].Round(10*time.Microsecond), took[requests*99/100].Round(10*time.Microsecond))
	return nil
}

// batches reads how many batches a model has executed and how many rows were in them.
func batches(ctx context.Context, admin, model string) (count, rows float64, err error) {
	c := &client{base: "http://" + admin}
	text, err := c.do(ctx, http.MethodGet, "/metrics", nil, false)
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, `model="`+model+`"`) {
			continue
		}
		fields := strings.Fields(line)
		into := &count
		switch {
		case strings.HasPrefix(line, "thrum_batch_rows_count"):
		case strings.HasPrefix(line, "thrum_batch_rows_sum"):
			into = &rows
		default:
			continue
		}
		if _, err := fmt.Sscan(fields[len(fields)-1], into); err != nil {
			return 0, 0, err
		}
	}
	return count, rows, nil
}

// showCaching asks the same question again.
func showCaching(ctx context.Context, c *client, models string) error {
	const model = "yarnit"
	set, err := readGolden(models, model)
	if err != nil {
		return err
	}
	fresh, err := c.infer(ctx, model, set.Cases[0].Inputs, true)
	if err != nil {
		return err
	}
	again, err := c.infer(ctx, model, set.Cases[0].Inputs, false)
	if err != nil {
		return err
	}
	if got := again.Parameters["cache"]; got != "hit" {
		return fmt.Errorf("caching: the same request again was a %q, want a hit", got)
	}
	fmt.Printf("Caching: %s answered afresh in %v (cache %s), from its cache in %v (cache %s).\n", model,
		fresh.took.Round(10*time.Microsecond), fresh.Parameters["cache"], again.took.Round(10*time.Microsecond), again.Parameters["cache"])
	return nil
}

func showAddresses(s *process) {
	fmt.Printf(`
Still serving; Ctrl-C stops it. Try:

  curl -s http://%[1]s/v2/models/tumor
  curl -s -X POST http://%[1]s/v2/repository/index
  curl -s http://%[1]s/v2/models/tumor/infer -d '{"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 30], "data": [%[3]s]}]}'

  metrics   http://%[2]s/metrics
  profiles  http://%[2]s/debug/pprof/
`, s.http, s.admin, "17.99,10.38,122.8,1001,0.1184,0.2776,0.3001,0.1471,0.2419,0.07871,1.095,0.9053,8.589,153.4,0.006399,0.04904,0.05373,0.01587,0.03003,0.006193,25.38,17.33,184.6,2019,0.1622,0.6656,0.7119,0.2654,0.4601,0.1189")
}

func shorten(s string, most int) string {
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
