package gateway

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/strictjson"
	"github.com/pintle/pintle/app/webhook"
)

// A visit is one request on its way through the checks, with what is known of
// it by then: what is kept of a refused one is made from that.
type visit struct {
	g     *Gateway
	rules *rules
	r     *http.Request
	now   time.Time
	share share

	source       *source             // nil: no source has the path
	client, peer netip.Addr          // the zero Addr until they are looked at
	body         []byte              // what was read of it
	members      []strictjson.Member // of the body, those that something is read from
	message      signature.Message
	// skew is how far the request's time is ahead of ours, in seconds; nil
	// until it is known.
	skew      *int64
	eventType string
	senderKey string
}

// sourceName is empty where no source has the path.
func (v *visit) sourceName() string {
	if v.source == nil {
		return ""
	}
	return v.source.Name
}

// addrText writes an address, the zero Addr as nothing.
func addrText(addr netip.Addr) string {
	if !addr.IsValid() {
		return ""
	}
	return addr.String()
}

// checkHead makes the checks that need no body, in their order.
func (v *visit) checkHead() error {
	switch {
	case v.source == nil:
		return reject(unknownSource, "there is no source at this path")
	case !v.source.Enabled:
		return reject(inboundDisabled, "this endpoint receives nothing at the moment").by("%s = false", v.source.setting("enabled"))
	case v.r.Method != http.MethodPost:
		return reject(methodNotAllowed, "events are posted")
	}
	if err := checkMediaType(v.r.Header); err != nil {
		return err
	}
	if err := v.checkAddress(); err != nil {
		return err
	}
	if err := v.checkRate(); err != nil {
		return err
	}
	fields := 0
	for _, values := range v.r.Header {
		fields += len(values)
	}
	if fields > maxHeaders {
		return reject(tooManyHeaders, "the request has %d header fields; at most %d are read", fields, maxHeaders)
	}
	return nil
}

func checkMediaType(header http.Header) error {
	if strings.Join(header.Values("Content-Encoding"), "") != "" {
		return reject(unsupportedMediaType, "the body must not be encoded")
	}
	values := header.Values("Content-Type")
	if len(values) != 1 {
		return reject(unsupportedMediaType, "the Content-Type must be application/json")
	}
	if values[0] == "application/json" { // what nearly everybody sends
		return nil
	}
	mediaType, parameters, err := mime.ParseMediaType(values[0])
	if err != nil || mediaType != "application/json" && !strings.HasSuffix(mediaType, "+json") {
		return reject(unsupportedMediaType, "the Content-Type must be application/json")
	}
	if charset, ok := parameters["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return reject(unsupportedMediaType, "the charset must be UTF-8")
	}
	return nil
}

func (v *visit) checkAddress() error {
	var keys []string
	var asn uint32
	if len(v.source.AllowIPs) > 0 {
		keys = append(keys, "allow_ips")
	}
	if len(v.source.AllowASNs) > 0 {
		keys = append(keys, "allow_asns")
		asn, _ = v.rules.asns.Lookup(v.client)
	}
	if v.source.allowlist.Allows(v.client, asn) {
		return nil
	}
	return reject(ipNotAllowed, "requests from %s are not let in", v.client).by("%s", v.source.setting(keys...))
}

func (v *visit) checkRate() error {
	if v.source.RateLimit == 0 {
		return nil
	}
	after, ok := v.g.rates.Allow(v.source.Name, v.client, v.source.RateLimit, v.now)
	if ok {
		return nil
	}
	refused := reject(rateLimited, "more than %g requests a second come from %s; nothing was stored, try again later", v.source.RateLimit, v.client).
		by("%s = %g", v.source.setting("rate_limit"), v.source.RateLimit)
	refused.after = max(after, time.Second)
	return refused
}

// checkSender finds whether the sender is who he says, and whether the request
// is of now.
func (v *visit) checkSender(read *reading) error {
	proof := v.source.verifier.Claims(v.message)
	if v.source.ValidateSignature {
		v.measure(read, proof) // for the operator, should the signature be wrong
		var err error
		if proof, err = v.source.verifier.Verify(v.message); err != nil {
			return v.unsigned(err)
		}
	}
	if proof.ID != "" && v.source.IDFrom == "" {
		if err := v.name(read, proof.ID); err != nil {
			return err
		}
	}
	if read.timestamp == 0 {
		read.timestamp = proof.Timestamp
	}
	return v.checkWindow(v.measure(read, proof))
}

// unsigned is the refusal of a request whose signature is missing or wrong.
func (v *visit) unsigned(err error) error {
	why := invalidSignature
	if errors.Is(err, signature.ErrMissing) {
		why = missingSignature
	}
	refused := reject(why, "%v", err)
	if why == invalidSignature && errors.Is(err, signature.ErrMismatch) {
		refused.message = "the signature does not match"
	}
	return refused.by("%s = true", v.source.setting("validate_signature"))
}

// measure notes how far the request's time is from ours. It is that which the
// signature vouches for; zero: there is none.
func (v *visit) measure(read *reading, proof signature.Proof) int64 {
	at := read.windowTime
	if proof.Timestamp != 0 {
		at = proof.Timestamp
	}
	if at != 0 {
		skew := at - v.now.Unix()
		v.skew = &skew
	}
	return at
}

func (v *visit) checkWindow(at int64) error {
	allowed := int64(v.source.MaxClockSkew / time.Second)
	if at == 0 || v.source.MaxClockSkew == 0 {
		return nil
	}
	skew, side := *v.skew, "ahead of"
	if skew < 0 {
		skew, side = -skew, "behind"
	}
	if skew <= allowed {
		return nil
	}
	return reject(outsideWindow, "the timestamp is %d seconds %s our clock; at most %d are allowed", skew, side, allowed).
		by("%s = %s", v.source.setting("max_clock_skew"), webhook.FormatDuration(v.source.MaxClockSkew))
}

// name notes the name by which the sender would recognise the event.
func (v *visit) name(read *reading, id string) error {
	if !webhook.ValidSenderID(id) {
		return reject(invalidID, "the sender's id must be 1 to 128 printable characters")
	}
	read.id, v.senderKey = id, id
	return nil
}

// proxyHint says what an operator overlooks most: that the request came through
// a proxy whose word is not taken.
func (v *visit) proxyHint() string {
	if v.r.Header.Get("X-Forwarded-For") == "" || v.rules.proxies.Trusts(v.peer) {
		return ""
	}
	return fmt.Sprintf("it came with X-Forwarded-For from %s, which is not in inbound.trusted_proxies, so that address counts", v.peer)
}
