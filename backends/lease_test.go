package backends

import (
	"sync"
	"testing"
)

func TestLeaseFreesOnceAfterTheLastHolder(t *testing.T) {
	freed := 0
	l := NewLease(func() { freed++ })
	l.Retain(99)
	var holders sync.WaitGroup
	for range 99 {
		holders.Go(l.Release)
	}
	holders.Wait()
	if freed != 0 {
		t.Fatalf("freed %d times while held", freed)
	}
	l.Release()
	if freed != 1 {
		t.Errorf("freed %d times, want once", freed)
	}
}

func TestLeaseMisuseIsLoud(t *testing.T) {
	for situation, misuse := range map[string]func(*Lease){
		"released too often":     (*Lease).Release,
		"retained after the end": func(l *Lease) { l.Retain(1) },
		"renewed while held":     func(l *Lease) { l.Renew(func() {}); l.Renew(func() {}) },
	} {
		l := NewLease(func() {})
		l.Release()
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", situation)
				}
			}()
			misuse(l)
		}()
	}
}

func TestNoLeaseIsNoTrouble(t *testing.T) {
	var l *Lease
	l.Retain(3)
	l.Release()
	Batch{}.Release()
}

func TestARenewedLeaseFreesAgain(t *testing.T) {
	var l Lease
	freed := 0
	for range 3 {
		l.Renew(func() { freed++ })
		l.Retain(1)
		l.Release()
		l.Release()
	}
	if freed != 3 {
		t.Errorf("freed %d times, want 3", freed)
	}
}
