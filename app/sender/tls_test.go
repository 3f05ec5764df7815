package sender

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

func (p pair) certPEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw}))
}

func (p pair) keyPEM(t *testing.T) webhook.Secret {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		t.Fatal(err)
	}
	return webhook.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func TestSubscriberBringsItsCertificateAndItsAuthority(t *testing.T) {
	ours, theirs, other := certify(t, nil, nil), certify(t, nil, nil), certify(t, nil, nil)
	me := certify(t, &ours, nil)
	trusted := x509.NewCertPool()
	trusted.AddCert(ours.cert)
	var shown [][]byte
	receiver := secure(t, &tls.Config{
		Certificates: []tls.Certificate{certify(t, &theirs, nil).tls()}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted,
	}, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		shown = append(shown, r.TLS.PeerCertificates[0].Raw)
		if r.ProtoMajor != 2 {
			t.Errorf("spoken to in %s", r.Proto)
		}
	}))
	sender := New(Options{Transport: NewTransport(loopback(), 1, nil), Timeout: 5 * time.Second})
	defer sender.CloseIdleConnections()
	try := func(m webhook.ClientTLS) webhook.Attempt {
		return sender.Send(t.Context(), work(&webhook.Subscriber{URL: receiver, Secret: "s", TLS: m})).Attempt
	}
	good := webhook.ClientTLS{Cert: me.certPEM(), Key: me.keyPEM(t), CA: theirs.certPEM()}
	for i := range 2 {
		got := try(good)
		if got.Outcome != webhook.OK || (got.Timing.TLS > 0) != (i == 0) {
			t.Errorf("attempt %d is %s %q, with %s of TLS", i, got.Outcome, got.Error, got.Timing.TLS)
		}
	}
	if len(shown) != 2 || !bytes.Equal(shown[0], me.cert.Raw) {
		t.Errorf("%d certificates were shown", len(shown))
	}
	stranger := certify(t, &other, nil)
	for name, m := range map[string]webhook.ClientTLS{
		"no certificate":          {CA: theirs.certPEM()},
		"no authority":            {Cert: good.Cert, Key: good.Key},
		"another authority":       {Cert: good.Cert, Key: good.Key, CA: other.certPEM()},
		"certificate of stranger": {Cert: stranger.certPEM(), Key: stranger.keyPEM(t), CA: theirs.certPEM()},
		"nothing":                 {},
		"broken":                  {Cert: "x", Key: "x"},
	} {
		// In TLS 1.3 a receiver refuses a certificate after the handshake, when the
		// request may be on its way: it may close before its reason is read.
		theirs := name == "no certificate" || name == "certificate of stranger"
		if got := try(m); got.Outcome != webhook.TLS && !(theirs && got.Outcome == webhook.Reset) || got.Error == "" {
			t.Errorf("%s: the attempt is %s %q", name, got.Outcome, got.Error)
		}
	}
}

// TestTokenEndpointSeesTheCertificateOnlyOnTheReceiversHost keeps a certificate
// that is for one server from another.
func TestTokenEndpointSeesTheCertificateOnlyOnTheReceiversHost(t *testing.T) {
	authority := certify(t, nil, nil)
	me := certify(t, &authority, nil)
	shown := map[string]int{}
	serve := func(name string) string {
		config := &tls.Config{Certificates: []tls.Certificate{certify(t, &authority, nil).tls()}, ClientAuth: tls.RequestClientCert}
		return secure(t, config, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			shown[name+r.URL.Path] = len(r.TLS.PeerCertificates)
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte(`{"access_token":"x"}`))
		}))
	}
	transport := NewTransport(loopback(), 1, nil)
	transport.TLSClientConfig.RootCAs = x509.NewCertPool()
	transport.TLSClientConfig.RootCAs.AddCert(authority.cert)
	receiver, elsewhere := serve("receiver"), serve("elsewhere")
	for _, token := range []string{receiver, elsewhere} {
		got := send(t, Options{Transport: transport}, client(func(s *webhook.Subscriber) {
			s.URL, s.OAuth2.TokenURL = receiver+"/hook", token+"/token"
			s.TLS = webhook.ClientTLS{Cert: me.certPEM(), Key: me.keyPEM(t), CA: authority.certPEM()}
		}))
		if got.Attempt.Outcome != webhook.OK {
			t.Fatalf("the attempt is %+v", got.Attempt)
		}
	}
	if shown["receiver/hook"] != 1 || shown["receiver/token"] != 1 || shown["elsewhere/token"] != 0 {
		t.Errorf("certificates were shown %v", shown)
	}
}

func TestUnusableCertificatesAreRefused(t *testing.T) {
	authority := certify(t, nil, nil)
	me, other := certify(t, &authority, nil), certify(t, &authority, nil)
	old := certify(t, &authority, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })
	key := me.keyPEM(t)
	encrypted := webhook.Secret(strings.ReplaceAll(key.Reveal(), "PRIVATE KEY", "ENCRYPTED PRIVATE KEY"))
	legacy := webhook.Secret(strings.Replace(key.Reveal(), "-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n", 1))
	for _, tt := range []struct {
		name     string
		material webhook.ClientTLS
		field    string // at fault; empty: none
		text     string
	}{
		{"nothing", webhook.ClientTLS{}, "", ""},
		{"certificate and key", webhook.ClientTLS{Cert: me.certPEM(), Key: key}, "", ""},
		{"chain", webhook.ClientTLS{Cert: me.certPEM() + authority.certPEM(), Key: key}, "", ""},
		{"authorities", webhook.ClientTLS{CA: "my own:\n" + authority.certPEM() + "\n" + me.certPEM()}, "", ""},
		{"key of another", webhook.ClientTLS{Cert: me.certPEM(), Key: other.keyPEM(t)}, "tls_key", "does not match"},
		{"expired", webhook.ClientTLS{Cert: old.certPEM(), Key: old.keyPEM(t)}, "tls_cert", "expired"},
		{"no certificate", webhook.ClientTLS{Cert: "x", Key: key}, "tls_cert", "no certificate"},
		{"the key in its place", webhook.ClientTLS{Cert: key.Reveal(), Key: key}, "tls_cert", "PRIVATE KEY"},
		{"no key", webhook.ClientTLS{Cert: me.certPEM(), Key: "x"}, "tls_key", "no private key"},
		{"the certificate in its place", webhook.ClientTLS{Cert: me.certPEM(), Key: webhook.Secret(me.certPEM())}, "tls_key", "no private key"},
		{"encrypted", webhook.ClientTLS{Cert: me.certPEM(), Key: encrypted}, "tls_key", "encrypted"},
		{"encrypted, as of old", webhook.ClientTLS{Cert: me.certPEM(), Key: legacy}, "tls_key", "encrypted"},
		{"no authority", webhook.ClientTLS{CA: "x"}, "tls_ca", "no certificate"},
		{"broken authority", webhook.ClientTLS{CA: authority.certPEM() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}, "tls_ca", "certificate 2"},
	} {
		faults := CheckTLS(&tt.material, time.Now())
		if tt.field == "" && faults != nil || tt.field != "" && (len(faults) != 1 || !strings.Contains(faults[tt.field], tt.text)) {
			t.Errorf("%s: the faults are %v, want %s: %s", tt.name, faults, tt.field, tt.text)
		}
	}
}

// FuzzCheckTLS holds material that is found good to be usable, and faults to tell
// nothing of a key.
func FuzzCheckTLS(f *testing.F) {
	f.Add("", "", "")
	f.Add("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "x")
	f.Add("-----BEGIN X-----\n-----END X-----", "-----BEGIN PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n-----END PRIVATE KEY-----\n", "-----BEGIN CERTIFICATE-----")
	f.Fuzz(func(t *testing.T, cert, key, ca string) {
		m := webhook.ClientTLS{Cert: cert, Key: webhook.Secret(key), CA: ca}
		faults := CheckTLS(&m, time.Time{})
		transport, err := newTransports(&http.Transport{}).of(&m)
		if (err == nil) != (faults == nil) || err == nil && transport == nil {
			t.Errorf("the faults are %v, and using it %v", faults, err)
		}
		for _, fault := range faults {
			if len(key) > 20 && strings.Contains(fault, key) || len(fault) > 500 {
				t.Errorf("a fault of %d bytes: %.600q", len(fault), fault)
			}
		}
	})
}

// TestFewTransportsAreKept holds the transports to their bound, and the one that
// is used to the end.
func TestFewTransportsAreKept(t *testing.T) {
	ca := certify(t, nil, nil).certPEM()
	kept := newTransports(&http.Transport{})
	first, err := kept.of(&webhook.ClientTLS{CA: ca})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 * maxTransports {
		if _, err := kept.of(&webhook.ClientTLS{CA: ca + strings.Repeat("\n", i+1)}); err != nil {
			t.Fatal(err)
		}
		if again, _ := kept.of(&webhook.ClientTLS{CA: ca}); again != first {
			t.Fatal("what is in use was dropped")
		}
	}
	if n := kept.kept.Len(); n != maxTransports {
		t.Errorf("%d transports are kept", n)
	}
}
