package security

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/pintle/pintle/app/webhook"
)

const (
	// sealedForm stands before the id of the key.
	sealedForm = webhook.SealedPrefix + "v1:"
	// keyLabel parts the id of a key from whatever else its digest is taken for.
	keyLabel = "pintle sealing key v1\n"
	// maxKeyFile bounds a file of keys, in bytes.
	maxKeyFile = 64 << 10
)

// ErrExposed says that others than its owner can read a file of keys.
var ErrExposed = errors.New("others than its owner can read it")

// sealedText is how ciphertext is written. Each has one way to be written.
var sealedText = base64.RawURLEncoding.Strict()

var _ webhook.Sealer = (*Keyring)(nil)

// A Keyring seals secrets with XChaCha20-Poly1305: under its first key, and opens
// what any of its keys has sealed. Sealed text has the form
//
//	sealed:v1:<id of the key>:<nonce and ciphertext in base64url>
//
// where the id is of eight hexadecimal digits. The nonce, of 24 bytes, is random.
// The place is authenticated with the ciphertext: moved to another row or column,
// sealed text does not open.
type Keyring struct {
	keys []sealingKey
}

type sealingKey struct {
	id   string
	aead cipher.AEAD
}

// ParseKeyring reads keys of 32 bytes each, in base64 or hexadecimal, with commas
// or line ends between them. What follows a # on a line is a comment. The error
// counts the keys from one, and shows none.
func ParseKeyring(text string) (*Keyring, error) {
	ring := &Keyring{}
	var known [][]byte
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		for part := range strings.SplitSeq(line, ",") {
			n := len(known) + 1
			key, err := parseKey(strings.TrimSpace(part))
			if err != nil {
				return nil, fmt.Errorf("key %d %w", n, err)
			}
			for i, other := range known {
				if bytes.Equal(key, other) {
					return nil, fmt.Errorf("key %d is key %d again", n, i+1)
				}
			}
			known = append(known, key)
			aead, err := chacha20poly1305.NewX(key)
			if err != nil {
				return nil, fmt.Errorf("key %d: %w", n, err)
			}
			ring.keys = append(ring.keys, sealingKey{keyID(key), aead})
		}
	}
	if len(ring.keys) == 0 {
		return nil, errors.New("there is no key")
	}
	return ring, nil
}

func parseKey(text string) ([]byte, error) {
	if text == "" {
		return nil, errors.New("is empty")
	}
	key, err := hex.DecodeString(text)
	if err != nil {
		// Both alphabets, with and without the padding.
		plain := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
		if key, err = base64.RawStdEncoding.DecodeString(plain); err != nil {
			return nil, errors.New("is neither base64 nor hexadecimal")
		}
	}
	if len(key) != chacha20poly1305.KeySize {
		return nil, fmt.Errorf("is of %d bytes, and must be of %d", len(key), chacha20poly1305.KeySize)
	}
	return key, nil
}

func keyID(key []byte) string {
	digest := sha256.Sum256(append([]byte(keyLabel), key...))
	return hex.EncodeToString(digest[:4])
}

// ReadKeyring reads keys from a file, as ParseKeyring does. One that the group or
// everybody can read gets [ErrExposed].
func ReadKeyring(file string) (*Keyring, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode(); mode.Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o: %w", file, mode.Perm(), ErrExposed)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("%s is longer than %d KiB", file, maxKeyFile>>10)
	}
	ring, err := ParseKeyring(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return ring, nil
}

// Newest is the id of the key that seals. It tells nothing of the key.
func (r *Keyring) Newest() string { return r.keys[0].id }

// Seal encrypts a secret under the first key; see [webhook.Sealer].
func (r *Keyring) Seal(place, secret string) string {
	key := &r.keys[0]
	nonce := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(secret)+chacha20poly1305.Overhead)
	rand.Read(nonce)
	sealed := key.aead.Seal(nonce, nonce, []byte(secret), []byte(place))
	return sealedForm + key.id + ":" + sealedText.EncodeToString(sealed)
}

// Open decrypts sealed text, and reports whether it was sealed under the first
// key. The error names keys by their ids.
func (r *Keyring) Open(place, sealed string) (secret string, newest bool, err error) {
	rest, ok := strings.CutPrefix(sealed, sealedForm)
	id, text, parted := strings.Cut(rest, ":")
	// The decoder passes over line ends.
	if !ok || !parted || strings.ContainsAny(text, "\r\n") {
		return "", false, errors.New("this is not sealed text of a form that is known")
	}
	bytes, err := sealedText.DecodeString(text)
	if err != nil || len(bytes) < chacha20poly1305.NonceSizeX+chacha20poly1305.Overhead {
		return "", false, errors.New("sealed text is damaged")
	}
	known := false
	for i, key := range r.keys {
		if key.id != id {
			continue
		}
		known = true
		nonce, ciphertext := bytes[:chacha20poly1305.NonceSizeX], bytes[chacha20poly1305.NonceSizeX:]
		if opened, err := key.aead.Open(nil, nonce, ciphertext, []byte(place)); err == nil {
			return string(opened), i == 0, nil
		}
	}
	if !known {
		return "", false, fmt.Errorf("the key has the id %.8q, and %s", id, r.ids())
	}
	return "", false, errors.New("sealed text does not open: it was changed, or stood in another place")
}

// ids says which keys there are.
func (r *Keyring) ids() string {
	if len(r.keys) == 1 {
		return "the one given has " + r.keys[0].id
	}
	list := make([]string, len(r.keys))
	for i, key := range r.keys {
		list[i] = key.id
	}
	return "those given have " + strings.Join(list, ", ")
}
