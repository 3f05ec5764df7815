package signature_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

const (
	vectorHex = "669ff96c88584f311d541a7dc2c66d15bc9157a3b43098aad811170bbe8906b7"
	// vectorStampedHex is made of the timestamp, a dot and the body.
	vectorStampedHex = "dcb6d691db3b3f85b8f42b0365c9eb2630af30ae9e61a4354ccd70c2d38ff4b9"
	vectorBase64     = "Zp/5bIhYTzEdVBp9wsZtFbyRV6O0MJiq2BEXC76JBrc="
	vectorSlack      = "v0=b5ee708f0fcc846fd7d0c5c535d594c16fe5f335035dd2071ff0371f6afe9b9b"
	vectorStamp      = "1731602712"
	vectorSHA1       = "sha1=7a30a7248d7974f761cac8bf86141ea7f1c1ecbb"
	// The pair of keys, and the signature svixMessage, stand in the tests of
	// Svix's server.
	vectorPublic  = webhook.Secret("whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=")
	vectorPrivate = webhook.Secret("whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==")
)

var (
	stamped = map[string]string{"Webhook-Id": vectorID, "Webhook-Timestamp": vectorStamp}
	// The forms of senders that have no scheme of their own.
	outpost = webhook.SignatureForm{Header: "x-outpost-signature", Algorithm: "sha256", Encoding: "hex", Prefix: "v0=", Template: "{body}"}
	convoy  = webhook.SignatureForm{Header: "X-Convoy-Signature", Algorithm: "sha256", Encoding: "hex", Template: "{body}"}
	square  = webhook.SignatureForm{Header: "x-square-hmacsha256-signature", Algorithm: "sha256", Encoding: "base64", Template: "https://example.com/hook{body}"}
	hookX   = webhook.SignatureForm{Header: "webhookx-signature", Algorithm: "sha256", Encoding: "hex", Prefix: "v1=", Template: "{timestamp}.{body}", TimestampHeader: "webhookx-timestamp"}
	hub1    = webhook.SignatureForm{Header: "X-Hub-Signature", Algorithm: "sha1", Encoding: "hex", Prefix: "sha1=", Template: "{body}"}
	sender  = webhook.SignatureForm{Header: "X-Sig", Algorithm: "sha512", Encoding: "base64", Prefix: "s ", Template: "{id}/{body}/{timestamp}", TimestampHeader: "X-Time", IDHeader: "X-Id"}
)

// vectors were computed with openssl, and the libraries of the providers accept
// them.
var vectors = []struct {
	name   string
	scheme webhook.Scheme
	form   webhook.SignatureForm
	secret webhook.Secret
	header map[string]string
	proof  signature.Proof
}{
	{"agent", webhook.SchemeAgent, webhook.SignatureForm{}, vectorSecret, map[string]string{"X-Agent-Signature": vectorAgent}, signature.Proof{}},
	{"github", webhook.SchemeGitHub, webhook.SignatureForm{}, vectorSecret, map[string]string{"X-Hub-Signature-256": vectorAgent}, signature.Proof{}},
	{"shopify", webhook.SchemeShopify, webhook.SignatureForm{}, vectorSecret, map[string]string{"X-Shopify-Hmac-Sha256": vectorBase64}, signature.Proof{}},
	{"stripe", webhook.SchemeStripe, webhook.SignatureForm{}, vectorSecret, map[string]string{"Stripe-Signature": "t=1731602712,v1=" + vectorStampedHex}, signature.Proof{Timestamp: vectorTime}},
	{"slack", webhook.SchemeSlack, webhook.SignatureForm{}, vectorSecret, map[string]string{"X-Slack-Signature": vectorSlack, "X-Slack-Request-Timestamp": vectorStamp}, signature.Proof{Timestamp: vectorTime}},
	{"gitlab", webhook.SchemeGitLab, webhook.SignatureForm{}, vectorSecret, map[string]string{"X-Gitlab-Token": vectorSecret.Reveal()}, signature.Proof{}},
	{"standard v1", webhook.SchemeStandard, webhook.SignatureForm{}, vectorWhsec, with(stamped, "Webhook-Signature", vectorStandard), signature.Proof{Timestamp: vectorTime, ID: vectorID}},
	{"standard v1, another key", webhook.SchemeStandard, webhook.SignatureForm{}, vectorWhsecOld, with(stamped, "Webhook-Signature", vectorOld), signature.Proof{Timestamp: vectorTime, ID: vectorID}},
	{"standard v1a", webhook.SchemeStandard, webhook.SignatureForm{}, vectorPrivate, with(stamped, "Webhook-Signature", vectorV1a), signature.Proof{Timestamp: vectorTime, ID: vectorID}},
	{"hmac like Outpost", webhook.SchemeHMAC, outpost, vectorSecret, map[string]string{"X-Outpost-Signature": "v0=" + vectorHex}, signature.Proof{}},
	{"hmac like Convoy", webhook.SchemeHMAC, convoy, vectorSecret, map[string]string{"X-Convoy-Signature": vectorHex}, signature.Proof{}},
	{"hmac like Square", webhook.SchemeHMAC, square, vectorSecret, map[string]string{"X-Square-Hmacsha256-Signature": "3UK4xhM7cmO5pJf/1MY3Ez4ytBDuPqqf1/n22j3Is7A="}, signature.Proof{}},
	{"hmac like WebhookX", webhook.SchemeHMAC, hookX, vectorSecret, map[string]string{"Webhookx-Signature": "v1=" + vectorStampedHex, "Webhookx-Timestamp": vectorStamp}, signature.Proof{Timestamp: vectorTime}},
	{"hmac of SHA-1", webhook.SchemeHMAC, hub1, vectorSecret, map[string]string{"X-Hub-Signature": vectorSHA1}, signature.Proof{}},
}

func with(header map[string]string, name, value string) map[string]string {
	all := map[string]string{name: value}
	for name, value := range header {
		all[name] = value
	}
	return all
}

func message(header map[string]string, body string) signature.Message {
	m := signature.Message{Header: http.Header{}, Body: []byte(body)}
	for name, value := range header {
		m.Header[http.CanonicalHeaderKey(name)] = []string{value}
	}
	return m
}

func verifier(t testing.TB, scheme webhook.Scheme, form webhook.SignatureForm, secrets ...webhook.Secret) *signature.Verifier {
	t.Helper()
	v, err := signature.NewVerifier(scheme, form, secrets)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSignMakesTheVectors(t *testing.T) {
	for _, c := range vectors {
		t.Run(c.name, func(t *testing.T) {
			header, err := signature.Sign(c.scheme, c.form, c.secret, vectorID, vectorTime, []byte(vectorBody))
			if err != nil {
				t.Fatal(err)
			}
			if len(header) != len(c.header) {
				t.Errorf("got %v", header)
			}
			for name, want := range c.header {
				if got := header.Get(name); got != want {
					t.Errorf("%s: got %s, want %s", name, got, want)
				}
			}
		})
	}
}

func TestVerifyAcceptsTheVectorsAndSaysWhatTheyVouchFor(t *testing.T) {
	for _, c := range vectors {
		t.Run(c.name, func(t *testing.T) {
			for _, secrets := range [][]webhook.Secret{{c.secret}, {"other", c.secret}, {c.secret, "other"}, {"", c.secret}} {
				proof, err := verifier(t, c.scheme, c.form, secrets...).Verify(message(c.header, vectorBody))
				if err != nil || proof != c.proof {
					t.Errorf("%d secrets: %+v, %v", len(secrets), proof, err)
				}
			}
		})
	}
}

func TestVerifyRefusesTheVectorsOfAnotherMessageOrSecret(t *testing.T) {
	for _, c := range vectors {
		t.Run(c.name, func(t *testing.T) {
			for _, secrets := range [][]webhook.Secret{nil, {""}, {"other"}} {
				if _, err := verifier(t, c.scheme, c.form, secrets...).Verify(message(c.header, vectorBody)); !errors.Is(err, signature.ErrMismatch) && !errors.Is(err, signature.ErrMalformed) {
					t.Errorf("%d other secrets: %v", len(secrets), err)
				}
			}
			if c.scheme == webhook.SchemeGitLab {
				return // signs nothing
			}
			if _, err := verifier(t, c.scheme, c.form, c.secret).Verify(message(c.header, vectorBody+" ")); !errors.Is(err, signature.ErrMismatch) {
				t.Errorf("another body: %v", err)
			}
		})
	}
}

// TestAnEmptySecretVerifiesNothing signs with the empty key, as anybody can.
func TestAnEmptySecretVerifiesNothing(t *testing.T) {
	for _, c := range []struct {
		scheme webhook.Scheme
		header map[string]string
	}{
		{webhook.SchemeAgent, map[string]string{"X-Agent-Signature": "sha256=" + hexOf("", vectorBody)}},
		{webhook.SchemeGitHub, map[string]string{"X-Hub-Signature-256": "sha256=" + hexOf("", vectorBody)}},
		{webhook.SchemeStripe, map[string]string{"Stripe-Signature": "t=1731602712,v1=" + hexOf("", vectorStamp+"."+vectorBody)}},
		{webhook.SchemeStandard, with(stamped, "Webhook-Signature", "v1,"+base64Of("", vectorID+"."+vectorStamp+"."+vectorBody))},
	} {
		for _, secrets := range [][]webhook.Secret{{""}, {"", "other"}, nil} {
			if _, err := verifier(t, c.scheme, webhook.SignatureForm{}, secrets...).Verify(message(c.header, vectorBody)); !errors.Is(err, signature.ErrMismatch) {
				t.Errorf("%s, %d secrets: %v", c.scheme, len(secrets), err)
			}
		}
	}
}

// TestNoHeaderIsEverAChoice drops, doubles and empties each header in turn.
func TestNoHeaderIsEverAChoice(t *testing.T) {
	for _, c := range vectors {
		v := verifier(t, c.scheme, c.form, c.secret)
		for name := range c.header {
			want := signature.ErrMalformed
			if strings.Contains(name, "Signature") || strings.Contains(name, "Hmac") || strings.Contains(name, "Token") {
				want = signature.ErrMissing
			}
			for _, change := range []struct {
				name   string
				values func(string) []string
				want   error
			}{
				{"dropped", func(string) []string { return nil }, want},
				{"doubled", func(v string) []string { return []string{v, v} }, signature.ErrMalformed},
				{"with another", func(v string) []string { return []string{v, "x"} }, signature.ErrMalformed},
				{"emptied", func(string) []string { return []string{""} }, signature.ErrMalformed},
			} {
				m := message(c.header, vectorBody)
				m.Header[name] = change.values(m.Header[name][0])
				if m.Header[name] == nil {
					delete(m.Header, name)
				}
				if proof, err := v.Verify(m); !errors.Is(err, change.want) || proof != (signature.Proof{}) {
					t.Errorf("%s: %s %s: %+v, %v", c.name, name, change.name, proof, err)
				}
			}
		}
	}
}

func TestVerifyReadsEachSpellingOfAHeader(t *testing.T) {
	member := func(value string) signature.Message {
		m := message(nil, vectorBody[:len(vectorBody)-1]+`,"signature":"`+value+`"}`)
		m.Member, m.Unsigned = &value, []byte(vectorBody)
		return m
	}
	both := message(map[string]string{"X-Agent-Signature": vectorAgent, "X-Signature": vectorAgent}, vectorBody)
	header := member(vectorAgent)
	header.Header.Set("X-Signature", vectorAgent)
	mixed := message(with(stamped, "Svix-Signature", vectorStandard), vectorBody)
	for _, c := range []struct {
		name    string
		scheme  webhook.Scheme
		message signature.Message
		want    error
	}{
		{"X-Signature", webhook.SchemeAgent, message(map[string]string{"X-Signature": vectorAgent}, vectorBody), nil},
		{"both", webhook.SchemeAgent, both, signature.ErrMalformed},
		{"member", webhook.SchemeAgent, member(vectorAgent), nil},
		{"empty member", webhook.SchemeAgent, member(""), signature.ErrMalformed},
		{"wrong member", webhook.SchemeAgent, member("sha256=" + strings.Repeat("0", 64)), signature.ErrMismatch},
		{"the header decides over the member", webhook.SchemeAgent, header, signature.ErrMismatch},
		{"a member is none of github's", webhook.SchemeGitHub, member(vectorAgent), signature.ErrMissing},
		{"svix-", webhook.SchemeStandard, message(map[string]string{"Svix-Id": vectorID, "Svix-Timestamp": vectorStamp, "Svix-Signature": vectorStandard}, vectorBody), nil},
		{"svix- and webhook- mixed", webhook.SchemeStandard, mixed, signature.ErrMalformed},
		{"svix- beside webhook-", webhook.SchemeStandard, message(with(with(stamped, "Svix-Signature", vectorStandard), "Webhook-Signature", vectorStandard), vectorBody), signature.ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			secret := vectorSecret
			if c.scheme == webhook.SchemeStandard {
				secret = vectorWhsec
			}
			if _, err := verifier(t, c.scheme, webhook.SignatureForm{}, secret).Verify(c.message); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestListsOfSignatures(t *testing.T) {
	stripe := func(value string) map[string]string { return map[string]string{"Stripe-Signature": value} }
	standard := func(value string) map[string]string { return with(stamped, "Webhook-Signature", value) }
	good, wrong := "v1="+vectorStampedHex, "v1="+vectorHex
	wrongV1a := "v1a," + strings.Repeat("A", 86) + "=="
	for _, c := range []struct {
		name   string
		scheme webhook.Scheme
		secret webhook.Secret
		header map[string]string
		want   error
	}{
		{"stripe, the second of two", webhook.SchemeStripe, vectorSecret, stripe("t=1731602712," + wrong + "," + good), nil},
		{"stripe, the timestamp last", webhook.SchemeStripe, vectorSecret, stripe(good + ",t=1731602712"), nil},
		{"stripe, beside its test signature", webhook.SchemeStripe, vectorSecret, stripe("t=1731602712," + good + ",v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"), nil},
		{"stripe, upper-case digits", webhook.SchemeStripe, vectorSecret, stripe("t=1731602712,v1=" + strings.ToUpper(vectorStampedHex)), nil},
		{"stripe, two timestamps", webhook.SchemeStripe, vectorSecret, stripe("t=1731602712,t=1731602712," + good), signature.ErrMalformed},
		{"stripe, no timestamp", webhook.SchemeStripe, vectorSecret, stripe(good), signature.ErrMalformed},
		{"stripe, no v1", webhook.SchemeStripe, vectorSecret, stripe("t=1731602712,v0=" + vectorStampedHex), signature.ErrMalformed},
		{"stripe, another timestamp", webhook.SchemeStripe, vectorSecret, stripe("t=1731602713," + good), signature.ErrMismatch},
		{"stripe, too many", webhook.SchemeStripe, vectorSecret, stripe("t=1731602712" + strings.Repeat(","+good, 16)), signature.ErrMalformed},
		{"standard, beside a v1a", webhook.SchemeStandard, vectorWhsec, standard(vectorV1a + " " + vectorStandard), nil},
		{"standard v1a, beside a v1", webhook.SchemeStandard, vectorPublic, standard(vectorStandard + " " + vectorV1a), nil},
		{"standard, a v1a only", webhook.SchemeStandard, vectorWhsec, standard(vectorV1a), signature.ErrMalformed},
		{"standard v1a, a v1 only", webhook.SchemeStandard, vectorPublic, standard(vectorStandard), signature.ErrMismatch},
		{"standard v1a, other spelling of the same bytes", webhook.SchemeStandard, vectorPublic, standard(strings.Replace(vectorV1a, "BQ==", "BR==", 1)), signature.ErrMalformed},
		{"standard, too many", webhook.SchemeStandard, vectorWhsec, standard(strings.Repeat(vectorOld+" ", 16) + vectorStandard), signature.ErrMalformed},
		{"standard, as many as are read", webhook.SchemeStandard, vectorWhsec, standard(strings.Repeat(vectorOld+" ", 15) + vectorStandard), nil},
		{"standard v1a, as many as are read", webhook.SchemeStandard, vectorPublic, standard(strings.Repeat(wrongV1a+" ", 3) + vectorV1a), nil},
		{"standard v1a, too many", webhook.SchemeStandard, vectorPublic, standard(strings.Repeat(wrongV1a+" ", 4) + vectorV1a), signature.ErrMalformed},
		{"github, a list is none", webhook.SchemeGitHub, vectorSecret, map[string]string{"X-Hub-Signature-256": vectorAgent + "," + vectorAgent}, signature.ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := verifier(t, c.scheme, webhook.SignatureForm{}, c.secret).Verify(message(c.header, vectorBody)); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestOneVerifierTakesBothKindsOfKeys(t *testing.T) {
	v := verifier(t, webhook.SchemeStandard, webhook.SignatureForm{}, vectorPublic, vectorWhsec)
	for _, value := range []string{vectorStandard, vectorV1a, vectorOld + " " + vectorV1a} {
		if _, err := v.Verify(message(with(stamped, "Webhook-Signature", value), vectorBody)); err != nil {
			t.Errorf("%s: %v", value, err)
		}
	}
}

// TestPublishedVectorsVerify takes what the providers print in their documents
// and tests.
func TestPublishedVectorsVerify(t *testing.T) {
	svix := map[string]string{"Svix-Id": vectorID, "Svix-Timestamp": "1614265330"}
	for _, c := range []struct {
		name   string
		scheme webhook.Scheme
		secret webhook.Secret
		header map[string]string
		body   string
	}{
		{"Svix v1", webhook.SchemeStandard, vectorWhsec, with(svix, "Svix-Signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="), `{"test": 2432232314}`},
		{"Svix v1a", webhook.SchemeStandard, vectorPublic, with(svix, "Svix-Signature", "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="), `{"test": 2432232314}`},
		{"GitHub", webhook.SchemeGitHub, "It's a Secret to Everybody", map[string]string{"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}, "Hello, World!"},
		{"Slack", webhook.SchemeSlack, "8f742231b10e8888abcd99yyyzzz85a5", map[string]string{"X-Slack-Request-Timestamp": "1531420618", "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"},
			"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"},
	} {
		if _, err := verifier(t, c.scheme, webhook.SignatureForm{}, c.secret).Verify(message(c.header, c.body)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestTimestampsAreDigitsOnly signs each text itself, so that only its form is
// in question.
func TestTimestampsAreDigitsOnly(t *testing.T) {
	v := verifier(t, webhook.SchemeHMAC, hookX, vectorSecret)
	signed := webhook.SignatureForm{Header: "Webhookx-Signature", Algorithm: "sha256", Encoding: "hex", Prefix: "v1="}
	for text, want := range map[string]int64{
		"1": 1, "1731602712": vectorTime, "0001": 1, "999999999999": 999_999_999_999,
		"": 0, "0": 0, "000": 0, "-1": 0, "+1": 0, " 1": 0, "1 ": 0, "1.0": 0, "1e9": 0, "0x1": 0, "1_0": 0, "1731602712000": 0, "١": 0, "18446744073709551617": 0,
	} {
		signed.Template = text + ".{body}"
		header, err := signature.Sign(webhook.SchemeHMAC, signed, vectorSecret, "", 0, []byte(vectorBody))
		if err != nil {
			t.Fatal(err)
		}
		header.Set("Webhookx-Timestamp", text)
		m := signature.Message{Header: header, Body: []byte(vectorBody)}
		proof, err := v.Verify(m)
		if want == 0 && !errors.Is(err, signature.ErrMalformed) || want != 0 && err != nil || proof.Timestamp != want {
			t.Errorf("%q: %+v, %v", text, proof, err)
		}
		if got := v.Claims(m); got.Timestamp != want {
			t.Errorf("%q claims to be %d", text, got.Timestamp)
		}
	}
}

func TestClaimsNeedNoSignature(t *testing.T) {
	for _, c := range []struct {
		name   string
		scheme webhook.Scheme
		header map[string]string
		want   signature.Proof
	}{
		{"standard", webhook.SchemeStandard, stamped, signature.Proof{Timestamp: vectorTime, ID: vectorID}},
		{"svix", webhook.SchemeStandard, map[string]string{"Svix-Id": "m", "Svix-Timestamp": "7"}, signature.Proof{Timestamp: 7, ID: "m"}},
		{"standard, half", webhook.SchemeStandard, map[string]string{"Webhook-Id": "m", "Webhook-Timestamp": "soon"}, signature.Proof{ID: "m"}},
		{"stripe", webhook.SchemeStripe, map[string]string{"Stripe-Signature": "t=7,v1=wrong"}, signature.Proof{Timestamp: 7}},
		{"stripe, absent", webhook.SchemeStripe, nil, signature.Proof{}},
		{"slack", webhook.SchemeSlack, map[string]string{"X-Slack-Request-Timestamp": "7"}, signature.Proof{Timestamp: 7}},
		{"github", webhook.SchemeGitHub, stamped, signature.Proof{}},
		{"gitlab", webhook.SchemeGitLab, stamped, signature.Proof{}},
		{"none", webhook.SchemeNone, stamped, signature.Proof{}},
	} {
		if got := verifier(t, c.scheme, webhook.SignatureForm{}).Claims(message(c.header, "{}")); got != c.want {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	twice := message(stamped, "{}")
	twice.Header.Add("Webhook-Id", "other")
	twice.Header.Add("Webhook-Timestamp", "7")
	if got := verifier(t, webhook.SchemeStandard, webhook.SignatureForm{}).Claims(twice); got != (signature.Proof{}) {
		t.Errorf("of two values one was chosen: %+v", got)
	}
}

func TestNoneBelievesAnyone(t *testing.T) {
	if proof, err := verifier(t, webhook.SchemeNone, webhook.SignatureForm{}).Verify(message(stamped, "x")); err != nil || proof != (signature.Proof{}) {
		t.Errorf("%+v, %v", proof, err)
	}
}

func TestNewVerifierRefusesWhatCanNeverVerify(t *testing.T) {
	form := func(change func(*webhook.SignatureForm)) webhook.SignatureForm {
		f := hookX
		change(&f)
		return f
	}
	short := webhook.Secret("whpk_" + base64.StdEncoding.EncodeToString(make([]byte, 31)))
	otherHalf := webhook.Secret("whsk_" + base64.StdEncoding.EncodeToString(make([]byte, ed25519.PrivateKeySize)))
	for _, c := range []struct {
		name   string
		scheme webhook.Scheme
		form   webhook.SignatureForm
		secret webhook.Secret
		says   string
	}{
		{"unknown scheme", "sha256", webhook.SignatureForm{}, "s", `no scheme is called "sha256"`},
		{"whsec_ that is not base64", webhook.SchemeStandard, webhook.SignatureForm{}, "whsec_*", "not base64"},
		{"whsec_ of nothing", webhook.SchemeStandard, webhook.SignatureForm{}, "whsec_", "not base64"},
		{"whpk_ that is not base64", webhook.SchemeStandard, webhook.SignatureForm{}, "whpk_*", "not base64"},
		{"whpk_ too short", webhook.SchemeStandard, webhook.SignatureForm{}, short, "32 bytes in base64, not 31"},
		{"whsk_ too short", webhook.SchemeStandard, webhook.SignatureForm{}, "whsk_AAAA", "32 or 64 bytes in base64, not 3"},
		{"whsk_ of two pairs", webhook.SchemeStandard, webhook.SignatureForm{}, otherHalf, "public half"},
		{"token with a newline", webhook.SchemeGitLab, webhook.SignatureForm{}, "token\n", "can never come in a header"},
		{"no form", webhook.SchemeHMAC, webhook.SignatureForm{}, "s", "algorithm"},
		{"algorithm", webhook.SchemeHMAC, form(func(f *webhook.SignatureForm) { f.Algorithm = "md5" }), "s", `not "md5"`},
		{"encoding", webhook.SchemeHMAC, form(func(f *webhook.SignatureForm) { f.Encoding = "base32" }), "s", `not "base32"`},
		{"prefix with a newline", webhook.SchemeHMAC, form(func(f *webhook.SignatureForm) { f.Prefix = "v1=\n" }), "s", "prefix"},
		{"prefix behind a space", webhook.SchemeHMAC, form(func(f *webhook.SignatureForm) { f.Prefix = " v1=" }), "s", "prefix"},
		{"no body", webhook.SchemeHMAC, form(func(f *webhook.SignatureForm) { f.Template = "{timestamp}." }), "s", "{body} once, not 0 times"},
		{"two bodies", webhook.SchemeHMAC, form(func(f *webhook.SignatureForm) { f.Template = "{timestamp}{body}{body}" }), "s", "{body} once, not 2 times"},
		{"unknown placeholder", webhook.SchemeHMAC, form(func(f *webhook.SignatureForm) { f.Template = "{time}.{body}" }), "s", "{time}"},
		{"no timestamp header", webhook.SchemeHMAC, form(func(f *webhook.SignatureForm) { f.TimestampHeader = "" }), "s", "timestamp_header must say"},
		{"needless timestamp header", webhook.SchemeHMAC, form(func(f *webhook.SignatureForm) { f.Template = "{body}" }), "s", "timestamp_header is set"},
		{"no id header", webhook.SchemeHMAC, form(func(f *webhook.SignatureForm) { f.Template = "{id}.{timestamp}.{body}" }), "s", "id_header must say"},
		{"no header", webhook.SchemeHMAC, form(func(f *webhook.SignatureForm) { f.Header = "" }), "s", "header"},
		{"header with a space", webhook.SchemeHMAC, form(func(f *webhook.SignatureForm) { f.Header = "X Sig" }), "s", "no header name"},
		{"one header for two", webhook.SchemeHMAC, form(func(f *webhook.SignatureForm) { f.TimestampHeader = "Webhookx-Signature" }), "s", "cannot carry two"},
		{"id against timestamp", webhook.SchemeHMAC, form(func(f *webhook.SignatureForm) { f.Template, f.IDHeader = "{id}{timestamp}.{body}", "X-Id" }), "s", "nobody can tell"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := signature.NewVerifier(c.scheme, c.form, []webhook.Secret{c.secret})
			if err == nil || !strings.Contains(err.Error(), c.says) || len(c.secret) > 1 && strings.Contains(err.Error(), c.secret.Reveal()) && c.secret != "whsec_" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestSignRefusesWhatNobodyCouldVerify(t *testing.T) {
	for _, c := range []struct {
		name   string
		scheme webhook.Scheme
		secret webhook.Secret
		id     string
		at     int64
	}{
		{"empty secret", webhook.SchemeAgent, "", "m", 1},
		{"public key", webhook.SchemeStandard, vectorPublic, "m", 1},
		{"no id", webhook.SchemeStandard, vectorWhsec, "", 1},
		{"id with a newline", webhook.SchemeStandard, vectorWhsec, "m\n", 1},
		{"no timestamp", webhook.SchemeStripe, "s", "m", 0},
		{"negative timestamp", webhook.SchemeSlack, "s", "m", -1},
		{"milliseconds", webhook.SchemeStripe, "s", "m", 1731602712000},
		{"token with a newline", webhook.SchemeGitLab, "s\n", "m", 1},
	} {
		if header, err := signature.Sign(c.scheme, webhook.SignatureForm{}, c.secret, c.id, c.at, nil); err == nil {
			t.Errorf("%s: %v", c.name, header)
		}
	}
}

func TestExpectsSaysTheForm(t *testing.T) {
	for _, c := range []struct {
		scheme  webhook.Scheme
		form    webhook.SignatureForm
		secrets []webhook.Secret
		want    string
	}{
		{webhook.SchemeAgent, webhook.SignatureForm{}, nil, "X-Agent-Signature or X-Signature: sha256=<64 hex digits>, the HMAC-SHA256 of the body"},
		{webhook.SchemeGitHub, webhook.SignatureForm{}, nil, "X-Hub-Signature-256: sha256=<64 hex digits>, the HMAC-SHA256 of the body"},
		{webhook.SchemeStripe, webhook.SignatureForm{}, nil, "Stripe-Signature: t=<Unix seconds>,v1=<64 hex digits>, the HMAC-SHA256 of {timestamp}.{body}"},
		{webhook.SchemeSlack, webhook.SignatureForm{}, nil, "X-Slack-Signature: v0=<64 hex digits>, the HMAC-SHA256 of v0:{timestamp}:{body}, where {timestamp} is X-Slack-Request-Timestamp"},
		{webhook.SchemeShopify, webhook.SignatureForm{}, nil, "X-Shopify-Hmac-Sha256: <44 characters of base64>, the HMAC-SHA256 of the body"},
		{webhook.SchemeGitLab, webhook.SignatureForm{}, nil, "X-Gitlab-Token: the token that was agreed"},
		{webhook.SchemeNone, webhook.SignatureForm{}, nil, "no signature"},
		{webhook.SchemeStandard, webhook.SignatureForm{}, []webhook.Secret{vectorWhsec},
			"webhook-signature or svix-signature: v1,<44 characters of base64>, the HMAC-SHA256 of {id}.{timestamp}.{body}, where {id} is webhook-id and {timestamp} is webhook-timestamp"},
		{webhook.SchemeStandard, webhook.SignatureForm{}, []webhook.Secret{vectorPublic},
			"webhook-signature or svix-signature: v1a,<88 characters of base64>, the Ed25519 signature of {id}.{timestamp}.{body}, where {id} is webhook-id and {timestamp} is webhook-timestamp"},
		{webhook.SchemeHMAC, hub1, nil, "X-Hub-Signature: sha1=<40 hex digits>, the HMAC-SHA1 of the body"},
		{webhook.SchemeHMAC, sender, nil, "X-Sig: s <88 characters of base64>, the HMAC-SHA512 of {id}/{body}/{timestamp}, where {id} is X-Id and {timestamp} is X-Time"},
	} {
		if got := verifier(t, c.scheme, c.form, c.secrets...).Expects(); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.scheme, got, c.want)
		}
	}
}

func TestABraceThatBeginsNoPlaceholderIsSigned(t *testing.T) {
	form := webhook.SignatureForm{Header: "X-Mac", Algorithm: "sha256", Encoding: "hex", Template: `{{"a": {body}}`}
	plain := webhook.SignatureForm{Header: "X-Mac", Algorithm: "sha256", Encoding: "hex", Template: "{body}"}
	header, err := signature.Sign(webhook.SchemeHMAC, plain, vectorSecret, "", 0, []byte(`{{"a": 1}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verifier(t, webhook.SchemeHMAC, form, vectorSecret).Verify(signature.Message{Header: header, Body: []byte("1")}); err != nil {
		t.Error(err)
	}
}
