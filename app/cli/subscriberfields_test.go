package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// keyPair makes a certificate and its key, in PEM.
func keyPair(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Date(2099, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func TestEveryFieldOfASubscriberIsAFlag(t *testing.T) {
	cmd := newSubscribersAdd(&globals{})
	for _, f := range reflect.VisibleFields(reflect.TypeFor[api.SubscriberChange]()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if flag := strings.ReplaceAll(name, "_", "-"); cmd.Flags().Lookup(flag) == nil {
			t.Errorf("there is no flag --%s", flag)
		}
	}
}

func TestFlagsOfASubscriberSetItsFields(t *testing.T) {
	r := startRemote(t)
	cert, key := keyPair(t)
	dir := t.TempDir()
	at := func(name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return "@" + file
	}
	s := r.add(t, "--client-id", "c", "--secret", "@@s3cret", "--events", "order.*,user.**", "--events", "x", "--description", "@d",
		"--header", "X-A: b, c", "--headers", "X-B:d", "--timeout", "7", "--concurrency", "3", "--schedule", "1s,2m", "--final-on-4xx",
		"--rate-limit", "0.5", "--scheme", "stripe", "--filter", at("filter.jq", ".data.a\n| . > 1\n"), "--transform", "{a: .data}",
		"--ordered", "true", "--on-dead", "skip", "--oauth2-token-url", "https://t.example/", "--oauth2-client-id", "i",
		"--oauth2-client-secret", at("secret", "cl1ent\r\n"), "--oauth2-scopes", "a,b", "--oauth2-scopes", "c", "--oauth2-audience", "e",
		"--tls-cert", at("cert", cert), "--tls-key", at("key", key), "--tls-ca", at("ca", cert+cert), "--hold=false", "--auto-pause=false")
	want := api.Subscriber{
		URL: "https://a.example/", ClientID: "c", Secret: "@s3cret", Events: []webhook.Pattern{"order.*", "user.**", "x"}, Description: "@d",
		Headers: map[string]string{"X-A": "b, c", "X-B": "d"}, Timeout: api.Duration(7 * time.Second), Concurrency: 3,
		Schedule: []api.Duration{api.Duration(time.Second), api.Duration(2 * time.Minute)}, FinalOn4xx: true, RateLimit: 0.5,
		Scheme: webhook.SigningStripe, Filter: ".data.a\n| . > 1", Transform: "{a: .data}", Ordered: webhook.OrderedStrictly, OnDead: webhook.OnDeadSkip,
		OAuth2TokenURL: "https://t.example/", OAuth2ClientID: "i", OAuth2ClientSecret: "***", OAuth2Scopes: []string{"a", "b", "c"}, OAuth2Audience: "e",
		TLSCert: strings.TrimSpace(cert), TLSKey: "***", TLSCA: strings.TrimSpace(cert + cert), PausedReason: "paused by hand",
	}
	if diff := cmp.Diff(want, s, cmpopts.IgnoreFields(api.Subscriber{}, "ID", "CreatedAt", "UpdatedAt")); diff != "" {
		t.Error(diff)
	}
	out := r.must(t, "subscribers", "show", string(s.ID))
	for _, want := range []string{
		"RATE LIMIT        0.5 per second", "SCHEME            stripe", "ORDERED           all events", "ON DEAD           skip", "HOLD              no",
		"OAUTH2 CLIENT     i ***", "TLS CERT          CN=client until 2099-01-02", ", and 1 more", "TRANSFORM         {a: .data}",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not shown:\n%s", want, out)
		}
	}
	if strings.Contains(out, "s3cret") || strings.Contains(out, "cl1ent") {
		t.Errorf("a secret is shown unasked:\n%s", out)
	}
	if out := r.must(t, "subscribers", "show", string(s.ID), "--secret"); !strings.Contains(out, "@s3cret") {
		t.Errorf("asked for and not shown:\n%s", out)
	}
	var edited api.Subscriber
	if err := json.Unmarshal([]byte(r.must(t, "subscribers", "edit", string(s.ID), "-o", "json", "--ordered", "false", "--filter", "", "--oauth2-token-url", "",
		"--oauth2-client-id", "", "--oauth2-client-secret", "", "--oauth2-scopes", "", "--oauth2-audience", "", "--basic-username", "u", "--basic-password", "p",
		"--scheme", "", "--rate-limit", "0", "--hold")), &edited); err != nil {
		t.Fatal(err)
	}
	if edited.Ordered != "" || edited.Filter != "" || edited.OAuth2TokenURL != "" || edited.OAuth2ClientSecret != "" || edited.BasicUsername != "u" ||
		edited.BasicPassword != "***" || edited.Scheme != webhook.SigningPlain || edited.RateLimit != 0 || !edited.Hold || edited.TLSKey != "***" {
		t.Errorf("edited: %+v", edited)
	}
}

func TestValueOfAFlagComesFromStandardInput(t *testing.T) {
	r := startRemote(t)
	if s := r.add(t, "--secret", "@-"); s.Secret != "yes" {
		t.Errorf("the secret is %q", s.Secret)
	}
	if _, _, err := r.run(t, "subscribers", "add", "https://a.example/", "--filter", "@-", "--transform", "@-"); exitStatus(err) != exitUsage || !strings.Contains(err.Error(), "--filter and --transform cannot both") {
		t.Errorf("two values from one input: %v", err)
	}
	if _, _, err := r.run(t, "subscribers", "add", "https://a.example/", "--filter", "@"+filepath.Join(t.TempDir(), "none.jq")); exitStatus(err) != exitUsage || !strings.Contains(err.Error(), "--filter: open ") {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestFaultOfAnExpressionSaysWhereItIs(t *testing.T) {
	r := startRemote(t)
	_, _, err := r.run(t, "subscribers", "add", "https://a.example/", "--filter", ".data |")
	if exitStatus(err) != exitFailed || !strings.Contains(err.Error(), "filter: line 1, column ") {
		t.Errorf("got %v", err)
	}
}

func TestStandingOfASubscriberSaysWhatHoldsIt(t *testing.T) {
	since := api.Time{Time: time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)}
	for want, s := range map[string]api.Subscriber{
		"active":                             {Active: true},
		"paused":                             {FailingSince: since},
		"failing since 2025-01-02 03:04:05Z": {Active: true, FailingSince: since},
		"held since 2025-01-02 03:04:05Z, next probe 2025-01-02 03:04:05Z": {Active: true, FailingSince: since, Held: true, ProbeAt: since},
	} {
		if got := standingSince(s); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
