package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

// maxSources bounds the sources of a file.
const maxSources = 256

// sourceKeys is the table of the keys of a source, in the order of
// config.example.toml.
func sourceKeys() keyTable[webhook.Source] {
	type source = webhook.Source
	return keyTable[source]{
		newKey("name", text, sourceName, func(s *source) *string { return &s.Name }),
		newKey("path", text, urlPath, func(s *source) *string { return &s.Path }),
		newKey("scheme", textOf[webhook.Scheme](""), oneOf(webhook.Schemes()...), func(s *source) *webhook.Scheme { return &s.Scheme }),
		newKey("secrets", secrets, nil, func(s *source) *[]webhook.Secret { return &s.Secrets }),
		newKey("client_id", text, clientID, func(s *source) *string { return &s.ClientID }),
		newKey("event_prefix", text, eventPrefix, func(s *source) *string { return &s.EventPrefix }),
		newKey("type_from", textOf[webhook.Place](""), place, func(s *source) *webhook.Place { return &s.TypeFrom }),
		newKey("id_from", textOf[webhook.Place](""), placeThatVaries, func(s *source) *webhook.Place { return &s.IDFrom }),
		newKey("time_from", textOf[webhook.Place](""), placeThatVaries, func(s *source) *webhook.Place { return &s.TimeFrom }),

		inherited(newKey("enabled", boolean, nil, func(s *source) *bool { return &s.Enabled })),
		inherited(newKey("validate_signature", boolean, nil, func(s *source) *bool { return &s.ValidateSignature })),
		inherited(newKey("max_clock_skew", duration, clockSkew, func(s *source) *time.Duration { return &s.MaxClockSkew })),
		inherited(newKey("max_body", size, bodySize, func(s *source) *int64 { return &s.MaxBody })),
		inherited(newKey("allow_ips", networks, nil, func(s *source) *[]netip.Prefix { return &s.AllowIPs })),
		inherited(newKey("allow_asns", asns, nil, func(s *source) *[]uint32 { return &s.AllowASNs })),
		inherited(newKey("rate_limit", number, rateLimit, func(s *source) *float64 { return &s.RateLimit })),

		newKey("hmac.header", text, headerName, func(s *source) *string { return &s.Form.Header }),
		newKey("hmac.algorithm", text, oneOf("sha256", "sha1", "sha512"), func(s *source) *string { return &s.Form.Algorithm }),
		newKey("hmac.encoding", text, oneOf("hex", "base64"), func(s *source) *string { return &s.Form.Encoding }),
		newKey("hmac.prefix", text, signaturePrefix, func(s *source) *string { return &s.Form.Prefix }),
		newKey("hmac.template", textOf[string]("\t\r\n"), template, func(s *source) *string { return &s.Form.Template }),
		newKey("hmac.timestamp_header", text, headerNameOrNone, func(s *source) *string { return &s.Form.TimestampHeader }),
		newKey("hmac.id_header", text, headerNameOrNone, func(s *source) *string { return &s.Form.IDHeader }),
	}
}

func inherited(k key[webhook.Source]) key[webhook.Source] {
	k.inherited = true
	return k
}

// keysOf are the keys that a source can have: those of hmac go with its scheme.
func keysOf(s *webhook.Source) keyTable[webhook.Source] {
	return slices.DeleteFunc(sourceKeys(), func(k key[webhook.Source]) bool {
		return s.Scheme != webhook.SchemeHMAC && strings.HasPrefix(k.name, "hmac.")
	})
}

// Endpoints returns all sources, that of the section inbound first, whose
// senders sign with the given secret.
func (c *Config) Endpoints(inboundSecret webhook.Secret) []webhook.Source {
	in := &c.Inbound
	return append([]webhook.Source{{
		Name: webhook.SourceInbound, Path: in.Path, Scheme: webhook.SchemeAgent, Secrets: []webhook.Secret{inboundSecret},
		Enabled: in.Enabled, ValidateSignature: in.ValidateSignature, MaxClockSkew: in.MaxClockSkew, MaxBody: in.MaxBody,
		AllowIPs: in.AllowIPs, AllowASNs: in.AllowASNs, RateLimit: in.RateLimit,
	}}, c.Sources...)
}

// A draft is a source as it is being read.
type draft struct {
	source webhook.Source
	// given are the names of the keys that the source has of its own.
	given map[string]bool
	label string // sources.name, or sources[n] where it has none
	where string // file:line
}

func newDraft(n int, where string) *draft {
	return &draft{
		source: webhook.Source{Scheme: webhook.SchemeAgent, Form: webhook.SignatureForm{Algorithm: "sha256", Encoding: "hex", Template: "{body}"}},
		given:  map[string]bool{}, label: fmt.Sprintf("sources[%d]", n), where: where,
	}
}

func (d *draft) set(k key[webhook.Source], value any) error {
	d.given[k.name] = true
	return k.set(&d.source, value)
}

func (d *draft) setText(k key[webhook.Source], text string) error {
	d.given[k.name] = true
	return k.setText(&d.source, text)
}

// An entry is one table of an array of tables, with the line of its header.
type entry struct {
	*document
	parts map[string]toml.Primitive
	line  int
}

// lineOf is the line of a part, or that of the header.
func (e *entry) lineOf(p toml.Primitive) int { return cmp.Or(e.document.line(p), e.line) }

// entries returns the n tables of an array of tables at the top of the file. The
// library knows only where the last one stands, so each is read from a text that
// ends before the next.
func (d *document) entries(name string, n int) []*entry {
	list := make([]*entry, n)
	text := d.text
	for i := n - 1; i >= 0; i-- {
		// What stands before a header is right if the whole is.
		part, top, _ := parse(text)
		var tables []map[string]toml.Primitive
		_ = part.meta.PrimitiveDecode(top[name], &tables) // cannot fail; see value
		part.from = part.start(top[name])
		line, _ := position(text, part.from)
		list[i] = &entry{document: part, parts: tables[i], line: line}
		text = text[:1+strings.LastIndexByte(text[:part.from], '\n')]
	}
	return list
}

// readSources takes the sources as they stand in the file.
func (l *loader) readSources(d *document, p toml.Primitive) {
	value := d.value(p)
	if list, ok := value.([]any); ok && len(list) == 0 {
		return
	}
	tables, ok := value.([]map[string]any)
	line := max(1, d.line(p))
	switch {
	case !ok:
		d.fault(line, "sources", "is a list of tables; write [[sources]] for each source, and its name and other keys below it")
		return
	case len(tables) > maxSources:
		d.fault(line, "sources", "are %d, and at most %d", len(tables), maxSources)
		return
	}
	for i, e := range d.entries("sources", len(tables)) {
		source := newDraft(i, fmt.Sprintf("%s:%d", l.config.File, e.line))
		l.name(d, source, e)
		l.drafts = append(l.drafts, source)
		source.read(d, e)
	}
}

// name names the source, if its name is right and no other has it.
func (l *loader) name(d *document, source *draft, e *entry) {
	fault := func(line int, format string, args ...any) { d.fault(line, source.label+".name", format, args...) }
	p, ok := e.parts["name"]
	if !ok {
		fault(e.line, "is missing; every source has a name")
		return
	}
	name, _ := sourceKeys().find("name")
	if err := source.set(name, e.value(p)); err != nil {
		fault(e.lineOf(p), "%v", err)
		return
	}
	label := "sources." + source.source.Name
	for _, other := range l.drafts {
		// Those that differ in no more than - and _ have the same variables.
		if variable(other.label) == variable(label) {
			fault(e.lineOf(p), "%s is another source's, and - and _ are alike", source.source.Name)
			source.source.Name = ""
			return
		}
	}
	source.label, source.source.Path = label, "/webhook/"+source.source.Name
}

// read takes the keys beside the name. Faults go to d, the whole file.
func (s *draft) read(d *document, e *entry) {
	for key, p := range e.parts {
		_, table := e.value(p).(map[string]any)
		switch {
		case key == "name":
		case key == "hmac" && table:
			for inner, p := range e.document.parts(p) {
				s.readKey(d, e, "hmac."+inner, quoted("hmac", inner), p)
			}
			s.given["hmac"] = true
		case key == "hmac":
			d.fault(e.lineOf(p), s.label+".hmac", "is a table; write hmac = { header = \"X-Signature\" }")
		default:
			s.readKey(d, e, key, quoted(key), p)
		}
	}
}

func (s *draft) readKey(d *document, e *entry, name, path string, p toml.Primitive) {
	k, ok := sourceKeys().find(name)
	if !ok {
		d.fault(e.lineOf(p), s.label+"."+path, "unknown key%s", suggest(s.label+"."+name, sourceKeys().names(s.label+".")))
	} else if err := s.set(k, e.value(p)); err != nil {
		d.fault(e.lineOf(p), s.label+"."+path, "%v", err)
	}
}

// finishSources gives the sources what they have from the section inbound, and
// finds what is wrong with their keys taken together.
func (l *loader) finishSources() {
	endpoints := l.config.Endpoints("")
	paths := map[string]string{l.config.Inbound.Path: "inbound"}
	for _, d := range l.drafts {
		for _, k := range sourceKeys() {
			if k.inherited && !d.given[k.name] {
				k.copy(&d.source, &endpoints[0])
			}
		}
		l.checkSource(d)
		if other := paths[d.source.Path]; other != "" {
			l.fault(d.where+": "+d.label+".path", "%s is also the path of %s", d.source.Path, other)
		}
		paths[d.source.Path] = d.label
		l.config.Sources = append(l.config.Sources, d.source)
	}
}

// checkSource finds what is wrong with keys of one source taken together.
func (l *loader) checkSource(d *draft) {
	s, fault := &d.source, func(key, format string, args ...any) { l.fault(d.where+": "+d.label+"."+key, format, args...) }
	empty := func(secret webhook.Secret) bool { return secret == "" }
	switch {
	case slices.ContainsFunc(s.Secrets, empty):
		fault("secrets", "must not be empty")
	case s.Scheme == webhook.SchemeNone && len(s.Secrets) > 0:
		fault("secrets", "are not used with scheme = \"none\"; leave them out, or name the scheme")
	case s.Scheme != webhook.SchemeNone && s.ValidateSignature && len(s.Secrets) == 0:
		fault("secrets", "needs at least one, here or in %s", variable(d.label+".secrets"))
	case s.Scheme != webhook.SchemeHMAC:
		if _, err := signature.NewVerifier(s.Scheme, s.Form, s.Secrets); err != nil {
			fault("secrets", "%v", err)
		}
	}
	if s.Scheme == webhook.SchemeAgent {
		for _, c := range []struct {
			key   string
			place webhook.Place
		}{{"type_from", s.TypeFrom}, {"id_from", s.IDFrom}, {"time_from", s.TimeFrom}} {
			if c.place != "" {
				fault(c.key, "is not used with scheme = \"agent\", whose requests say it in members of their own; leave it out")
			}
		}
	}
	if d.given["allow_asns"] && len(s.AllowASNs) > 0 && l.config.Inbound.ASNDatabase == "" {
		fault("allow_asns", needsDatabase)
	}
	if s.Scheme == webhook.SchemeHMAC {
		before := len(l.faults)
		checkForm(&s.Form, fault)
		if _, err := signature.NewVerifier(s.Scheme, s.Form, s.Secrets); err != nil && len(l.faults) == before {
			fault("hmac", "%v", err)
		}
		return
	}
	for name := range d.given {
		if strings.HasPrefix(name, "hmac") {
			fault("hmac", "goes with scheme = \"hmac\", and this one is %s", s.Scheme)
			break
		}
	}
	s.Form = webhook.SignatureForm{}
}

// checkForm finds what is wrong with how the senders of a source sign.
func checkForm(f *webhook.SignatureForm, fault func(key, format string, args ...any)) {
	if f.Header == "" {
		fault("hmac.header", "is missing; with scheme = \"hmac\" it names the header that carries the signature")
	}
	for _, c := range []struct{ key, header, word string }{
		{"hmac.timestamp_header", f.TimestampHeader, "{timestamp}"}, {"hmac.id_header", f.IDHeader, "{id}"},
	} {
		switch in := strings.Contains(f.Template, c.word); {
		case in && c.header == "":
			fault(c.key, "is missing; hmac.template has %s", c.word)
		case !in && c.header != "":
			fault(c.key, "is for %s, which hmac.template does not have", c.word)
		}
	}
}
