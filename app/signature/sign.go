package signature

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/pintle/pintle/app/webhook"
)

// Sign returns the headers that a sender of the scheme puts on a message. The
// form is that of [webhook.SchemeHMAC]; other schemes ignore it. The id and the
// timestamp, in Unix seconds, are made use of only where the scheme signs them.
func Sign(scheme webhook.Scheme, form webhook.SignatureForm, secret webhook.Secret, id string, timestamp int64, body []byte) (http.Header, error) {
	// What nobody could verify is not worth signing.
	v, err := NewVerifier(scheme, form, []webhook.Secret{secret})
	switch {
	case err != nil:
		return nil, err
	case scheme == webhook.SchemeNone:
		return http.Header{}, nil
	case secret == "":
		return nil, errors.New("the secret is empty: anybody can sign with it")
	case scheme == webhook.SchemeGitLab:
		return http.Header{tokenHeader: {secret.Reveal()}}, nil
	}
	l, header := v.layout, http.Header{}
	n, seconds := l.names[0], ""
	if l.signs(timestampPiece) {
		seconds = strconv.FormatInt(timestamp, 10)
		if _, err := parseTimestamp(seconds); err != nil {
			return nil, fmt.Errorf("timestamp %s %w", seconds, err)
		}
		if n.timestamp != "" {
			header[n.timestamp] = []string{seconds}
		}
	}
	if n.id != "" {
		if id == "" || !validValue(id) {
			return nil, fmt.Errorf("id %q cannot stand in %s", id, shownName(n.id))
		}
		header[n.id] = []string{id}
	}
	value, err := v.sign(secret, fill(l.before, seconds, id), body, fill(l.after, seconds, id))
	if err != nil {
		return nil, err
	}
	if l.field != "" {
		value = l.field + seconds + l.separator + value
	}
	header[n.signature] = []string{value}
	return header, nil
}

// sign returns one signature, with its prefix.
func (v *Verifier) sign(secret webhook.Secret, before, body, after []byte) (string, error) {
	if len(v.keys) > 0 {
		d := &v.layout.digest
		return string(d.appendSum([]byte(d.prefix), v.keys[0], before, body, after)), nil
	}
	pair, err := parseStandard(secret)
	if err != nil {
		return "", err
	}
	if pair.private == nil {
		return "", fmt.Errorf("a public key (%s) verifies; signing needs the private one (%s)", publicPrefix, privatePrefix)
	}
	signature := ed25519.Sign(pair.private, slices.Concat(before, body, after))
	return ed25519Prefix + base64.StdEncoding.EncodeToString(signature), nil
}
