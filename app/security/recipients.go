package security

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"filippo.io/age"
)

// ParseRecipients reads the public keys of age that something is encrypted to:
// age1… and, to withstand quantum computers, age1pq1…. None are mixed with the
// others, since the weaker would decide. The error counts the keys from one, and
// shows none: it may be a private one by mistake.
func ParseRecipients(keys []string) ([]age.Recipient, error) {
	var recipients []age.Recipient
	hybrid := 0
	for i, key := range keys {
		if strings.HasPrefix(strings.ToUpper(key), "AGE-SECRET-KEY-") {
			return nil, fmt.Errorf("entry %d is a private key, which belongs to whoever restores; give its public key, age1…", i+1)
		}
		if strings.ContainsAny(key, "\n#") || key == "" {
			return nil, fmt.Errorf("entry %d must be a public key of age, age1…, as age-keygen shows it", i+1)
		}
		parsed, err := age.ParseRecipients(strings.NewReader(key))
		if err != nil {
			return nil, fmt.Errorf("entry %d must be a public key of age, age1…, as age-keygen shows it", i+1)
		}
		if _, ok := parsed[0].(*age.HybridRecipient); ok {
			hybrid++
		}
		recipients = append(recipients, parsed...)
	}
	if hybrid != 0 && hybrid != len(recipients) {
		return nil, errors.New("age1pq1… cannot be mixed with age1…, which would be the weaker way in")
	}
	return recipients, nil
}

// ReadRecipients reads public keys of age from a file, one on a line, with comments
// after #. They are for [ParseRecipients], with others if there are any.
func ReadRecipients(file string) (keys []string, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			keys = append(keys, line)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s has no public key", file)
	}
	if _, err := ParseRecipients(keys); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return keys, nil
}

// ReadIdentities reads private keys of age from a file, as age-keygen writes it. The
// error shows none.
func ReadIdentities(file string) ([]age.Identity, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	identities, err := age.ParseIdentities(f)
	if err != nil {
		return nil, fmt.Errorf("%s is not a file of private keys of age: %w", file, err)
	}
	return identities, nil
}
