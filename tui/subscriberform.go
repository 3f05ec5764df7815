package tui

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// newSubscriberForm is where a subscriber is added, or an old one changed. Done
// is told what came of it.
func newSubscriberForm(e *env, old *api.Subscriber, done func(api.Subscriber) tea.Cmd) *form {
	f := &form{name: "New subscriber", verb: "add it", need: webhook.Administrator}
	secretHelp := "Signs the deliveries. Empty: one is made, and shown to you."
	was := api.Subscriber{Active: true, Hold: true, AutoPause: true}
	if old != nil {
		f.name, f.verb = "Edit "+nameOf(old), "save it"
		secretHelp = "Signs the deliveries. Empty: it stays as it is. The old one ends at once; i in the list lets both hold for a while."
		was = *old
	}
	f.fields = append(subscriberFields(&was, secretHelp), particularFields(&was)...)
	f.send = func(f *form) func(context.Context) (func() tea.Cmd, error) {
		change, any := subscriberChange(f, was.Headers)
		if !any {
			return nil
		}
		return func(ctx context.Context) (func() tea.Cmd, error) {
			var answer api.Subscriber
			var err error
			if old == nil {
				answer, err = e.client.AddSubscriber(ctx, change)
			} else {
				answer, err = e.client.UpdateSubscriber(ctx, was.ID, change)
			}
			return func() tea.Cmd { return done(answer) }, err
		}
	}
	return f
}

// subscriberFields are the fields that every subscriber has, with what the domain says of
// each.
func subscriberFields(s *api.Subscriber, secretHelp string) []*field {
	timeout, concurrency := "", ""
	if s.Timeout != 0 {
		timeout = s.Timeout.String()
	}
	if s.Concurrency != 0 {
		concurrency = strconv.Itoa(s.Concurrency)
	}
	old := s.Headers
	return []*field{
		newLine("url", "URL", s.URL, "Where deliveries are posted; http or https.", func(v string) error {
			return rule("url", webhook.Subscriber{URL: strings.TrimSpace(v)})
		}),
		newLines("description", "Description", s.Description, "For people; the first line is its name. An empty line, or tab, goes on.", func(v string) error {
			return rule("description", webhook.Subscriber{Description: v})
		}),
		newLines("events", "Events", joined(s.Events, "\n"), "Types such as order.created, order.*, order.** or *, with commas or one per line. An empty line, or tab, goes on.", func(v string) error {
			return rule("events", webhook.Subscriber{Events: patterns(v)})
		}),
		newLine("client_id", "Client", s.ClientID, "Receives this client's events too. Empty: only those of no client.", func(v string) error {
			return rule("client_id", webhook.Subscriber{ClientID: strings.TrimSpace(v)})
		}),
		newLine("secret", "Secret", "", secretHelp, func(v string) error {
			if v = strings.TrimSpace(v); v == "" {
				return nil
			}
			return rule("secret", webhook.Subscriber{Secret: webhook.Secret(v)})
		}).hide(),
		newLines("headers", "Headers", headerLines(old), "Sent with every delivery, one per line: Name: value. "+hiddenValue+" keeps a value that is hidden.", func(v string) error {
			headers, err := parseHeaders(v, old)
			if err != nil {
				return err
			}
			return rule("headers", webhook.Subscriber{Headers: headers})
		}),
		newLine("timeout", "Timeout", timeout, "Of a whole request, such as 5s. Empty: the configured one.", func(v string) error {
			timeout, err := parseWait(strings.TrimSpace(v))
			if err != nil {
				return err
			}
			return rule("timeout", webhook.Subscriber{Timeout: time.Duration(timeout)})
		}),
		newLine("concurrency", "Concurrency", concurrency, "Requests in flight at most. Empty: the configured number.", func(v string) error {
			n, err := parseCount(strings.TrimSpace(v))
			if err != nil {
				return err
			}
			return rule("concurrency", webhook.Subscriber{Concurrency: n})
		}),
		newLine("schedule", "Schedule", schedule(s.Schedule), "The wait before each retry: 1s, 5s, 30s, 2m. Empty: the configured one.", func(v string) error {
			waits, err := parseSchedule(v)
			if err != nil {
				return err
			}
			var schedule webhook.Schedule
			for _, wait := range waits {
				schedule = append(schedule, time.Duration(wait))
			}
			return rule("schedule", webhook.Subscriber{Schedule: schedule})
		}),
		newChoice("final_on_4xx", "4xx is final", yesNo(s.FinalOn4xx), "Whether an answer 4xx is not tried again, save 408, 425 and 429. Left and right choose.", "no", "yes"),
		newChoice("active", "Active", yesNo(s.Active), "No pauses it: its deliveries are made, and wait. Left and right choose.", "yes", "no"),
	}
}

func yesNo(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

// rule is what the domain says of one field.
func rule(name string, s webhook.Subscriber) error {
	var faults webhook.FieldsError
	if errors.As(s.Validate(), &faults) && faults[name] != "" {
		return errors.New(faults[name])
	}
	return nil
}

// subscriberChange is what was changed in the form, and whether anything was.
// All of it has been checked.
func subscriberChange(f *form, old map[string]string) (c api.SubscriberChange, any bool) {
	for _, field := range f.fields {
		if !field.changed() {
			continue
		}
		any = true
		value := strings.TrimSpace(field.value())
		yes := value == "yes"
		switch field.name {
		case "url":
			c.URL = &value
		case "description":
			c.Description = &value
		case "events":
			events := patterns(value)
			c.Events = &events
		case "client_id":
			c.ClientID = &value
		case "secret":
			if value != "" {
				c.Secret = &value
			}
		case "headers":
			headers, _ := parseHeaders(value, old)
			c.Headers = &headers
		case "timeout":
			timeout, _ := parseWait(value)
			c.Timeout = &timeout
		case "concurrency":
			n, _ := parseCount(value)
			c.Concurrency = &n
		case "schedule":
			waits, _ := parseSchedule(value)
			c.Schedule = &waits
		case "final_on_4xx":
			c.FinalOn4xx = &yes
		case "active":
			c.Active = &yes
		default:
			changeParticular(&c, field)
		}
	}
	return c, any
}

// words are what stands between commas and white space.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
}

func patterns(s string) []webhook.Pattern {
	list := []webhook.Pattern{}
	for _, word := range words(s) {
		list = append(list, webhook.Pattern(word))
	}
	return list
}

// headerLines writes headers one per line, those that may carry a credential
// without their value.
func headerLines(headers map[string]string) string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		lines = append(lines, name+": "+shownValue(name, headers[name]))
	}
	return strings.Join(lines, "\n")
}

// parseHeaders reads headers as they are written in the form; a hidden value
// stands for the old one. What is wrong is said without a value, which may be
// one that nobody should see.
func parseHeaders(s string, old map[string]string) (map[string]string, error) {
	headers := map[string]string{}
	seen := map[string]bool{}
	n := 0
	for line := range strings.SplitSeq(s, "\n") {
		n++
		if strings.TrimSpace(line) == "" {
			continue
		}
		name, value, found := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !found || name == "" {
			return nil, fmt.Errorf("line %d is not Name: value", n)
		}
		if seen[strings.ToLower(name)] {
			return nil, fmt.Errorf("line %d names a header for the second time", n)
		}
		seen[strings.ToLower(name)] = true
		if value == hiddenValue {
			if value, found = old[name]; !found {
				return nil, fmt.Errorf("line %d has no value yet that %s could stand for", n, hiddenValue)
			}
		}
		headers[name] = value
	}
	return headers, nil
}

func parseWait(s string) (api.Duration, error) {
	var wait api.Duration
	if s == "" {
		return 0, nil
	}
	err := wait.UnmarshalText([]byte(s))
	return wait, err
}

func parseCount(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, errors.New("not a whole number")
	}
	return n, nil
}

func parseSchedule(s string) ([]api.Duration, error) {
	waits := []api.Duration{}
	for _, word := range words(s) {
		wait, err := parseWait(word)
		if err != nil {
			return nil, err
		}
		waits = append(waits, wait)
	}
	return waits, nil
}
