package signature_test

import (
	"encoding/hex"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

// FuzzVerifier holds every scheme to three rules: no header makes it panic or
// verifies but for the one that Sign makes; what Sign makes verifies, and vouches
// for what was signed; and no change of one byte does, be it in a header or in
// the body, save that of a hexadecimal digit's case.
func FuzzVerifier(f *testing.F) {
	schemes := append(vectors, vectors[len(vectors)-1])
	schemes[len(schemes)-1].form = sender
	for i, c := range schemes {
		for _, value := range c.header {
			f.Add(uint8(i), value, vectorID, int64(vectorTime), "s", []byte(vectorBody), uint(70), byte(0x20))
			f.Add(uint8(i), value+" "+value+",", ".", int64(1), "", []byte{}, uint(i), byte(1))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, value, id string, at int64, more string, body []byte, place uint, flip byte) {
		c := schemes[int(which)%len(schemes)]
		secret := c.secret
		if c.scheme != webhook.SchemeStandard {
			// Never the secret that the seeds are signed with: their time stands in
			// a signature of Stripe's. HMAC takes zero bytes at its end for nothing.
			secret += webhook.Secret("." + more)
		}
		header, err := signature.Sign(c.scheme, c.form, secret, id, at, body)
		if err != nil {
			return
		}
		v := verifier(t, c.scheme, c.form, "other", secret)
		proof, err := v.Verify(signature.Message{Header: header, Body: body})
		if err != nil || proof != v.Claims(signature.Message{Header: header, Body: body}) ||
			proof.Timestamp != 0 && proof.Timestamp != at || proof.ID != "" && proof.ID != id {
			t.Fatalf("%v: %+v, %v", header, proof, err)
		}
		if len(body) > 0 && flip != 0 && c.scheme != webhook.SchemeGitLab {
			changed := []byte(flipByte(string(body), place, flip))
			if _, err := v.Verify(signature.Message{Header: header, Body: changed}); err == nil {
				t.Fatalf("%v verifies %q in place of %q", header, changed, body)
			}
		}
		for name, values := range header {
			changed := header.Clone()
			for _, other := range []string{flipByte(values[0], place, flip), value} {
				changed[name] = []string{other}
				_, err := v.Verify(signature.Message{Header: changed, Body: body})
				if err == nil && !same(values[0], other) {
					t.Fatalf("%s: %q verifies in place of %q", name, other, values[0])
				}
				v.Claims(signature.Message{Header: changed, Body: body})
			}
		}
	})
}

// same reports whether two values of a header are the same signatures: those of
// a list may stand beside others, and digits may be written in either case.
func same(made, other string) bool {
	if strings.Contains(other, made) {
		return true
	}
	digits := made[max(strings.LastIndexAny(made, "=, ")+1, 0):]
	if _, err := hex.DecodeString(digits); err != nil || len(digits) < 40 {
		return false
	}
	fields := strings.Split(made, ",")
	last := fields[len(fields)-1]
	prefix := strings.TrimSuffix(last, digits)
	for item := range strings.SplitSeq(other, ",") {
		if rest, ok := strings.CutPrefix(item, prefix); ok && strings.EqualFold(rest, digits) {
			return true
		}
	}
	return false
}

func BenchmarkVerifier(b *testing.B) {
	for _, c := range vectors[:9] {
		b.Run(c.name, func(b *testing.B) {
			v, m := verifier(b, c.scheme, c.form, c.secret), message(c.header, vectorBody)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkExplain(b *testing.B) {
	v := verifier(b, webhook.SchemeAgent, webhook.SignatureForm{}, vectorSecret)
	for _, size := range []int{1 << 10, 64 << 10, 256 << 10, 1 << 20} {
		m := message(map[string]string{"X-Agent-Signature": vectorAgent}, `{"data":["`+strings.Repeat("/é<", size/4)+`"]}`)
		b.Run(strconv.Itoa(size>>10)+"KiB", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				v.Explain(m, time.Unix(vectorTime, 0))
			}
		})
	}
}
