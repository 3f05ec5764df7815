package signature_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

// explained is when the vectors were signed.
var explained = time.Unix(vectorTime, 0)

func sum(newHash func() hash.Hash, key, text string) string {
	h := hmac.New(newHash, []byte(key))
	h.Write([]byte(text))
	return string(h.Sum(nil))
}

func hexOf(key, text string) string { return hex.EncodeToString([]byte(sum(sha256.New, key, text))) }
func base64Of(key, text string) string {
	return base64.StdEncoding.EncodeToString([]byte(sum(sha256.New, key, text)))
}

// TestExplainFindsTheCause gives, for each mistake that is known, the request
// that it makes, and expects its cause as the first reason.
func TestExplainFindsTheCause(t *testing.T) {
	const (
		secret = "postern-test-secret"
		body   = vectorBody
		rich   = `{"event":"a.b","timestamp":1731602712,"data":{"url":"https://é.example/<a>","n":1.0,"z":[1,{}],"a":[]}}`
		stamp  = vectorStamp
		signed = vectorID + "." + stamp + "."
	)
	key := func() string {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(vectorWhsec.Reveal(), "whsec_"))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}()
	agent := func(value string) map[string]string { return map[string]string{"X-Agent-Signature": value} }
	shopify := func(value string) map[string]string { return map[string]string{"X-Shopify-Hmac-Sha256": value} }
	stripe := func(value string) map[string]string { return map[string]string{"Stripe-Signature": value} }
	standard := func(value string) map[string]string { return with(stamped, "Webhook-Signature", value) }
	for _, c := range []struct {
		name   string
		scheme webhook.Scheme
		secret webhook.Secret
		header map[string]string
		body   string
		want   string
	}{
		// Another scheme.
		{"github's header for agent", webhook.SchemeAgent, secret, map[string]string{"X-Hub-Signature-256": vectorAgent}, body, "there is X-Hub-Signature-256, of the scheme github"},
		{"stripe's header for standard", webhook.SchemeStandard, vectorWhsec, stripe("t=1,v1=00"), body, "there is Stripe-Signature, of the scheme stripe"},
		{"standard for stripe", webhook.SchemeStripe, secret, standard(vectorStandard), body, "there is webhook-signature, of the scheme standard"},
		{"github's older header", webhook.SchemeGitHub, secret, map[string]string{"X-Hub-Signature": vectorSHA1}, body, "older one of SHA-1"},
		{"an unknown header", webhook.SchemeAgent, secret, map[string]string{"X-Acme-Signature": "x"}, body, "there is X-Acme-Signature"},
		{"no signature at all", webhook.SchemeAgent, secret, nil, body, "nor any other signature"},
		{"gitlab's token missing", webhook.SchemeGitLab, secret, agent(vectorAgent), body, "there is X-Agent-Signature"},

		// How it is written.
		{"no prefix", webhook.SchemeAgent, secret, agent(vectorHex), body, "lacks sha256= before the signature; apart from that it is right"},
		{"upper-case prefix", webhook.SchemeAgent, secret, agent("SHA256=" + vectorHex), body, "begins with SHA256=, which must be written sha256=; apart"},
		{"another prefix", webhook.SchemeAgent, secret, agent("v0=" + vectorHex), body, "begins with v0= in place of sha256=; apart"},
		{"a prefix where there is none", webhook.SchemeShopify, secret, shopify("sha256=" + vectorBase64), body, "begins with sha256=, which must not be there; apart"},
		{"base64 for hex", webhook.SchemeAgent, secret, agent("sha256=" + vectorBase64), body, "is written in base64 where hex digits are expected; apart"},
		{"hex for base64", webhook.SchemeShopify, secret, shopify(vectorHex), body, "is written in hex digits where base64 is expected; apart"},
		{"base64 of hex", webhook.SchemeShopify, secret, shopify(base64.StdEncoding.EncodeToString([]byte(vectorHex))), body, "was encoded twice; apart"},
		{"base64 of hex for hex", webhook.SchemeAgent, secret, agent("sha256=" + base64.StdEncoding.EncodeToString([]byte(vectorHex))), body, "was encoded twice; apart"},
		{"URL alphabet", webhook.SchemeShopify, secret, shopify(strings.NewReplacer("/", "_", "+", "-").Replace(vectorBase64)), body, "in the URL alphabet; apart"},
		{"no padding", webhook.SchemeShopify, secret, shopify(strings.TrimRight(vectorBase64, "=")), body, "without padding; apart"},
		{"cut short", webhook.SchemeAgent, secret, agent(vectorAgent[:len(vectorAgent)-8]), body, "has 56 hex digits in place of 64: it was cut or copied wrongly; apart"},
		{"odd number of digits", webhook.SchemeAgent, secret, agent(vectorAgent[:len(vectorAgent)-1]), body, "is not 64 hex digits"},
		{"quotes", webhook.SchemeAgent, secret, agent(`"` + vectorAgent + `"`), body, "has quotes around the signature; apart"},
		{"spaces", webhook.SchemeAgent, secret, agent(" " + vectorAgent), body, "has white space around the signature; apart"},
		{"empty", webhook.SchemeAgent, secret, agent("sha256="), body, "is empty"},
		{"the secret itself behind the prefix", webhook.SchemeAgent, secret, agent("sha256=" + secret), body, "carries the secret itself"},
		{"a short secret in it by chance", webhook.SchemeAgent, "66", agent(vectorAgent), body, "the body was changed on its way"},
		{"the secret itself", webhook.SchemeAgent, secret, agent(secret), body, "carries the secret itself"},
		{"standard without a version", webhook.SchemeStandard, vectorWhsec, standard(vectorStandard[len("v1,"):]), body, "lacks v1, before the signature; apart"},
		{"standard with an equals sign", webhook.SchemeStandard, vectorWhsec, standard("v1=" + vectorStandard[len("v1,"):]), body, "begins with v1= in place of v1,; apart"},
		{"standard in hex", webhook.SchemeStandard, vectorWhsec, standard("v1," + hexOf(key, signed+body)), body, "is written in hex digits where base64 is expected; apart"},
		{"standard, separated by a comma", webhook.SchemeStandard, vectorWhsec, standard(vectorOld + "," + vectorStandard), body, "something else than a space; apart"},
		{"stripe with a space", webhook.SchemeStripe, secret, stripe("t=1731602712, v1=" + vectorStampedHex), body, "space behind a comma"},
		{"v1 for a public key", webhook.SchemeStandard, vectorPublic, standard(vectorStandard), body, "only public keys (whpk_) are set"},
		{"v1a for a shared secret", webhook.SchemeStandard, vectorWhsec, standard(vectorV1a), body, "verifies, and none is set"},

		// The body.
		{"signed without the newline", webhook.SchemeAgent, secret, agent(vectorAgent), body + "\n", "signed the body without the newline at its end"},
		{"v1a, signed without the newline", webhook.SchemeStandard, vectorPublic, standard(vectorV1a), body + "\n", "signed the body without the newline at its end"},
		{"signed with the newline", webhook.SchemeAgent, secret, agent("sha256=" + hexOf(secret, body+"\n")), body, "signed the body with a newline at its end"},
		{"signed as LF", webhook.SchemeAgent, secret, agent("sha256=" + hexOf(secret, "{\n\"a\":1\n}")), "{\r\n\"a\":1\r\n}", "line ends LF"},
		{"signed as CRLF", webhook.SchemeAgent, secret, agent("sha256=" + hexOf(secret, "{\r\n\"a\":1\r\n}")), "{\n\"a\":1\n}", "line ends CRLF"},
		{"signed nothing", webhook.SchemeAgent, secret, agent("sha256=" + hexOf(secret, "")), body, "signed an empty body"},
		{"signed data", webhook.SchemeAgent, secret, agent("sha256=" + hexOf(secret, `{"order_id":"A12345"}`)), body, "signed the member data only"},
		{"signed compact", webhook.SchemeAgent, secret, agent(vectorAgent), `{"event": "order.created", "timestamp": 1731602712, "data": {"order_id": "A12345"}}`, "signed the body as compact JSON, and"},
		{"signed as Python", webhook.SchemeAgent, secret, agent("sha256=" + hexOf(secret, `{"event": "order.created", "timestamp": 1731602712, "data": {"order_id": "A12345"}}`)), body, "as Python writes it, and"},
		{"signed as Python, ASCII", webhook.SchemeAgent, secret, agent("sha256=" + hexOf(secret, `{"event": "a.b", "timestamp": 1731602712, "data": {"url": "https://\u00e9.example/<a>", "n": 1.0, "z": [1, {}], "a": []}}`)), rich, "as Python writes it, non-ASCII escaped"},
		{"signed as PHP", webhook.SchemeAgent, secret, agent("sha256=" + hexOf(secret, `{"event":"a.b","timestamp":1731602712,"data":{"url":"https:\/\/\u00e9.example\/<a>","n":1.0,"z":[1,{}],"a":[]}}`)), rich, "as PHP writes it"},
		{"signed with slashes escaped", webhook.SchemeAgent, secret, agent("sha256=" + hexOf(secret, strings.ReplaceAll(rich, "/", `\/`))), rich, "slashes escaped, and"},
		{"signed as JavaScript", webhook.SchemeAgent, secret, agent("sha256=" + hexOf(secret, strings.Replace(rich, "1.0", "1", 1))), rich, "as JavaScript writes them"},
		{"signed as Go", webhook.SchemeAgent, secret, agent("sha256=" + hexOf(secret, strings.NewReplacer("<", `\u003c`, ">", `\u003e`).Replace(rich))), rich, "as Go writes it"},
		{"signed sorted", webhook.SchemeAgent, secret, agent("sha256=" + hexOf(secret, `{"data":{"order_id":"A12345"},"event":"order.created","timestamp":1731602712}`)), body, "members sorted"},
		{"signed indented by two", webhook.SchemeAgent, secret, agent("sha256=" + hexOf(secret, "{\n  \"a\": [\n    1,\n    {}\n  ]\n}")), `{"a":[1,{}]}`, "indented by two spaces"},
		{"signed indented by four", webhook.SchemeAgent, secret, agent("sha256=" + hexOf(secret, "{\n    \"a\": 1\n}")), `{"a":1}`, "indented by four spaces"},
		{"signed unescaped, sent as PHP", webhook.SchemeAgent, secret, agent("sha256=" + hexOf(secret, `{"u":"https://é"}`)), `{"u":"https:\/\/\u00e9"}`, "as compact JSON, and"},

		// What is signed beside the body.
		{"stripe, without the timestamp", webhook.SchemeStripe, secret, stripe("t=1731602712,v1=" + vectorHex), body, "signed {body} in place of {timestamp}.{body}: the timestamp is missing"},
		{"stripe, without the dot", webhook.SchemeStripe, secret, stripe("t=1731602712,v1=" + hexOf(secret, stamp+body)), body, "signed {timestamp}{body} in place of {timestamp}.{body}"},
		{"stripe, milliseconds signed", webhook.SchemeStripe, secret, stripe("t=1731602712,v1=" + hexOf(secret, stamp+"000."+body)), body, "the timestamp in milliseconds, and sent it in seconds"},
		{"standard, body alone", webhook.SchemeStandard, vectorWhsec, standard("v1," + base64Of(key, body)), body, "the timestamp and the id are missing"},
		{"standard, without the id", webhook.SchemeStandard, vectorWhsec, standard("v1," + base64Of(key, stamp+"."+body)), body, "the id is missing"},
		{"standard, with an empty id", webhook.SchemeStandard, vectorWhsec, standard("v1," + base64Of(key, "."+stamp+"."+body)), body, "the id is missing"},
		{"standard, without the timestamp", webhook.SchemeStandard, vectorWhsec, standard("v1," + base64Of(key, vectorID+"."+body)), body, "the timestamp is missing"},
		{"agent, with the timestamp", webhook.SchemeAgent, secret, agent("sha256=" + vectorStampedHex), body, "signed {timestamp}.{body} in place of {body}"},

		// The key.
		{"standard, as written", webhook.SchemeStandard, vectorWhsec, standard("v1," + base64Of(vectorWhsec.Reveal(), signed+body)), body, "with the secret as it is written: what follows whsec_ must be decoded"},
		{"standard, the rest as written", webhook.SchemeStandard, vectorWhsec, standard("v1," + base64Of(vectorWhsec.Reveal()[6:], signed+body)), body, "with what follows whsec_ as it is written"},
		{"standard, decoded without the prefix", webhook.SchemeStandard, vectorWhsec[6:], standard(vectorStandard), body, "with what the secret is the base64 of"},
		{"agent, decoded", webhook.SchemeAgent, vectorWhsec, agent("sha256=" + hexOf(key, body)), body, "with what follows whsec_ decoded from base64"},
		{"agent, without the prefix", webhook.SchemeAgent, vectorWhsec, agent("sha256=" + hexOf(vectorWhsec.Reveal()[6:], body)), body, "with what follows whsec_ only"},
		{"agent, without the prefix of what is no base64", webhook.SchemeAgent, "whsec_no-base64", agent("sha256=" + hexOf("no-base64", body)), body, "with what follows whsec_ only"},
		{"agent, hex decoded", webhook.SchemeAgent, "c0ffee", agent("sha256=" + hexOf("\xc0\xff\xee", body)), body, "hex digits of the secret"},
		{"a newline behind the secret", webhook.SchemeAgent, secret, agent("sha256=" + hexOf(secret+"\n", body)), body, "with a newline behind the secret"},
		{"a space behind the secret", webhook.SchemeAgent, secret, agent("sha256=" + hexOf(secret+" ", body)), body, "with a space behind the secret"},
		{"our secret has a newline", webhook.SchemeAgent, secret + "\n", agent(vectorAgent), body, "without the white space around it"},
		{"an empty secret", webhook.SchemeAgent, secret, agent("sha256=" + hexOf("", body)), body, "with an empty secret"},

		// The algorithm.
		{"SHA-1", webhook.SchemeAgent, secret, agent(vectorSHA1), body, "begins with sha1= in place of sha256= and has 40 hex digits in place of 64, as SHA-1 makes"},
		{"SHA-512", webhook.SchemeAgent, secret, agent("sha256=" + hex.EncodeToString([]byte(sum(sha512.New, secret, body)))), body, "has 128 hex digits in place of 64, as SHA-512 makes"},
		{"no HMAC", webhook.SchemeAgent, secret, agent("sha256=" + plain(body)), body, "plain SHA-256 of the body"},
		{"no HMAC, of secret and body", webhook.SchemeAgent, secret, agent("sha256=" + plain(secret+body)), body, "plain SHA-256 of the secret and the body"},

		// Two mistakes.
		{"a newline, and no timestamp", webhook.SchemeStripe, secret, stripe("t=1731602712,v1=" + hexOf(secret+"\n", body)), body, "the timestamp is missing, and with a newline behind the secret"},

		// Token.
		{"token with a space", webhook.SchemeGitLab, secret, map[string]string{"X-Gitlab-Token": secret + " "}, body, "differ only in white space"},
		{"token in capitals", webhook.SchemeGitLab, secret, map[string]string{"X-Gitlab-Token": "POSTERN-TEST-SECRET"}, body, "upper and lower case"},
		{"token cut short", webhook.SchemeGitLab, secret, map[string]string{"X-Gitlab-Token": secret[:10]}, body, "cut short"},
		{"an empty token", webhook.SchemeGitLab, secret, map[string]string{"X-Gitlab-Token": ""}, body, "X-Gitlab-Token is empty"},
		{"token in quotes", webhook.SchemeGitLab, secret, map[string]string{"X-Gitlab-Token": `"` + secret + `"`}, body, "quotes around the token"},
		{"another token", webhook.SchemeGitLab, secret, map[string]string{"X-Gitlab-Token": "other"}, body, "another one than the secret: 5 characters came"},

		// Nothing that is known.
		{"another secret", webhook.SchemeAgent, "other-secret", agent(vectorAgent), body, "the body was changed on its way, or the secret is another one (the signature that came begins with 669ff96c): the body that came has 77 bytes and the SHA-256 d059d47c9d8c55fd53d0e8fa00bff39d5bc198c9493e15f7624e123ff686e598"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := verifier(t, c.scheme, webhook.SignatureForm{}, c.secret)
			m := message(c.header, c.body)
			if _, err := v.Verify(m); err == nil {
				t.Fatal("it verifies")
			}
			reasons := v.Explain(m, explained)
			if len(reasons) == 0 || !strings.Contains(reasons[0], c.want) {
				t.Errorf("got %q\nwant %s", reasons, c.want)
			}
			all := strings.Join(reasons, "\n")
			if len(c.secret) > 8 && strings.Contains(all, strings.TrimSpace(c.secret.Reveal())) {
				t.Errorf("it tells the secret: %s", all)
			}
			for _, right := range []string{vectorHex, vectorStampedHex, vectorBase64, vectorStandard[3:]} {
				if strings.Contains(all, right[:9]) {
					t.Errorf("it tells a signature: %s", all)
				}
			}
		})
	}
}

func plain(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func TestExplainNamesTheAlgorithmBehindTheForm(t *testing.T) {
	v := verifier(t, webhook.SchemeAgent, webhook.SignatureForm{}, vectorSecret)
	for value, want := range map[string]string{
		vectorSHA1: "by HMAC-SHA1 in place of HMAC-SHA256",
		"sha256=" + hex.EncodeToString([]byte(sum(sha1.New, vectorSecret.Reveal()+"\n", vectorBody))): "with a newline behind the secret",
		"sha256=" + hex.EncodeToString([]byte(sum(sha512.New, vectorSecret.Reveal(), vectorBody))):    "by HMAC-SHA512 in place of HMAC-SHA256",
	} {
		reasons := v.Explain(message(map[string]string{"X-Agent-Signature": value}, vectorBody), explained)
		if len(reasons) != 2 || !strings.Contains(reasons[1], want) {
			t.Errorf("%s: %q", value, reasons)
		}
	}
}

func TestExplainTellsTheMemberFromTheHeader(t *testing.T) {
	v := verifier(t, webhook.SchemeAgent, webhook.SignatureForm{}, vectorSecret)
	// With a header, the member is a part of what is signed.
	value := "sha256=00"
	m := message(map[string]string{"X-Agent-Signature": vectorAgent}, vectorBody[:len(vectorBody)-1]+`,"signature":"sha256=00"}`)
	m.Member, m.Unsigned = &value, []byte(vectorBody)
	if reasons := v.Explain(m, explained); len(reasons) == 0 || !strings.Contains(reasons[0], "without the member signature") {
		t.Errorf("%q", reasons)
	}
	// Without one, it is cut out.
	member := func(value string) string { return vectorBody[:len(vectorBody)-1] + `,"signature":"` + value + `"}` }
	value = hexOf(vectorSecret.Reveal(), member(""))
	m = message(nil, member(""))
	m.Member, m.Unsigned = &value, []byte(vectorBody)
	reasons := v.Explain(m, explained)
	if len(reasons) != 2 || !strings.Contains(reasons[0], "signature in the body lacks sha256=") || !strings.Contains(reasons[1], "with the member signature in it") {
		t.Errorf("%q", reasons)
	}
}

func TestExplainTellsWhatIsWrongWithTimestampAndID(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(http.Header)
		want   string
	}{
		{"no timestamp", func(h http.Header) { h.Del("Webhook-Timestamp") }, "there is no webhook-timestamp"},
		{"no id", func(h http.Header) { h.Del("Webhook-Id") }, "there is no webhook-id"},
		{"milliseconds", func(h http.Header) { h.Set("Webhook-Timestamp", vectorStamp+"000") }, "webhook-timestamp is in milliseconds"},
		{"a date", func(h http.Header) { h.Set("Webhook-Timestamp", "2024-11-14T16:45:12Z") }, "webhook-timestamp is not a number of Unix seconds"},
		{"two timestamps", func(h http.Header) { h.Add("Webhook-Timestamp", vectorStamp) }, "webhook-timestamp has 2 values"},
		{"two signatures", func(h http.Header) { h.Add("Webhook-Signature", vectorStandard) }, "has 2 values; it must have one: the sender signs twice"},
	} {
		m := message(with(stamped, "Webhook-Signature", vectorStandard), vectorBody)
		c.change(m.Header)
		if reasons := verifier(t, webhook.SchemeStandard, webhook.SignatureForm{}, vectorWhsec).Explain(m, explained); len(reasons) == 0 || !strings.Contains(reasons[0], c.want) {
			t.Errorf("%s: %q", c.name, reasons)
		}
	}
}

func TestExplainTellsThatATimestampIsStale(t *testing.T) {
	standard := verifier(t, webhook.SchemeStandard, webhook.SignatureForm{}, vectorWhsec)
	agent := verifier(t, webhook.SchemeAgent, webhook.SignatureForm{}, vectorSecret)
	signed := message(with(stamped, "Webhook-Signature", vectorStandard), vectorBody)
	body := message(map[string]string{"X-Agent-Signature": vectorAgent}, vectorBody)
	for _, c := range []struct {
		verifier *signature.Verifier
		message  signature.Message
		skew     time.Duration
		want     string
	}{
		{standard, signed, 0, ""},
		{standard, signed, 300 * time.Second, ""},
		{standard, signed, -300 * time.Second, ""},
		{standard, signed, 301 * time.Second, "the timestamp 1731602712 is 5m1s behind our clock"},
		{standard, signed, -time.Hour, "the timestamp 1731602712 is 1h0m0s ahead of our clock"},
		{agent, body, 0, ""},
		{agent, body, 12 * time.Minute, "the timestamp in the body 1731602712 is 12m0s behind our clock"},
	} {
		got := strings.Join(c.verifier.Explain(c.message, explained.Add(c.skew)), "\n")
		if !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: got %q, want %q", c.skew, got, c.want)
		}
	}
}

func TestExplainIsBounded(t *testing.T) {
	wrong := map[string]string{"X-Agent-Signature": "sha256=" + strings.Repeat("0", 64)}
	deep := strings.Repeat(`{"a":`, 60) + strings.Repeat(`[1,2,3,"é/",`, 3) + `"` + strings.Repeat("/é", 20<<10) + `"` + strings.Repeat("]", 3) + strings.Repeat("}", 60)
	v := verifier(t, webhook.SchemeAgent, webhook.SignatureForm{}, vectorSecret, "b", "c", "d")
	for name, body := range map[string]string{
		"deep":  deep,
		"large": `"` + strings.Repeat("é", 4<<20) + `"`,
		"many":  "[" + strings.Repeat("[],", 20<<10) + "[]]",
		"text":  strings.Repeat("\r\n", 100<<10),
	} {
		began := time.Now()
		if reasons := v.Explain(message(wrong, body), explained); len(reasons) == 0 {
			t.Errorf("%s: no reason", name)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s took %s", name, took)
		}
	}
}

// FuzzExplain holds it to three rules: nothing makes it panic, there is a
// reason if and only if the message does not verify, and no reason has a
// secret in it.
func FuzzExplain(f *testing.F) {
	for i, c := range vectors {
		for name, value := range c.header {
			f.Add(uint8(i), name, value, []byte(vectorBody))
			f.Add(uint8(i), name, strings.ToUpper(value)+", ", []byte(`[{"data":1.50},"\u00e9/<"]`+"\r\n"))
		}
	}
	const secret = webhook.Secret("whsec_dGhpcyBpcyB0aGUgc2VjcmV0IG9mIHRoZSBmdXp6")
	f.Fuzz(func(t *testing.T, which uint8, name, value string, body []byte) {
		c := vectors[int(which)%len(vectors)]
		v := verifier(t, c.scheme, c.form, secret)
		m := message(c.header, string(body))
		m.Header[http.CanonicalHeaderKey(name)] = []string{value}
		_, err := v.Verify(m)
		reasons := v.Explain(m, explained)
		if err != nil && len(reasons) == 0 {
			t.Fatalf("no reason for %v", err)
		}
		if bytes.Contains(body, []byte(secret)) || strings.Contains(value, secret.Reveal()) {
			return
		}
		if strings.Contains(strings.Join(reasons, "\n"), secret.Reveal()) {
			t.Fatalf("it tells the secret: %q", reasons)
		}
	})
}
