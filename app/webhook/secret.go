package webhook

import (
	"crypto/rand"
	"encoding/base64"
	"log/slog"
)

// SecretPrefix stands before the base64 of a generated secret, as Standard
// Webhooks writes them.
const SecretPrefix = "whsec_"

// A Secret is a key shared with a sender or a receiver. It prints, logs and
// encodes as "***": whoever needs the value says so with [Secret.Reveal].
type Secret string

// NewSecret makes a secret of 32 random bytes.
func NewSecret() Secret {
	key := make([]byte, 32)
	rand.Read(key)
	return Secret(SecretPrefix + base64.StdEncoding.EncodeToString(key))
}

// Reveal returns the secret as it was written.
func (s Secret) Reveal() string { return string(s) }

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// LogValue hides the secret from logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the secret from JSON and TOML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
