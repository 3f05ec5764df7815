package tui

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/tui/text"
)

// rejections is the list of what was refused.
type rejections struct {
	*pager[api.Rejection]
}

func newRejections(e *env) *rejections {
	v := &rejections{newPager("rejection", "rejections", func(r *api.Rejection) string { return string(r.ID) },
		func(ctx context.Context, c Client, query string, page api.PageQuery) (api.List[api.Rejection], error) {
			return c.RejectionsPage(ctx, api.RejectionFilter{Q: query}, page)
		},
		column[api.Rejection]{title: "TIME", width: 12, keep: 9, cell: func(r *api.Rejection) cell { return cell{clockOrDay(e.now(), r.At), dim} }},
		column[api.Rejection]{title: "ANSWER", width: 21, keep: 10, cell: func(r *api.Rejection) cell { return cell{answerOf(r), severity(r.Status)} }},
		column[api.Rejection]{title: "SOURCE", width: 9, keep: 7, cell: func(r *api.Rejection) cell { return cell{sourceOf(r), plain} }},
		column[api.Rejection]{title: "CLIENT", width: 15, flexible: true, keep: 8, cell: func(r *api.Rejection) cell { return cell{clientOf(r), plain} }},
		column[api.Rejection]{title: "SKEW", width: 7, right: true, keep: 6, cell: func(r *api.Rejection) cell { return cell{skewOf(r), plain} }},
		column[api.Rejection]{title: "UNKEPT", width: 6, right: true, keep: 5, cell: func(r *api.Rejection) cell { return cell{unkeptOf(r), warn} }},
		column[api.Rejection]{title: "WHY", width: 20, flexible: true, keep: 4, cell: func(r *api.Rejection) cell { return cell{r.Message, plain} }},
		column[api.Rejection]{title: "ID", width: 30, keep: 1, cell: func(r *api.Rejection) cell { return cell{string(r.ID), dim} }},
	)}
	v.terms = "source: code: status: ip: since: until:"
	v.none = cell{e.glyphs.ok + " Nothing was refused. A request that is comes here, with the reason.", good}
	return v
}

// clockOrDay writes a time of today as [clock] does, and an older one with its
// day: rejections are few, and what is on the screen may be weeks old.
func clockOrDay(now time.Time, t api.Time) string {
	if now.UTC().Format(time.DateOnly) == t.UTC().Format(time.DateOnly) {
		return clock(t)
	}
	return t.UTC().Format("Jan _2 15:04")
}

// answerOf is the status and the code of the answer.
func answerOf(r *api.Rejection) string { return strconv.Itoa(r.Status) + " " + r.Code }

// severity is the role of a status: what the sender did wrong looks otherwise
// than what the appliance could not do.
func severity(status int) role {
	if status >= 500 {
		return bad
	}
	return warn
}

// sourceOf is the name of the source; a dash where no source has the path.
func sourceOf(r *api.Rejection) string {
	if r.Source == "" {
		return "–"
	}
	return r.Source
}

// clientOf is who sent it, as far as that is known.
func clientOf(r *api.Rejection) string {
	who := r.ClientIP
	if r.ASN != 0 {
		who += fmt.Sprintf(" AS%d", r.ASN)
	}
	if r.Organisation != "" {
		who += " " + r.Organisation
	}
	return who
}

// skewOf is how far the sender's clock was off: -6m52s was behind.
func skewOf(r *api.Rejection) string {
	if r.SkewSeconds == nil {
		return ""
	}
	span, ahead := skewSpan(*r.SkewSeconds)
	if !ahead {
		return "-" + span
	}
	return "+" + span
}

// maxSkew bounds a skew, in seconds, so that any can be counted in nanoseconds.
const maxSkew = 1 << 33

// skewSpan writes how far a clock is off, and reports whether it is ahead.
func skewSpan(seconds int64) (span string, ahead bool) {
	off := time.Duration(min(max(seconds, -maxSkew), maxSkew)) * time.Second
	return text.Span(off.Abs()), off >= 0
}

// unkeptOf is how many alike, just before it, were not kept.
func unkeptOf(r *api.Rejection) string {
	if r.Unkept == 0 {
		return ""
	}
	return "+" + text.Count(int64(r.Unkept))
}

func (v *rejections) title() string { return "Rejections" }

func (v *rejections) editing() bool { return false }

func (v *rejections) keys() []binding {
	return []binding{
		{"enter", "open"}, {"/", "filter"}, {"F", "follow"}, {"i", "only this client"}, {"y", "copy id"}, {"@", "time"}, {"F2", "filter off"},
	}
}

func (v *rejections) press(e *env, key tea.KeyPressMsg) (tea.Cmd, bool) {
	row := v.current()
	switch name := key.String(); {
	case row == nil:
	case name == "enter":
		return e.open(newRejection(row.ID, v.list)), true
	case name == "i":
		return onlyClient(e, v.inForce(), row), true
	case name == "y":
		return copyText("the rejection's id", string(row.ID)), true
	}
	return v.pager.press(e, key)
}

// onlyClient shows those of the rejections that come from the same address.
func onlyClient(e *env, query string, r *api.Rejection) tea.Cmd {
	if r.ClientIP == "" || strings.ContainsFunc(r.ClientIP, func(c rune) bool { return c <= ' ' || c == '"' }) {
		return say(info, "the address of the client is not known")
	}
	return e.goTo(rejectionsTab, withTerm(query, "ip:"+r.ClientIP))
}
