package transform

import "slices"

const (
	// probation is how many calls in a row must end well until an owner is trusted
	// again after one that was exhausted.
	probation = 32
	// maxSuspects bounds the owners that are remembered for it.
	maxSuspects = 4096
)

// An owner is in whose name expressions run.
type owner struct {
	name    string
	waiting []*call
	running int
	// probation is how many calls have to end well until it is trusted.
	probation int
}

// enqueue puts the call behind those of its owner.
func (p *Pool) enqueue(name string, c *call) {
	o := p.owners[name]
	if o == nil {
		o = &owner{name: name}
		p.owners[name] = o
	}
	c.owner = o
	if len(o.waiting) == 0 {
		p.turns = append(p.turns, o)
	}
	o.waiting = append(o.waiting, c)
}

// withdraw takes back a call that has no place.
func (p *Pool) withdraw(c *call) {
	o := c.owner
	i := slices.Index(o.waiting, c)
	if i < 0 {
		return
	}
	o.waiting = slices.Delete(o.waiting, i, i+1)
	if len(o.waiting) == 0 {
		p.turns = slices.DeleteFunc(p.turns, func(other *owner) bool { return other == o })
		p.forget(o)
	}
}

// forget drops an owner of whom there is nothing to remember.
func (p *Pool) forget(o *owner) {
	if o.running == 0 && len(o.waiting) == 0 && (o.probation == 0 || len(p.owners) > maxSuspects) {
		delete(p.owners, o.name)
	}
}

// next takes the call whose turn it is out of the queue; nil: none may begin.
//
// Owners take turns. Those that are not trusted leave one child to the others,
// whether these have something to run or not: a child that they exhaust is gone
// for as long as an expression may take. Where there is one child only, they wait
// until nobody else does.
func (p *Pool) next() *call {
	for i, o := range p.turns {
		suspect := o.probation > 0
		if suspect && !p.maySuspectRun() {
			continue
		}
		c := o.waiting[0]
		o.waiting[0] = nil
		o.waiting = o.waiting[1:]
		p.turns = slices.Delete(p.turns, i, i+1)
		if len(o.waiting) > 0 {
			p.turns = append(p.turns, o)
		}
		o.running++
		if c.suspect = suspect; suspect {
			p.suspects++
		}
		return c
	}
	return nil
}

// maySuspectRun reports whether a call of an owner that is not trusted may begin.
func (p *Pool) maySuspectRun() bool {
	if p.o.Workers > 1 {
		return p.suspects < p.o.Workers-1
	}
	return !slices.ContainsFunc(p.turns, func(o *owner) bool { return o.probation == 0 })
}
