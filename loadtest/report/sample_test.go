package report

import (
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
)

var samples = flag.String("samples", "", "a folder to write sample reports to, to look at them")

func TestWriteSamples(t *testing.T) {
	if *samples == "" {
		t.Skip("no -samples folder is given")
	}
	for name, d := range documents() {
		for ext, write := range map[string]func(io.Writer, Document) error{"html": HTML, "json": JSON, "txt": Table} {
			f, err := os.Create(filepath.Join(*samples, name+"."+ext))
			if err != nil {
				t.Fatal(err)
			}
			if err := write(f, d); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// documents are reports of made-up runs, one of each kind.
var documents = sync.OnceValue(func() map[string]Document {
	return map[string]Document{"run": oneRun(), "comparison": twoSeries(), "search": search(), "empty": {Title: "nothing"}, "cut": cutShort()}
})

func oneRun() Document {
	r := made(1, 60, 1, 100, 250, 500, 750, 1000, 1250, 1500, 2000)
	r.Causes = map[result.Outcome]string{result.Rejected: "429: 212 calls wait, at most 200: try again in 1 s"}
	return Document{
		Title:   "Staging of demo",
		Verdict: Verdict{Outcome: Fail, Reasons: []string{"p99 at 150 % is 31.8 ms, want at most 20 ms"}},
		Goal:    Goal{Quantile: 0.99, Limit: 20 * time.Millisecond},
		Findings: []Finding{
			{"p99 at 100 %", "<= 20 ms", "12.4 ms", true},
			{"p99 at 150 %", "<= 20 ms", "31.8 ms", false},
		},
		Series: []Series{{Runs: []*result.Run{r}}},
	}
}

func twoSeries() Document {
	d := Document{
		Title:   "demo: candidate beside baseline",
		Verdict: Verdict{Outcome: Unstable, Reasons: []string{"p99 changed by +5.1 %, but a change below 8.3 % could not be told from noise"}},
		Goal:    Goal{Quantile: 0.99, Limit: 20 * time.Millisecond},
		Series:  []Series{{Name: "candidate"}, {Name: "baseline"}},
	}
	for i := range 4 {
		a, b := made(uint64(10+i), 10, 1.08, 500, 1000), made(uint64(20+i), 10, 1, 500, 1000)
		a.Began = a.Began.Add(time.Duration(i) * time.Minute)
		b.Began = b.Began.Add(time.Duration(i)*time.Minute + 30*time.Second)
		d.Series[0].Runs = append(d.Series[0].Runs, a)
		d.Series[1].Runs = append(d.Series[1].Runs, b)
	}
	return d
}

func search() Document {
	d := Document{Title: "Peak of demo", Verdict: Verdict{Outcome: Pass, Reasons: []string{"1,480 requests/s hold p99 within 20 ms"}}, Goal: Goal{0.99, 20 * time.Millisecond}, Series: []Series{{Name: "search"}}}
	for i, rate := range []float64{125, 250, 500, 1000, 2000, 1500, 1750, 1625} {
		d.Series[0].Runs = append(d.Series[0].Runs, made(uint64(30+i), 8, 1, rate))
	}
	return d
}

// cutShort is a run of which a damaged results file has the windows alone, named by somebody bad.
func cutShort() Document {
	r := made(40, 20, 1, 500)
	r.Steps, r.Generator, r.Server = nil, result.Generator{}, result.Server{}
	r.Asked.Model = hostile
	r.Stopped = "p99 was over 1s for 10 seconds"
	r.Invalid = []string{"results file: recovered 20 windows and 0 steps; 1,204 bytes from offset 88,113 on are damaged: the checksum does not fit"}
	return Document{Title: hostile, Series: []Series{{Name: hostile, Runs: []*result.Run{r}}}}
}

const hostile = `</script><script>alert("x")</script><img src="http://evil.example/x">` + "\x1b[2J\u2028"

// made is a run of so many seconds in steps of the rates, of a server that saturates at 1800/s and
// answers slower by a factor.
func made(seed uint64, seconds int, slower float64, rates ...float64) *result.Run {
	random := rand.New(rand.NewPCG(seed, 1))
	r := &result.Run{
		Asked: result.Asked{
			Target: "http://127.0.0.1:8000", Model: "demo", Version: "3", Body: "binary", Profile: fmt.Sprintf("poisson %v/s for %ds", rates, seconds),
			Seed: seed, Connections: 1024, Timeout: time.Second, Inputs: "generated from the signature", Cache: "bypass",
		},
		Began:     time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC),
		Took:      time.Duration(seconds) * time.Second,
		Generator: result.Generator{Delay: result.NewHistogram(), CPU: time.Duration(seconds) * 210 * time.Millisecond},
		Server:    result.Server{CPU: time.Duration(seconds) * 800 * time.Millisecond, Memory: 321 << 20, Hits: 12, Lookups: 4000, Checked: 40},
	}
	each := time.Duration(seconds) * time.Second / time.Duration(len(rates))
	windows := make([]result.Window, seconds)
	for i := range windows {
		windows[i] = result.Window{Begin: time.Duration(i) * time.Second, Outcomes: map[result.Outcome]uint64{}, OK: result.NewHistogram()}
	}
	for i, rate := range rates {
		s := result.Step{Name: fmt.Sprintf("%.0f/s", rate), Duration: each, Rate: rate, Outcomes: map[result.Outcome]*result.Latency{}}
		for n := range int(rate * each.Seconds()) {
			start := time.Duration(i)*each + time.Duration(float64(n)/rate*float64(time.Second))
			request(r, &s, &windows[min(seconds-1, int(start.Seconds()))], random, rate/1800, slower)
		}
		s.Arrived = s.Count(result.OK)
		r.Steps = append(r.Steps, s)
	}
	for i := range windows {
		windows[i].OK.Pack()
	}
	r.Windows = windows
	return r
}

func request(r *result.Run, s *result.Step, w *result.Window, random *rand.Rand, load, slower float64) {
	outcome := result.OK
	if over := load - 1; over > 0 && random.Float64() < over {
		outcome = result.Rejected
	}
	mean := slower * (1.5 + 2*min(load, 0.98)/(1-min(load, 0.98))*0.3)
	sent := time.Duration((1 + random.ExpFloat64()*mean*math.Max(1, 3*random.NormFloat64())) * float64(time.Millisecond))
	delay := time.Duration(random.ExpFloat64() * float64(15*time.Microsecond))
	if s.Outcomes[outcome] == nil {
		s.Outcomes[outcome] = &result.Latency{Intended: result.NewHistogram(), Sent: result.NewHistogram()}
	}
	s.Outcomes[outcome].Intended.Record(sent + delay)
	s.Outcomes[outcome].Sent.Record(sent)
	r.Generator.Sent++
	r.Generator.Delay.Record(delay)
	w.Offered++
	w.Outcomes[outcome]++
	w.Inflight = int(load * mean)
	if outcome == result.OK {
		s.Rows += 2
		w.OK.Record(sent + delay)
		r.Server.Batches++
		r.Server.BatchRows += 2
		r.Server.Queue += time.Duration(0.3 * float64(sent))
		r.Server.Compute += time.Duration(0.5 * float64(sent))
	}
}
