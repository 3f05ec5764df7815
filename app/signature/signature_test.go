package signature_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

// The vectors were computed with openssl, and the public libraries of Standard
// Webhooks, Svix and GitHub accept them.
const (
	vectorBody     = `{"event":"order.created","timestamp":1731602712,"data":{"order_id":"A12345"}}`
	vectorID       = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorTime     = 1731602712
	vectorSecret   = webhook.Secret("postern-test-secret")
	vectorWhsec    = webhook.Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	vectorWhsecOld = webhook.Secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
	vectorAgent    = "sha256=669ff96c88584f311d541a7dc2c66d15bc9157a3b43098aad811170bbe8906b7"
	vectorStandard = "v1,pmusVwHsS5LxCq220OJtu2z6LXEIMEcEFtmisMaOMUc="
	vectorOld      = "v1,n+0YZWPy61djtotyP4m9XjEgnFxW0SNlvQ1EgpNbx2c="
	vectorMulti    = vectorOld + " " + vectorStandard
	vectorV1a      = "v1a,cPnanm8xoB+jPdogKLbO75VtzviHc4P/nvNkWpzBK0UPtHiIm5RKCjxq+70EHkYx40ndHPV1GIEC2sRPY7uNBQ=="
)

func TestSignAgentMakesTheVector(t *testing.T) {
	if got := signature.SignAgent(vectorSecret, []byte(vectorBody)); got != vectorAgent {
		t.Errorf("got %s, want %s", got, vectorAgent)
	}
}

func TestSignAgentTakesTheSecretAsWritten(t *testing.T) {
	// A decoded key would make both equal.
	if signature.SignAgent("whsec_aGVsbG8=", nil) == signature.SignAgent("hello", nil) {
		t.Error("the part after whsec_ was decoded")
	}
}

func TestSignStandardMakesTheVectors(t *testing.T) {
	for _, c := range []struct {
		name    string
		secrets []webhook.Secret
		want    string
	}{
		{"std", []webhook.Secret{vectorWhsec}, vectorStandard},
		{"std_old", []webhook.Secret{vectorWhsecOld}, vectorOld},
		{"multi", []webhook.Secret{vectorWhsecOld, vectorWhsec}, vectorMulti},
		{"none", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := signature.SignStandard(vectorID, vectorTime, []byte(vectorBody), c.secrets...); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestStandardKeyIsDecodedOnlyFromBase64AfterThePrefix(t *testing.T) {
	sign := func(secret webhook.Secret) string { return signature.SignStandard("m", 1, nil, secret) }
	// The key of the second is that of the first, written differently.
	if sign("hello") != sign("whsec_aGVsbG8=") {
		t.Error("the base64 after whsec_ was not decoded")
	}
	distinct := map[string]webhook.Secret{}
	for _, secret := range []webhook.Secret{"hello", "aGVsbG8=", "whsec_aGVsbG8", "whsec_not base64!", "whsec_", "whsec_whsec_aGVsbG8="} {
		if other, ok := distinct[sign(secret)]; ok {
			t.Errorf("%s and %s are the same key", secret.Reveal(), other.Reveal())
		}
		distinct[sign(secret)] = secret
	}
}

func TestVerifyAgent(t *testing.T) {
	digits := strings.TrimPrefix(vectorAgent, "sha256=")
	for _, c := range []struct {
		name    string
		header  string
		body    string
		secrets []webhook.Secret
		want    error
	}{
		{"good", vectorAgent, vectorBody, []webhook.Secret{vectorSecret}, nil},
		{"upper-case digits", "sha256=" + strings.ToUpper(digits), vectorBody, []webhook.Secret{vectorSecret}, nil},
		{"first of two secrets", vectorAgent, vectorBody, []webhook.Secret{vectorSecret, "other"}, nil},
		{"last of two secrets", vectorAgent, vectorBody, []webhook.Secret{"other", vectorSecret}, nil},
		{"other secret", vectorAgent, vectorBody, []webhook.Secret{"other"}, signature.ErrMismatch},
		{"other body", vectorAgent, vectorBody + "\n", []webhook.Secret{vectorSecret}, signature.ErrMismatch},
		{"no secret", vectorAgent, vectorBody, nil, signature.ErrMismatch},
		{"empty secret", signature.SignAgent("", []byte(vectorBody)), vectorBody, []webhook.Secret{""}, signature.ErrMismatch},
		{"absent", "", vectorBody, []webhook.Secret{vectorSecret}, signature.ErrMalformed},
		{"no digits", "sha256=", vectorBody, []webhook.Secret{vectorSecret}, signature.ErrMalformed},
		{"bare digits", digits, vectorBody, []webhook.Secret{vectorSecret}, signature.ErrMalformed},
		{"other algorithm", "sha1=" + digits, vectorBody, []webhook.Secret{vectorSecret}, signature.ErrMalformed},
		{"upper-case prefix", "SHA256=" + digits, vectorBody, []webhook.Secret{vectorSecret}, signature.ErrMalformed},
		{"one digit short", vectorAgent[:len(vectorAgent)-1], vectorBody, []webhook.Secret{vectorSecret}, signature.ErrMalformed},
		{"one digit more", vectorAgent + "0", vectorBody, []webhook.Secret{vectorSecret}, signature.ErrMalformed},
		{"not a digit", vectorAgent[:len(vectorAgent)-1] + "g", vectorBody, []webhook.Secret{vectorSecret}, signature.ErrMalformed},
		{"space before", " " + vectorAgent[:len(vectorAgent)-1], vectorBody, []webhook.Secret{vectorSecret}, signature.ErrMalformed},
		{"two values", vectorAgent + "," + vectorAgent, vectorBody, []webhook.Secret{vectorSecret}, signature.ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := signature.VerifyAgent(c.header, []byte(c.body), c.secrets...); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestVerifyStandard(t *testing.T) {
	for _, c := range []struct {
		name    string
		header  string
		id      string
		at      int64
		body    string
		secrets []webhook.Secret
		want    error
	}{
		{"good", vectorStandard, vectorID, vectorTime, vectorBody, []webhook.Secret{vectorWhsec}, nil},
		{"old key", vectorOld, vectorID, vectorTime, vectorBody, []webhook.Secret{vectorWhsecOld}, nil},
		{"two signatures, the first secret", vectorMulti, vectorID, vectorTime, vectorBody, []webhook.Secret{vectorWhsecOld}, nil},
		{"two signatures, the second secret", vectorMulti, vectorID, vectorTime, vectorBody, []webhook.Secret{vectorWhsec}, nil},
		{"two secrets", vectorStandard, vectorID, vectorTime, vectorBody, []webhook.Secret{vectorWhsecOld, vectorWhsec}, nil},
		{"beside another version", vectorV1a + " " + vectorStandard, vectorID, vectorTime, vectorBody, []webhook.Secret{vectorWhsec}, nil},
		{"beside nonsense", "  v1,short " + vectorStandard + " ", vectorID, vectorTime, vectorBody, []webhook.Secret{vectorWhsec}, nil},
		{"other secret", vectorStandard, vectorID, vectorTime, vectorBody, []webhook.Secret{vectorWhsecOld}, signature.ErrMismatch},
		{"secret not decoded", vectorStandard, vectorID, vectorTime, vectorBody, []webhook.Secret{vectorWhsec[len("whsec_"):]}, signature.ErrMismatch},
		{"other id", vectorStandard, "msg_other", vectorTime, vectorBody, []webhook.Secret{vectorWhsec}, signature.ErrMismatch},
		{"other timestamp", vectorStandard, vectorID, vectorTime + 1, vectorBody, []webhook.Secret{vectorWhsec}, signature.ErrMismatch},
		{"other body", vectorStandard, vectorID, vectorTime, vectorBody + " ", []webhook.Secret{vectorWhsec}, signature.ErrMismatch},
		{"no secret", vectorStandard, vectorID, vectorTime, vectorBody, nil, signature.ErrMismatch},
		{"empty secret", signature.SignStandard("m", 1, nil, ""), "m", 1, "", []webhook.Secret{""}, signature.ErrMismatch},
		{"absent", "", vectorID, vectorTime, vectorBody, []webhook.Secret{vectorWhsec}, signature.ErrMalformed},
		{"only another version", vectorV1a, vectorID, vectorTime, vectorBody, []webhook.Secret{vectorWhsec}, signature.ErrMalformed},
		{"no version", vectorStandard[len("v1,"):], vectorID, vectorTime, vectorBody, []webhook.Secret{vectorWhsec}, signature.ErrMalformed},
		{"separated by a comma", vectorOld + "," + vectorStandard, vectorID, vectorTime, vectorBody, []webhook.Secret{vectorWhsec}, signature.ErrMalformed},
		{"without padding", strings.TrimSuffix(vectorStandard, "="), vectorID, vectorTime, vectorBody, []webhook.Secret{vectorWhsec}, signature.ErrMalformed},
		{"URL alphabet", strings.ReplaceAll(vectorOld, "+", "-"), vectorID, vectorTime, vectorBody, []webhook.Secret{vectorWhsecOld}, signature.ErrMalformed},
		// The last character before the padding carries two spare bits; a
		// decoder that ignores them takes this for the same signature.
		{"other spelling of the same bytes", strings.Replace(vectorStandard, "Uc=", "Ud=", 1), vectorID, vectorTime, vectorBody, []webhook.Secret{vectorWhsec}, signature.ErrMismatch},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := signature.VerifyStandard(c.header, c.id, c.at, []byte(c.body), c.secrets...); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// FuzzVerifyAgent holds the parser to three rules: no header makes it panic,
// the header that SignAgent makes verifies, and no change of one byte does,
// save that of a digit's case.
func FuzzVerifyAgent(f *testing.F) {
	f.Add(vectorAgent, vectorSecret.Reveal(), []byte(vectorBody), uint(3), byte(1))
	f.Add("", "s", []byte{}, uint(70), byte(0x20))
	f.Add("sha256=", "whsec_aGVsbG8=", []byte{0xff}, uint(0), byte(0xff))
	f.Fuzz(func(t *testing.T, header, secret string, body []byte, at uint, flip byte) {
		made := signature.SignAgent(webhook.Secret(secret), body)
		err := signature.VerifyAgent(header, body, webhook.Secret(secret))
		if err == nil && !strings.EqualFold(header, made) {
			t.Fatalf("%q verifies", header)
		}
		if secret == "" {
			return
		}
		if err := signature.VerifyAgent(made, body, webhook.Secret(secret)); err != nil {
			t.Fatalf("%q: %v", made, err)
		}
		changed := flipByte(made, at, flip)
		err = signature.VerifyAgent(changed, body, webhook.Secret(secret))
		// Only the digits may be written in either case.
		same := changed[:len("sha256=")] == "sha256=" && strings.EqualFold(changed, made)
		if same != (err == nil) {
			t.Fatalf("%q in place of %q: %v", changed, made, err)
		}
	})
}

// FuzzVerifyStandard holds the parser to the rules of FuzzVerifyAgent; here
// case makes a difference everywhere.
func FuzzVerifyStandard(f *testing.F) {
	f.Add(vectorMulti, vectorID, int64(vectorTime), vectorWhsec.Reveal(), []byte(vectorBody), uint(46), byte(1))
	f.Add(vectorV1a, "", int64(-1), "whsec_", []byte{}, uint(3), byte(0x60))
	f.Add(" v1, v1,", "m", int64(0), "s", []byte{0}, uint(45), byte(0xff))
	f.Fuzz(func(t *testing.T, header, id string, at int64, secret string, body []byte, place uint, flip byte) {
		made := signature.SignStandard(id, at, body, webhook.Secret(secret))
		err := signature.VerifyStandard(header, id, at, body, webhook.Secret(secret))
		if err == nil && !strings.Contains(header, made) {
			t.Fatalf("%q verifies", header)
		}
		if secret == "" {
			return
		}
		if err := signature.VerifyStandard(made, id, at, body, webhook.Secret(secret)); err != nil {
			t.Fatalf("%q: %v", made, err)
		}
		changed := flipByte(made, place, flip)
		err = signature.VerifyStandard(changed, id, at, body, webhook.Secret(secret))
		if (changed == made) != (err == nil) {
			t.Fatalf("%q in place of %q: %v", changed, made, err)
		}
	})
}

func flipByte(s string, at uint, flip byte) string {
	b := []byte(s)
	b[at%uint(len(b))] ^= flip
	return string(b)
}

func BenchmarkSignAgent(b *testing.B) {
	body, secret := []byte(vectorBody), webhook.NewSecret()
	b.ReportAllocs()
	for b.Loop() {
		signature.SignAgent(secret, body)
	}
}

func BenchmarkVerifyAgent(b *testing.B) {
	body := []byte(vectorBody)
	b.ReportAllocs()
	for b.Loop() {
		if err := signature.VerifyAgent(vectorAgent, body, vectorSecret); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignStandard(b *testing.B) {
	body, secret := []byte(vectorBody), webhook.NewSecret()
	b.ReportAllocs()
	for b.Loop() {
		signature.SignStandard(vectorID, vectorTime, body, secret)
	}
}

func BenchmarkVerifyStandard(b *testing.B) {
	body := []byte(vectorBody)
	b.ReportAllocs()
	for b.Loop() {
		if err := signature.VerifyStandard(vectorStandard, vectorID, vectorTime, body, vectorWhsec); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleSignAgent() {
	fmt.Println(signature.SignAgent("postern-test-secret", []byte(vectorBody)))
	// Output: sha256=669ff96c88584f311d541a7dc2c66d15bc9157a3b43098aad811170bbe8906b7
}

// TestSignStripeMakesWhatTheSchemeMakes compares the two ways to sign.
func TestSignStripeMakesWhatTheSchemeMakes(t *testing.T) {
	for _, body := range []string{"", vectorBody} {
		header, err := signature.Sign(webhook.SchemeStripe, webhook.SignatureForm{}, "hush", "", vectorTime, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := signature.SignStripe("hush", vectorTime, []byte(body)), header.Get("Stripe-Signature"); got != want {
			t.Errorf("%q is signed %s, want %s", body, got, want)
		}
	}
}
