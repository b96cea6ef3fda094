package scenario

// Verdict is what a load test ends with.
type Verdict string

// The verdicts, the worse the later.
const (
	Pass     Verdict = "pass"
	Unstable Verdict = "unstable" // it cannot be told
	Fail     Verdict = "fail"
	Invalid  Verdict = "invalid" // the figures cannot be believed
)

// Code is the exit code of a verdict.
func (v Verdict) Code() int {
	switch v {
	case Pass:
		return 0
	case Invalid:
		return 2
	case Unstable:
		return 3
	default:
		return 1
	}
}

// Worst returns the worst of verdicts, Pass if there are none.
func Worst(verdicts ...Verdict) Verdict {
	worst := Pass
	rank := map[Verdict]int{Pass: 0, Unstable: 1, Fail: 2, Invalid: 3}
	for _, v := range verdicts {
		if rank[v] > rank[worst] {
			worst = v
		}
	}
	return worst
}
