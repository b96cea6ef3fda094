package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
)

var update = flag.Bool("update", false, "write testdata anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return
	}
	gots, wants := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(gots), len(wants)) {
		if i >= len(gots) || i >= len(wants) || gots[i] != wants[i] {
			t.Fatalf("%s differs from line %d on; look at it, then run with -update:\n%s\nwant\n%s", name, i+1,
				strings.Join(gots[min(i, len(gots)):min(i+5, len(gots))], "\n"), strings.Join(wants[min(i, len(wants)):min(i+5, len(wants))], "\n"))
		}
	}
}

func TestTable(t *testing.T) {
	for name, d := range documents() {
		var b bytes.Buffer
		if err := Table(&b, d); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".txt", b.Bytes())
	}
}

// small is a document whose JSON people can read.
func small() Document {
	h := func(d time.Duration, n uint64) *result.Histogram {
		h := result.NewHistogram()
		h.RecordN(d, n)
		return h
	}
	r := &result.Run{
		Asked: result.Asked{Target: "http://127.0.0.1:8000", Model: "demo", Body: "json", Profile: "constant 2/s for 2s", Seed: 9, Connections: 4, Timeout: time.Second, Inputs: "file", Cache: "bypass"},
		Began: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC),
		Took:  2 * time.Second,
		Steps: []result.Step{{Name: "2/s", Duration: 2 * time.Second, Rate: 2, Rows: 3, Arrived: 3, Outcomes: map[result.Outcome]*result.Latency{
			result.OK: {Intended: h(10*time.Millisecond, 3), Sent: h(9*time.Millisecond, 3)}, result.Failed: {Intended: h(time.Millisecond, 1), Sent: h(time.Millisecond, 1)},
		}}},
		Windows: []result.Window{
			{Offered: 2, Outcomes: map[result.Outcome]uint64{result.OK: 2}, OK: h(10*time.Millisecond, 2), Inflight: 1},
			{Begin: time.Second, Offered: 2, Outcomes: map[result.Outcome]uint64{result.OK: 1, result.Failed: 1}, OK: h(10*time.Millisecond, 1)},
		},
		Generator: result.Generator{Sent: 4, Delay: h(time.Millisecond, 4), CPU: 200 * time.Millisecond},
		Server: result.Server{CPU: 30 * time.Millisecond, Memory: 1 << 20, Hits: 1, Lookups: 4, Batches: 2, BatchRows: 3, Checked: 1,
			Queue: 6 * time.Millisecond, Compute: 12 * time.Millisecond},
	}
	slower := *r
	slower.Steps = []result.Step{{Name: "2/s", Duration: 2 * time.Second, Rate: 2, Outcomes: map[result.Outcome]*result.Latency{
		result.OK: {Intended: h(8*time.Millisecond, 4), Sent: h(7*time.Millisecond, 4)},
	}}}
	slower.Windows, slower.Server = nil, result.Server{}
	return Document{
		Title: "small", Goal: Goal{0.99, 20 * time.Millisecond}, Verdict: Verdict{Pass, []string{"p99 held"}},
		Findings: []Finding{{"p99", "<= 20 ms", "10 ms", true}},
		Series:   []Series{{"candidate", []*result.Run{r}}, {"baseline", []*result.Run{&slower}}},
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, small()); err != nil {
		t.Fatal(err)
	}
	golden(t, "small.json", b.Bytes())
}

// Whoever reads the JSON need not tell an empty list from a missing one.
func TestJSONOfNothingHasItsLists(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, Document{Series: []Series{{Runs: []*result.Run{{}}}}}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), `": null,`) && !strings.Contains(b.String(), `"cache_hit_ratio": null`) {
		t.Errorf("JSON() has null for a list: %s", b.String())
	}
	for _, list := range []string{"reasons", "findings", "comparison", "steps", "course", "curve", "curve_sent", "bars", "invalid", "causes"} {
		if !strings.Contains(b.String(), `"`+list+`": []`) {
			t.Errorf("JSON() has no empty list %q", list)
		}
	}
}

func TestFormatNamesEveryField(t *testing.T) {
	text, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(v reflect.Type) {
		for v.Kind() == reflect.Pointer || v.Kind() == reflect.Slice || v.Kind() == reflect.Map {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct || seen[v] || v == reflect.TypeFor[time.Time]() {
			return
		}
		seen[v] = true
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Field(i).Tag.Get("json"), ",")
			if !strings.Contains(string(text), "`"+name+"`") {
				t.Errorf("FORMAT.md does not say what `%s` of %v is", name, v)
			}
			walk(v.Field(i).Type)
		}
	}
	walk(reflect.TypeFor[view]())
}

func TestVerdict(t *testing.T) {
	good, bad, stopped := &result.Run{}, &result.Run{Invalid: []string{"5 % were sent late"}}, &result.Run{Stopped: "p99 over 1s"}
	for _, c := range []struct {
		name string
		give Document
		want verdictView
	}{
		{"nothing to decide", Document{Series: []Series{{Runs: []*result.Run{good}}}}, verdictView{"", []string{}}},
		{"passed", Document{Verdict: Verdict{Pass, []string{"p99 held"}}, Series: []Series{{Runs: []*result.Run{good}}}}, verdictView{Pass, []string{"p99 held"}}},
		{"passed by figures that cannot be believed", Document{Verdict: Verdict{Pass, []string{"p99 held"}}, Series: []Series{{"baseline", []*result.Run{good, bad}}}},
			verdictView{Invalid, []string{"baseline 2: 5 % were sent late", "p99 held"}}},
		{"stopped", Document{Series: []Series{{Runs: []*result.Run{stopped}}}}, verdictView{"", []string{"run stopped early: p99 over 1s"}}},
	} {
		if got := decide(c.give); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: decide() = %v, want %v", c.name, got, c.want)
		}
	}
}

func TestComparisonIsOfRunsUnderTheSameLoad(t *testing.T) {
	a, b, c, renamed := made(1, 2, 1, 100), made(2, 2, 1, 100), made(3, 2, 1, 500), made(4, 2, 1, 100)
	renamed.Steps[0].Name = "other"
	for _, d := range []struct {
		name        string
		this, other []*result.Run
		want        int
	}{
		{"the same", []*result.Run{a}, []*result.Run{b}, len(figures) + len(wholeFigures)},
		{"the same load by other steps", []*result.Run{a}, []*result.Run{renamed}, len(wholeFigures)},
		{"another load", []*result.Run{a}, []*result.Run{c}, 0},
		{"nothing", nil, []*result.Run{c}, 0},
		{"another load besides", []*result.Run{c, a}, []*result.Run{b}, len(figures) + len(wholeFigures)},
	} {
		if got := compare(Series{"this", d.this}, Series{"other", d.other}); len(got) != d.want {
			t.Errorf("%s: compare() = %v, want %d figures", d.name, got, d.want)
		}
	}
}

// A results file that somebody has made may hold any of these.
func TestReportsOfAbsurdRuns(t *testing.T) {
	h := result.NewHistogram()
	h.RecordN(time.Hour, 1<<50)
	both := &result.Latency{Intended: h}
	for name, r := range map[string]*result.Run{
		"nothing":        {},
		"no time":        {Steps: []result.Step{{Rate: 1e9, Outcomes: map[result.Outcome]*result.Latency{result.OK: both}}}, Windows: []result.Window{{OK: h}}},
		"all of time":    {Took: math.MaxInt64, Steps: []result.Step{{Rate: 1e9, Duration: math.MaxInt64}, {Rate: 1e9, Duration: math.MaxInt64}}, Windows: []result.Window{{Begin: math.MaxInt64}}},
		"no latency":     {Steps: []result.Step{{Outcomes: map[result.Outcome]*result.Latency{result.OK: nil, result.Late: {}}}}},
		"huge counts":    {Windows: []result.Window{{Offered: math.MaxUint64, Inflight: math.MinInt, Late: math.MaxUint64, Outcomes: map[result.Outcome]uint64{result.OK: math.MaxUint64, result.Late: 1}}}},
		"absurd servers": {Server: result.Server{CPU: math.MinInt64, Hits: math.MaxUint64, Lookups: 1, Batches: 1, BatchRows: math.MaxUint64, Queue: -1, Compute: math.MaxInt64, Memory: math.MaxUint64}, Steps: []result.Step{{Duration: 1, Outcomes: map[result.Outcome]*result.Latency{result.OK: both}}}},
	} {
		d := Document{Goal: Goal{0.99, time.Second}, Series: []Series{{"a", []*result.Run{r}}, {"b", []*result.Run{r, r}}}}
		for form, write := range map[string]func(io.Writer, Document) error{"JSON": JSON, "HTML": HTML, "Table": Table} {
			if err := write(io.Discard, d); err != nil {
				t.Errorf("%s: %s() = %v", name, form, err)
			}
		}
		l := NewLive(io.Discard, LiveOptions{Terminal: true, Duration: 1})
		for _, w := range r.Windows {
			l.Window(w)
		}
	}
}

func TestNothingToCompareIsSaid(t *testing.T) {
	d := Document{Series: []Series{{"new", []*result.Run{made(1, 1, 1, 100)}}, {"old", []*result.Run{made(2, 1, 1, 200)}}}}
	var text bytes.Buffer
	if err := Table(&text, d); err != nil {
		t.Fatal(err)
	}
	if html := rendered(t, d); !strings.Contains(text.String(), apartWords) || !strings.Contains(html, apartWords) {
		t.Error("runs of different loads are compared with nothing, and nobody is told")
	}
	if html := rendered(t, twoSeries()); strings.Contains(html, apartWords) {
		t.Error("runs of the same load are said to be of different ones")
	}
}

func TestCourseOfALongRunIsThinned(t *testing.T) {
	r := &result.Run{}
	for i := range 3*maxCourse + 1 {
		h := result.NewHistogram()
		h.Record(time.Duration(i+1) * time.Millisecond)
		h.Pack()
		r.Windows = append(r.Windows, result.Window{Begin: time.Duration(i) * time.Second, Offered: 10, OK: h, Inflight: 1000000 - i, Outcomes: map[result.Outcome]uint64{result.OK: 1}})
	}
	course := buildCourse(r)
	if len(course) > maxCourse || course[1].BeginS != 4 || course[1].Offered != 10 || course[1].Achieved != 1 || course[1].LengthS != 4 || course[1].Inflight != 999996 {
		t.Errorf("%d points, the second is %+v", len(course), course[1])
	}
	if got := course[1].Latency.MaxMS; got < 8 || got > 8.01 {
		t.Errorf("the longest of seconds 4 to 7 took %v ms, want 8", got)
	}
}

// Otherwise the last milliseconds of a run would have a rate that nobody asked for.
func TestCourseEndsWithAWholeWindow(t *testing.T) {
	second := func(i int) result.Window {
		return result.Window{Begin: time.Duration(i) * time.Second, Offered: 10, Outcomes: map[result.Outcome]uint64{result.OK: 10}}
	}
	for _, c := range []struct {
		took        time.Duration
		points      int
		begin, rate float64
	}{
		{3 * time.Second, 3, 2, 10},
		{2600 * time.Millisecond, 3, 2, 10 / 0.6},
		{2005 * time.Millisecond, 2, 1, 20 / 1.005},
	} {
		course := buildCourse(&result.Run{Took: c.took, Windows: []result.Window{second(0), second(1), second(2)}})
		if last := course[len(course)-1]; len(course) != c.points || last.BeginS != c.begin || math.Abs(last.Achieved-c.rate) > 1e-9 {
			t.Errorf("a run of %v: %d points, the last %+v, want %d, the last from %v on with %v/s", c.took, len(course), last, c.points, c.begin, c.rate)
		}
	}
	if course := buildCourse(&result.Run{Took: time.Millisecond, Windows: []result.Window{second(0)}}); len(course) != 1 {
		t.Errorf("a run of a millisecond has %d points, want one", len(course))
	}
}

func TestStagesOfAServerThatSaysNothing(t *testing.T) {
	d := small()
	v := build(d)
	if v.Series[1].Runs[0].Stages != nil {
		t.Error("there are stages")
	}
	s := v.Series[0].Runs[0].Stages
	if sum := s.GeneratorMS + s.QueueMS + s.ComputeMS + s.RestMS; sum < 9.99 || sum > 10.01 {
		t.Errorf("stages take %v ms together, want the mean of 10 ms", sum)
	}
}

func rendered(t *testing.T, d Document) string {
	t.Helper()
	var b bytes.Buffer
	if err := HTML(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var (
	scripts  = regexp.MustCompile(`(?s)<script[^>]*>.*?</script>`)
	styles   = regexp.MustCompile(`(?s)<style>.*?</style>`)
	jsonData = regexp.MustCompile(`(?s)<script type="application/json" id="report">(.*?)</script>`)
)

// body is the page without scripts and styles, and its elements.
func body(t *testing.T, html string) (text string, elements []xml.StartElement) {
	t.Helper()
	markup := styles.ReplaceAllString(scripts.ReplaceAllString(html, ""), "")
	d := xml.NewDecoder(strings.NewReader(markup))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var words strings.Builder
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return words.String(), elements
		} else if err != nil {
			t.Fatalf("the page is not well formed: %v", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			elements = append(elements, token.Copy())
		case xml.CharData:
			words.Write(token)
			words.WriteByte('\n')
		}
	}
}

func TestHTMLNeedsNothingElse(t *testing.T) {
	for name, d := range documents() {
		html := rendered(t, d)
		if n := strings.Count(html, "<script"); n != 3 {
			t.Errorf("%s: %d scripts, want that of the plots, ours and the data", name, n)
		}
		for _, word := range []string{"@import", "url(", "fetch(", "XMLHttpRequest", "WebSocket", "sendBeacon", "import("} {
			if strings.Contains(html, word) {
				t.Errorf("%s: has %q", name, word)
			}
		}
		_, elements := body(t, html)
		for _, e := range elements {
			for _, a := range e.Attr {
				if slices.Contains([]string{"src", "srcset", "href", "action", "data", "poster", "background"}, a.Name.Local) && a.Value != "data:," {
					t.Errorf("%s: <%s %s=%q> refers to something outside", name, e.Name.Local, a.Name.Local, a.Value)
				}
			}
			if slices.Contains([]string{"img", "iframe", "object", "embed", "script"}, e.Name.Local) {
				t.Errorf("%s: has a <%s>", name, e.Name.Local)
			}
		}
		if len(html) > 400<<10 {
			t.Errorf("%s: %d bytes", name, len(html))
		}
	}
}

func TestHTMLEscapesWhatComesFromOutside(t *testing.T) {
	d := oneRun()
	r := d.Series[0].Runs[0]
	for _, field := range []*string{&d.Title, &d.Series[0].Name, &r.Asked.Model, &r.Asked.Version, &r.Asked.Target, &r.Asked.Profile, &r.Asked.Inputs, &r.Asked.Cache, &r.Asked.Body, &r.Stopped, &r.Steps[0].Name} {
		*field = hostile
	}
	d.Findings[0] = Finding{hostile, hostile, hostile, true}
	d.Verdict.Reasons, r.Invalid = []string{hostile}, []string{hostile}
	html := rendered(t, d)
	if strings.Count(html, "<script") != 3 || strings.Contains(html, "<img") {
		t.Error("text from outside has become markup")
	}
	text, _ := body(t, html)
	if strings.Count(text, `</script><script>alert("x")</script><img src="http://evil.example/x">?[2J?`) < 15 {
		t.Error("text from outside is not shown")
	}
}

func TestHTMLHasEveryFigure(t *testing.T) {
	for name, d := range documents() {
		text, elements := body(t, rendered(t, d))
		v := build(d)
		want := map[string]bool{}
		for _, r := range allRuns(v) {
			for _, s := range append(slices.Clone(r.Steps), r.Total) {
				if len(r.Steps) == 1 {
					s = r.Steps[0]
				}
				for _, f := range append(append(latencyRow(s.Intended), latencyRow(s.Sent)...), perSecond(s.Asked), perSecond(s.Achieved), percent(s.ErrorShare), count(s.Rows)) {
					want[f] = true
				}
				for _, n := range s.Outcomes {
					want[count(n)] = true
				}
			}
			for _, c := range r.Causes {
				if len(v.Series) == 1 && len(v.Series[0].Runs) == 1 {
					want[fmt.Sprintf("the first that was %s: %s", c.Outcome, c.Text)] = true
				}
			}
			want[cacheWords(r.Server)], want[serverWords(r.Server)], want[count(r.Generator.Sent)] = true, true, true
		}
		for _, c := range v.Comparison {
			want[figureWords[c.Figure].print(c.This)], want[figureWords[c.Figure].print(c.Other)], want[changed(c.ChangePercent)] = true, true, true
		}
		for _, why := range v.Verdict.Reasons {
			want[why] = true
		}
		for _, f := range v.Findings {
			want[f.Name], want[f.Want], want[f.Got] = true, true, true
		}
		lines := strings.Split(text, "\n")
		for f := range want {
			if !slices.Contains(lines, f) {
				t.Errorf("%s: the page does not show %q", name, f)
			}
		}
		for _, id := range []string{"load", "reach", "repeats", "latency", "rates", "curve", "bars"} {
			if !slices.ContainsFunc(elements, func(e xml.StartElement) bool {
				return e.Name.Local == "figure" && slices.ContainsFunc(e.Attr, func(a xml.Attr) bool { return a.Value == id })
			}) {
				t.Errorf("%s: no place for the plot %q", name, id)
			}
		}
	}
}

func TestHTMLCarriesTheJSON(t *testing.T) {
	for name, d := range documents() {
		var plain bytes.Buffer
		if err := JSON(&plain, d); err != nil {
			t.Fatal(err)
		}
		data := jsonData.FindStringSubmatch(rendered(t, d))
		if data == nil {
			t.Fatalf("%s: no data", name)
		}
		var got, want any
		if err := errors.Join(json.Unmarshal([]byte(data[1]), &got), json.Unmarshal(plain.Bytes(), &want)); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the data of the page differ from the JSON", name)
		}
	}
}

// The page reads fields by their names in the JSON.
func TestScriptReadsFieldsThatThereAre(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, small()); err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`\b[a-z0-9]+(_[a-z0-9]+)+\b`).FindAllString(pageScript, -1) {
		if !strings.Contains(b.String(), `"`+name+`"`) {
			t.Errorf("page.js reads %q, which the JSON has not", name)
		}
	}
}

func TestPlotsAreThePublishedOnes(t *testing.T) {
	sums, err := os.ReadFile("uplot/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	embedded := map[string]string{"LICENSE": plotLicence, "uPlot.iife.min.js": plotScript, "uPlot.min.css": plotStyle}
	var want strings.Builder
	for _, name := range []string{"LICENSE", "uPlot.iife.min.js", "uPlot.min.css"} {
		fmt.Fprintf(&want, "%x  %s\n", sha256.Sum256([]byte(embedded[name])), name)
	}
	if string(sums) != want.String() {
		t.Errorf("SHA256SUMS = %s, but the files are %s", sums, want.String())
	}
	if !strings.Contains(plotLicence, "Permission is hereby granted, free of charge") {
		t.Error("the licence text is missing")
	}
}

func TestWaitsForConnectionsAreSaid(t *testing.T) {
	r := made(1, 10, 1, 100)
	r.Generator.Queued, r.Generator.Sent, r.Asked.Connections = 132, 1000, 10
	d := Document{Title: "a", Series: []Series{{Name: "run", Runs: []*result.Run{r}}}}
	var b bytes.Buffer
	if err := Table(&b, d); err != nil {
		t.Fatal(err)
	}
	if want := "run: 132 of 1,000 requests waited over a millisecond for a free connection, of which there may be 10"; !strings.Contains(b.String(), want) {
		t.Errorf("the table lacks %q:\n%s", want, &b)
	}
	r.Generator.Queued = 0
	if words := waits(d); len(words) > 0 {
		t.Errorf("where none waited it says %q", words)
	}
	r.Generator.Queued = 1
	d.Series[0].Runs = []*result.Run{r, r, r, r}
	if words := waits(d); len(words) > 0 {
		t.Errorf("of a search it says %q", words)
	}
}

func TestComparisonHasIntervals(t *testing.T) {
	with := func(name string, runs int, slower float64) Series {
		s := Series{Name: name}
		for i := range runs {
			s.Runs = append(s.Runs, made(uint64(i+1), 4, slower, 100))
		}
		return s
	}
	find := func(this, other Series, figure string) comparison {
		for _, c := range compare(this, other) {
			if c.Figure == figure {
				return c
			}
		}
		t.Fatalf("no %s is compared", figure)
		return comparison{}
	}
	if c := find(with("new", 3, 2), with("old", 3, 1), "p50_ms"); c.LowPercent != nil || c.HighPercent != nil {
		t.Errorf("of three runs it is %+v, want no interval", c)
	}
	for slower, name := range map[float64]string{1: "the same", 2: "slower"} {
		c := find(with("new", 8, slower), with("old", 8, 1), "p50_ms")
		if c.LowPercent == nil || c.HighPercent == nil || *c.LowPercent >= *c.HighPercent || (*c.LowPercent > 0) != (slower > 1) {
			t.Errorf("%s: %+v, want an interval that excludes none where there is a change, and there alone", name, c)
		}
	}
	if c := find(with("new", 8, 1), with("old", 8, 1), "error_share"); c.LowPercent != nil {
		t.Errorf("without errors their shift is %+v, want no interval", c)
	}
}
