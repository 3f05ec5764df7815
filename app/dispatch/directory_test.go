package dispatch

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pintle/pintle/app/webhook"
)

// TestDirectoryFindsWhoReceives holds the index against asking everybody.
func TestDirectoryFindsWhoReceives(t *testing.T) {
	segment := rapid.SampledFrom([]string{"a", "b", "cc"})
	stem := rapid.Custom(func(t *rapid.T) string {
		s := rapid.SampledFrom([]string{"", "", "", "."}).Draw(t, "beginning") + segment.Draw(t, "segment")
		for range rapid.IntRange(0, 2).Draw(t, "more") {
			s += "." + segment.Draw(t, "segment")
		}
		return s
	})
	pattern := rapid.Custom(func(t *rapid.T) webhook.Pattern {
		if rapid.IntRange(0, 9).Draw(t, "all") == 0 {
			return webhook.Pattern(rapid.SampledFrom([]string{"*", "**"}).Draw(t, "wildcard"))
		}
		return webhook.Pattern(stem.Draw(t, "stem") + rapid.SampledFrom([]string{"", ".*", ".**"}).Draw(t, "end"))
	})
	client := rapid.SampledFrom([]string{"", "x", "y"})
	rapid.Check(t, func(t *rapid.T) {
		d := newDirectory()
		all := map[webhook.SubscriberID]*webhook.Subscriber{}
		for range rapid.IntRange(0, 30).Draw(t, "changes") {
			id := webhook.SubscriberID(fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "id")))
			if rapid.IntRange(0, 4).Draw(t, "remove") == 0 {
				d.remove(id)
				delete(all, id)
				continue
			}
			s := &webhook.Subscriber{ID: id, ClientID: client.Draw(t, "client"), Events: rapid.SliceOfN(pattern, 1, 4).Draw(t, "events")}
			d.put(s)
			all[id] = s
		}
		var newest []webhook.SubscriberID
		for _, s := range d.list() {
			newest = append(newest, s.ID)
			if all[s.ID] != s {
				t.Fatalf("the list has %+v in place of %+v", s, all[s.ID])
			}
		}
		if len(newest) != len(all) || !slices.IsSortedFunc(newest, func(a, b webhook.SubscriberID) int { return strings.Compare(string(b), string(a)) }) {
			t.Fatalf("the list is %v of %d", newest, len(all))
		}
		for range 10 {
			e := &webhook.Event{Type: stem.Draw(t, "type"), ClientID: client.Draw(t, "event's client")}
			var want, got []webhook.SubscriberID
			for id, s := range all {
				if s.Receives(e) {
					want = append(want, id)
				}
			}
			for _, s := range d.match(e) {
				got = append(got, s.ID)
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("%s of client %q: found %v, want %v", e.Type, e.ClientID, got, want)
			}
		}
	})
}

func TestPatternsMatchSegments(t *testing.T) {
	tests := []struct {
		pattern webhook.Pattern
		yes, no []string
	}{
		{"order.created", []string{"order.created"}, []string{"order", "order.created.x", "Order.created"}},
		{"*", []string{"a", "a.b.c"}, nil},
		{"**", []string{"a", "a.b.c"}, nil},
		{"order.*", []string{"order.created", "order.x"}, []string{"order", "order.", "order.created.x", "orders.created"}},
		{"order.**", []string{"order.created", "order.created.x"}, []string{"order", "order.", "orders.x"}},
		{"a.b.*", []string{"a.b.c"}, []string{"a.b", "a.b.c.d", "a.x.c"}},
	}
	for _, tt := range tests {
		if err := tt.pattern.Validate(); err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
		}
		for _, s := range tt.yes {
			if !tt.pattern.Match(s) {
				t.Errorf("%s does not match %s", tt.pattern, s)
			}
		}
		for _, s := range tt.no {
			if tt.pattern.Match(s) {
				t.Errorf("%s matches %s", tt.pattern, s)
			}
		}
	}
	for _, bad := range []webhook.Pattern{"", "*.created", "a*", "a.*.b", "a.**.b", "a b", "a.\n", "***", "a.***"} {
		if bad.Validate() == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// TestListIsMadeOnlyAfterAChange is what makes it cost nothing to ask for.
func TestListIsMadeOnlyAfterAChange(t *testing.T) {
	d := newDirectory()
	d.put(&webhook.Subscriber{ID: "1"})
	before := d.list()
	if again := d.list(); &again[0] != &before[0] {
		t.Error("the list was made again")
	}
	if n := testing.AllocsPerRun(10, func() { d.list() }); n != 0 {
		t.Errorf("asking for it takes %v allocations", n)
	}
	replaced := &webhook.Subscriber{ID: "1"}
	d.put(replaced)
	if after := d.list(); after[0] != replaced || before[0] == replaced {
		t.Error("the list does not follow a change, or a list that was handed out does")
	}
	d.remove("1")
	if after := d.list(); len(after) != 0 {
		t.Errorf("after the last was removed the list has %d", len(after))
	}
}

// BenchmarkMatch finds the two subscribers of an event among many, who belong to
// clients with ten of them each: by a pattern of its own, and one for everything.
func BenchmarkMatch(b *testing.B) {
	for _, subscribers := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint("subscribers=", subscribers), func(b *testing.B) {
			d := newDirectory()
			for i := range subscribers {
				client, pattern := i/10, webhook.Pattern(fmt.Sprintf("order.%d.*", i))
				if i%10 == 0 {
					pattern = "*"
				}
				d.put(&webhook.Subscriber{
					ID: webhook.SubscriberID(fmt.Sprint(i)), ClientID: fmt.Sprint("client ", client), Events: []webhook.Pattern{pattern}, Active: true,
				})
			}
			e := &webhook.Event{Type: "order.11.created", ClientID: "client 1"}
			b.ReportAllocs()
			for b.Loop() {
				if got := len(d.match(e)); got != 2 {
					b.Fatal(got)
				}
			}
		})
	}
}
