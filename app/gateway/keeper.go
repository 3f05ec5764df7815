package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/webhook"
)

// How many refusals are kept and logged: of those that are alike, which come
// from one client to one source for one reason, and of all. More than these are
// answered and counted, and no more than that, so that a flood fills neither
// the file nor the log, and does not wash away what came before it.
const (
	alikeBurst = 100
	alikeRate  = 0.2 // a second
	allBurst   = 1000
	allRate    = 20 // a second
	// Those that no source has to do with are bounded apart, and more tightly:
	// whoever tries the paths of other programs is not to hide why a sender is
	// refused.
	strayAlikeBurst = 10
	strayBurst      = 200
	strayRate       = 1 // a second
	// maxAlike bounds the memory of what is alike.
	maxAlike = 8192
	// searchBurst and searchRate bound how often the cause of a wrong signature is
	// looked for: that takes milliseconds, of which the sender chooses how many.
	searchBurst = 20
	searchRate  = 4 // a second
	unsearched  = "the cause was not looked for: too many signatures were wrong at that moment"
)

const (
	// maxHead bounds what is kept of a header, save that its last line is kept
	// whole, and maxValue one value of it, in bytes.
	maxHead  = 2048
	maxValue = 200
	maxText  = 512 // of any other text
	// shownSignature is how much of a signature is kept, in bytes: enough to
	// compare it with the sender's.
	shownSignature = 24
)

// keeper keeps what was refused.
type keeper struct {
	o Options
	// explaining is held while it is looked for why a signature is wrong, which
	// takes megabytes and some tens of milliseconds.
	explaining *semaphore.Weighted
	searches   *rate.Limiter // how often that is done

	mu         sync.Mutex
	all, stray *rate.Limiter
	alike      *lru.Cache[alike, *group]
}

// alike tells refusals apart.
type alike struct {
	source string
	client netip.Addr
	code   string
}

// A group are the refusals that are alike.
type group struct {
	limiter *rate.Limiter
	// last is the one that was kept last, and unkept how many have come since.
	last   webhook.RejectionID
	unkept int
}

func newKeeper(o Options) *keeper {
	cache, err := lru.New[alike, *group](maxAlike)
	if err != nil {
		panic(err) // only a size that is not positive is an error
	}
	return &keeper{
		o: o, explaining: semaphore.NewWeighted(1), searches: rate.NewLimiter(searchRate, searchBurst),
		all: rate.NewLimiter(allRate, allBurst), stray: rate.NewLimiter(strayRate, strayBurst), alike: cache,
	}
}

// refuse keeps a refused request, if it is to be kept, and returns the id that
// the sender is told. One that is not kept is answered with the id of the last
// one like it that was: under that id the reason can be looked up.
func (k *keeper) refuse(v *visit, why *rejection) webhook.RejectionID {
	id, unkept, keep := k.admit(alike{v.sourceName(), security.Network(v.client), why.code}, v.now)
	if !keep {
		return id
	}
	level := slog.LevelInfo
	if why.status >= 500 {
		level = slog.LevelError
	}
	r := v.rejection(why)
	r.ID, r.Unkept = id, unkept
	k.o.Logger.LogAttrs(v.r.Context(), level, "request refused", logged(&r, why.err)...)
	if k.o.Keep != nil {
		// The sender may have gone away by now, and is still worth knowing of.
		if err := k.o.Keep(context.WithoutCancel(v.r.Context()), []webhook.Rejection{r}); err != nil {
			k.o.Logger.Debug("refused request not kept", "request_id", id, "error", err)
		}
	}
	return id
}

// logged is what the log tells of a refusal; the rest can be looked up.
func logged(r *webhook.Rejection, err error) []slog.Attr {
	attrs := []slog.Attr{
		slog.Any("request_id", r.ID), slog.String("source", r.Source), slog.Int("status", r.Status), slog.String("code", r.Code),
		slog.String("reason", r.Message), slog.String("client", addrText(r.Client)),
	}
	if r.Client != r.Peer {
		attrs = append(attrs, slog.String("peer", addrText(r.Peer)))
	}
	if r.Diagnosis != "" {
		attrs = append(attrs, slog.String("diagnosis", r.Diagnosis))
	}
	if r.Unkept > 0 {
		attrs = append(attrs, slog.Int("unkept", r.Unkept))
	}
	if err != nil {
		attrs = append(attrs, slog.Any("error", err))
	}
	return attrs
}

// admit decides whether a refusal is kept.
func (k *keeper) admit(key alike, now time.Time) (id webhook.RejectionID, unkept int, keep bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	all, burst := k.all, alikeBurst
	if key.source == "" {
		all, burst = k.stray, strayAlikeBurst
	}
	g, known := k.alike.Get(key)
	if !known {
		g = &group{limiter: rate.NewLimiter(alikeRate, burst)}
		k.alike.Add(key, g)
	}
	if !g.limiter.AllowN(now, 1) || !all.AllowN(now, 1) {
		g.unkept++
		if g.last == "" {
			return k.o.IDs.Rejection(now), 0, false
		}
		return g.last, 0, false
	}
	unkept, g.unkept = g.unkept, 0
	g.last = k.o.IDs.Rejection(now)
	return g.last, unkept, true
}

// rejection is what is kept of the visit. Texts that a sender has chosen are cut
// short, made valid UTF-8, and hold no secret.
func (v *visit) rejection(why *rejection) webhook.Rejection {
	r := webhook.Rejection{
		At: v.now, Source: v.sourceName(), Status: why.status, Code: why.code, Message: why.message, Check: why.check, Rule: why.rule,
		Peer: v.peer, Client: v.client, Skew: v.skew, EventType: v.kept(v.eventType, maxText), SenderKey: v.kept(v.senderKey, maxText),
		Method: v.kept(v.r.Method, maxText), Path: v.kept(v.r.URL.Path, maxText), Header: v.head(), BodySize: int64(len(v.body)),
	}
	r.ASN, r.Organisation = v.rules.asns.Lookup(v.client)
	r.Organisation = cut(r.Organisation, maxText)
	if len(v.body) > 0 {
		digest := sha256.Sum256(v.body)
		r.BodyDigest = hex.EncodeToString(digest[:])
	}
	switch why.check {
	case webhook.CheckSignature:
		r.Expected = v.source.verifier.Expects()
		r.Diagnosis = v.kept(v.explain(), maxHead)
	case webhook.CheckAddress, webhook.CheckRate:
		r.Diagnosis = v.proxyHint()
	case webhook.CheckStorage:
		if why.err != nil {
			r.Diagnosis = cut(why.err.Error(), maxText)
		}
	}
	return r
}

// explain says why the signature is wrong. A panic costs no more than that.
func (v *visit) explain() (cause string) {
	defer func() {
		if p := recover(); p != nil {
			v.g.o.Logger.Error("panic while explaining a signature", "panic", p, "stack", string(debug.Stack()))
			cause = "the cause was not found; the log says more"
		}
	}()
	if !v.g.keeper.searches.AllowN(v.now, 1) {
		return unsearched
	}
	explaining := v.g.keeper.explaining
	if !explaining.TryAcquire(1) {
		ctx, cancel := context.WithTimeout(v.r.Context(), budgetWait)
		defer cancel()
		if explaining.Acquire(ctx, 1) != nil {
			return unsearched
		}
	}
	defer explaining.Release(1)
	return strings.Join(v.source.verifier.Explain(v.message, v.now), "; ")
}

// head is the header of the request, a line for each field, sorted by name, with
// what is nobody's to see hidden.
func (v *visit) head() string {
	names := make([]string, 0, len(v.r.Header))
	for name := range v.r.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	line := func(name, value string) {
		b.WriteString(v.kept(name, maxValue) + ": " + v.kept(value, maxValue) + "\n")
	}
	line("Host", v.r.Host)
	for _, name := range names {
		for _, value := range v.r.Header[name] {
			if b.Len() >= maxHead {
				break
			}
			line(name, v.shown(name, value))
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// shown is what may be seen of the value of a header. Of a signature that is
// its beginning, unless a secret came in its place.
func (v *visit) shown(name, value string) string {
	lower := strings.ToLower(name)
	own := v.source != nil && http.CanonicalHeaderKey(v.source.Form.Header) == name
	switch {
	case v.rules.hold(value), !own && lower != "idempotency-key" && webhook.CredentialHeader(name):
		return webhook.HiddenValue
	case own || strings.Contains(lower, "signature") || strings.Contains(lower, "hmac"):
		if len(value) > shownSignature {
			value = value[:shownSignature] + "…"
		}
	}
	return value
}

// kept is what is kept of a text that a sender has chosen: it may have put a
// secret anywhere.
func (v *visit) kept(s string, most int) string {
	if v.rules.hold(s) {
		return webhook.HiddenValue
	}
	return cut(s, most)
}

// cut returns the text without what is no UTF-8, nor a control character or the
// end of a line, and at most so many bytes of it.
func cut(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return '�'
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most-len("…")], "") + "…"
	}
	return s
}
