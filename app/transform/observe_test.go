package transform_test

import (
	"errors"
	"testing"
	"time"

	"github.com/pintle/pintle/app/transform"
)

func TestObserverIsToldOfEveryCall(t *testing.T) {
	var errs []error
	p := newPool(t, transform.Options{Observe: func(took time.Duration, err error) {
		if took <= 0 {
			t.Errorf("it took %v", took)
		}
		errs = append(errs, err)
	}})
	_, passed := p.Filter(t.Context(), "a", ".event == \"order.paid\"", input)
	_, failed := p.Transform(t.Context(), "a", one(`error("no")`), input)
	if len(errs) != 2 || errs[0] != passed || passed != nil || !errors.Is(errs[1], failed) || failed == nil {
		t.Errorf("told of %v", errs)
	}
}
