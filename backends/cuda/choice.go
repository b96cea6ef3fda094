package cuda

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/cublaslt"
	"github.com/thrumserve/thrum/backends/cuda/driver"
	"github.com/thrumserve/thrum/backends/cuda/kernels"
	"github.com/thrumserve/thrum/backends/cuda/lower"
)

// preference is what a model's products are computed by.
type preference string

const (
	fastest  preference = "fastest"  // the library or kernels, whichever has been faster when the model was loaded
	ours     preference = "kernels"  // kernels alone
	librarys preference = "cublaslt" // the library, where it has such products
)

const (
	workspaceBytes = 32 << 20         // of the device, for the library's algorithms
	candidates     = 4                // algorithms that are measured of those that the library proposes
	trialTime      = 10 * time.Second // of measuring, in the life of a version
	// batchTime is for what is measured while a batch waits for it, and others behind that: a host that knows batches
	// of milliseconds takes one of seconds for hung.
	batchTime  = 250 * time.Millisecond
	maxChoices = 4096 // products that are remembered; kernels compute what comes later
)

// products knows how the products of one version are computed. It is used by who holds the engine's mu.
type products struct {
	preference preference
	library    *cublaslt.Library // nil where kernels compute everything
	handle     *cublaslt.Handle  // nil before the first trial
	workspace  block
	choices    map[cublaslt.Product]choice
	plans      []*cublaslt.Plan // of choices, and of those that refuse has ended
	left       time.Duration    // of trialTime
	until      time.Time        // when measuring has to end
	serving    bool             // the model is loaded: batches wait for what is measured
	said       map[string]bool  // in the log
}

// choice is how a product is computed: by a kernel, if it has no plan.
type choice struct {
	plan *cublaslt.Plan
	way  cublaslt.Algorithm
}

func newProducts(l *cublaslt.Library, p preference) *products {
	if p == ours {
		l = nil
	}
	return &products{preference: p, library: l, choices: map[cublaslt.Product]choice{}, left: trialTime, said: map[string]bool{}}
}

// step is what is put on a stream: a kernel, or a product of the library's.
type step struct {
	kernel  kernels.Launch
	product *multiplication // instead of a kernel
}

// multiplication is a product of the library's that is ready to be put on a stream.
type multiplication struct {
	choice
	at        cublaslt.Operands
	workspace uint64
}

// steps returns what computes a product that way.
func (p *products) steps(of product, c choice) []step {
	return append([]step{{product: &multiplication{c, of.at, p.workspace.at}}}, kernelSteps(of.rest)...)
}

func kernelSteps(all []kernels.Launch) []step {
	steps := make([]step, len(all))
	for i, l := range all {
		steps[i].kernel = l
	}
	return steps
}

// say tells once of each reason why products are computed by kernels.
func (p *products) say(why string, err error) {
	if !p.said[why] {
		p.said[why] = true
		slog.Warn("products are computed by kernels: "+why, "error", err)
	}
}

// refuse ends the use of the library. Graphs that have it stay as they are.
func (p *products) refuse(why string, err error) {
	p.say(why, err)
	p.library = nil
	clear(p.choices)
}

// close forgets all plans.
func (p *products) close() error {
	var all []error
	for _, plan := range p.plans {
		all = append(all, plan.Close())
	}
	if p.handle != nil {
		all = append(all, p.handle.Close())
	}
	return errors.Join(all...)
}

// report tells how many of the products of a model that is loaded the library computes, and how many kernels.
func (p *products) report(purpose string) {
	count := map[bool]int{}
	for _, c := range p.choices {
		count[c.plan != nil]++
	}
	if len(p.choices) > 0 {
		slog.Info(purpose+" has measured its products", "cublaslt", count[true], "kernels", count[false])
	}
}

// steps returns what a program puts on a stream: products as has been chosen, all else by kernels.
func (e *engine) steps(b binding, p *lower.Program) ([]step, error) {
	var all []step
	for _, o := range p.Ops {
		if of, ok := b.product(o); ok && o.Out[0].Elements() > 0 {
			if c := e.products.choices[of.described]; c.plan != nil {
				all = append(all, e.products.steps(of, c)...)
				continue
			}
		}
		launches, err := b.launches(&lower.Program{Ops: []*lower.Op{o}})
		if err != nil {
			return nil, err
		}
		all = append(all, kernelSteps(launches)...)
	}
	return all, nil
}

// choose decides how the products of a program are computed that have not been met before: each way is tried on
// made-up numbers in the memory where a run has its operands. No batch is computed meanwhile.
func (e *engine) choose(b binding, x *executable, l *lane) error {
	unknown := e.unknown(b, x.program)
	if len(unknown) == 0 {
		return nil
	}
	e.submit.Lock()
	defer e.submit.Unlock()
	if _, err := e.timed(func() error { return nil }); err != nil { // what is under way has scratch memory in use
		return e.failed(err)
	}
	if err := e.openProducts(x); err != nil || e.products.library == nil {
		return err
	}
	var err error
	start := time.Now()
	e.products.begin(start)
	for _, o := range unknown {
		if err == nil {
			err = e.decide(b, o)
		}
	}
	e.products.left -= time.Since(start)
	// What pads a batch are rows of earlier ones, and made-up numbers are none.
	return e.failed(errors.Join(err, e.context.Fill(l.memory.at, make([]byte, l.memory.bytes))))
}

// unknown returns the products of a program of which nothing is known yet.
func (e *engine) unknown(b binding, p *lower.Program) []*lower.Op {
	if e.products.library == nil || len(e.products.choices) >= maxChoices {
		return nil
	}
	var all []*lower.Op
	for _, o := range p.Ops {
		of, ok := b.product(o)
		if _, met := e.products.choices[of.described]; ok && !met && o.Out[0].Elements() > 0 {
			all = append(all, o)
		}
	}
	return all
}

// openProducts makes the library ready for its first trial. It takes workspace where that leaves enough for the batches
// of x.
func (e *engine) openProducts(x *executable) error {
	p := e.products
	if p.handle != nil {
		return nil
	}
	var err error
	if p.handle, err = p.library.NewHandle(); err != nil {
		p.refuse("the library does not start", err)
		return e.unless(err)
	}
	if batches := lanes * uint64(aligned(x.layout.batch)); e.account.Free() < workspaceBytes+batches {
		return nil
	}
	at, err := e.alloc(workspaceBytes)
	if err == nil {
		p.workspace = block{at, workspaceBytes}
	}
	if errors.Is(err, backends.ErrUnavailable) { // there are algorithms that need none
		return e.unless(err)
	}
	return err
}

// unless returns err if it stays, and has the process end then.
func (e *engine) unless(err error) error {
	if failed := e.failed(err); driver.Sticky(failed) {
		return failed
	}
	return nil
}

// begin says until when may be measured.
func (p *products) begin(now time.Time) {
	limit := p.left
	if p.serving {
		limit = min(limit, batchTime)
	}
	p.until = now.Add(limit)
}

func (p *products) late() bool { return !time.Now().Before(p.until) }

// decide measures the ways to compute o, within the time that is left.
func (e *engine) decide(b binding, o *lower.Op) error {
	of, _ := b.product(o)
	p := e.products
	if _, met := p.choices[of.described]; met || p.library == nil {
		return nil
	}
	if p.late() {
		p.choices[of.described] = choice{}
		p.say(fmt.Sprintf("measuring has taken %v, or %v while a batch waits", trialTime, batchTime), nil)
		return nil
	}
	c, err := e.trial(b, o, of)
	p.choices[of.described] = c
	return err
}

// trial returns the fastest way to compute o of those whose results are the kernel's.
func (e *engine) trial(b binding, o *lower.Op, of product) (choice, error) {
	p := e.products
	plan, ways, err := p.proposals(of)
	if err != nil {
		p.say("the library has no such products", err)
		return choice{}, e.unless(err)
	}
	best, err := e.fastest(b, o, of, plan, ways)
	if best.plan == nil {
		return best, e.failed(errors.Join(err, plan.Close()))
	}
	p.plans = append(p.plans, plan)
	return best, e.failed(err)
}

// proposals returns what the library offers for a product.
func (p *products) proposals(of product) (*cublaslt.Plan, []cublaslt.Algorithm, error) {
	plan, err := p.handle.Plan(of.described)
	if err != nil {
		return nil, nil, err
	}
	ways, err := plan.Algorithms(uint64(p.workspace.bytes), candidates)
	if err != nil {
		return nil, nil, errors.Join(err, plan.Close())
	}
	return plan, ways, nil
}

// fastest measures a kernel and ways of the library's.
func (e *engine) fastest(b binding, o *lower.Op, of product, plan *cublaslt.Plan, ways []cublaslt.Algorithm) (best choice, err error) {
	p := e.products
	launches, err := b.launches(&lower.Program{Ops: []*lower.Op{o}})
	if err != nil {
		return best, err
	}
	t, err := e.newTrial(b, o, of)
	if err != nil {
		return best, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	if err := t.reference(kernelSteps(launches), p.preference); err != nil {
		return best, err
	}
	for i, way := range ways {
		if i > 0 && p.late() {
			break
		}
		c := choice{plan, way}
		faster, err := t.faster(p.steps(of, c))
		switch {
		case cublaslt.Refused(err):
			p.say("the library does not do them", err)
		case err != nil:
			return choice{}, err
		case faster:
			best = c
		}
	}
	if best.plan == nil || p.preference == librarys {
		return best, nil
	}
	if beaten, err := t.beaten(kernelSteps(launches)); beaten || err != nil {
		return choice{}, err
	}
	return best, nil
}
