package onnx

import "testing"

func TestEveryOperatorHasAShapeRule(t *testing.T) {
	for _, o := range Operators() {
		if ruleOf(&Node{Domain: o.Domain, Op: o.Op}) == nil {
			t.Errorf("operator %s of %s has no shape rule", o.Op, domainName(o.Domain))
		}
		if o.First < 1 || o.Last < o.First {
			t.Errorf("operator %s can be used at opsets %d to %d", o.Op, o.First, o.Last)
		}
	}
	for id := range shapeRules {
		if schemas()[id] == nil {
			t.Errorf("operator %s of %s has a shape rule but no schema", id.op, domainName(id.domain))
		}
	}
}
