package security_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/webhook"
)

const (
	place = "webhook_subscribers.secret/sub_1"
	// kept is "hush" as an earlier version has sealed it, under keyOf(7).
	kept = "sealed:v1:cf2d71b8:axZDz86hKxGs1DPOF--t_aSQ5SbMMfja4NytJKOsFCbkIt-wZc0jVlcC8PI"
)

// keyOf is a key of 32 bytes of the same value, in hexadecimal.
func keyOf(b byte) string { return hex.EncodeToString(bytes.Repeat([]byte{b}, 32)) }

func keyring(t testing.TB, text string) *security.Keyring {
	t.Helper()
	ring, err := security.ParseKeyring(text)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestSealedSecretOpensInItsPlaceOnly(t *testing.T) {
	ring := keyring(t, keyOf(1))
	for _, secret := range []string{"", "hush", strings.Repeat("long ", 20_000), "\x00\xff: sealed:v1:"} {
		sealed := ring.Seal(place, secret)
		if !regexp.MustCompile(`^sealed:v1:[0-9a-f]{8}:[A-Za-z0-9_-]+$`).MatchString(sealed) {
			t.Errorf("sealed as %.60q", sealed)
		}
		if again := ring.Seal(place, secret); again == sealed {
			t.Errorf("%.20q is sealed twice in the same way", secret)
		}
		opened, newest, err := ring.Open(place, sealed)
		if err != nil || opened != secret || !newest {
			t.Errorf("%.20q opens as %.20q, newest %v: %v", secret, opened, newest, err)
		}
		for _, other := range []string{"", "webhook_subscribers.secret/sub_2", place + " "} {
			if opened, _, err := ring.Open(other, sealed); err == nil || opened != "" {
				t.Errorf("in the place %q it opens as %.20q", other, opened)
			}
		}
	}
}

func TestOlderKeysOpenAndTheFirstSeals(t *testing.T) {
	before := keyring(t, keyOf(1))
	sealed := before.Seal(place, "hush")
	rotated := keyring(t, keyOf(2)+"\n"+keyOf(1))
	opened, newest, err := rotated.Open(place, sealed)
	if err != nil || opened != "hush" || newest {
		t.Errorf("under the older key: %q, newest %v, %v", opened, newest, err)
	}
	sealed = rotated.Seal(place, "hush")
	if opened, newest, err = keyring(t, keyOf(2)).Open(place, sealed); err != nil || opened != "hush" || !newest {
		t.Errorf("under the newer key: %q, newest %v, %v", opened, newest, err)
	}
	if _, _, err = before.Open(place, sealed); err == nil ||
		!strings.Contains(err.Error(), before.Newest()) || !strings.Contains(err.Error(), rotated.Newest()) {
		t.Errorf("under no key of these: %v", err)
	}
}

func TestChangedSealedTextDoesNotOpen(t *testing.T) {
	ring := keyring(t, keyOf(1)+","+keyOf(2))
	sealed := ring.Seal(place, "hush")
	refuse := func(text string) {
		t.Helper()
		if opened, _, err := ring.Open(place, text); err == nil || opened != "" || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q opens as %q: %v", text, opened, err)
		}
	}
	for i := range len(sealed) {
		refuse(sealed[:i])
		for bit := range 8 {
			flipped := []byte(sealed)
			flipped[i] ^= 1 << bit
			refuse(string(flipped))
		}
	}
	refuse(sealed + "A")
	refuse(sealed + "\n")
	refuse(strings.Replace(sealed, "sealed:v1:", "sealed:v2:", 1))
	refuse(webhook.SealedPrefix)
}

// TestSealedFormIsXChaCha20Poly1305 opens what a keyring has sealed without one.
func TestSealedFormIsXChaCha20Poly1305(t *testing.T) {
	sealed := keyring(t, keyOf(7)).Seal(place, "hush")
	raw, err := base64.RawURLEncoding.DecodeString(sealed[strings.LastIndex(sealed, ":")+1:])
	if err != nil {
		t.Fatal(err)
	}
	aead, err := chacha20poly1305.NewX(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	opened, err := aead.Open(nil, raw[:24], raw[24:], []byte(place))
	if err != nil || string(opened) != "hush" {
		t.Errorf("got %q: %v", opened, err)
	}
}

func TestWhatAnEarlierVersionSealedOpens(t *testing.T) {
	if opened, newest, err := keyring(t, keyOf(7)).Open(place, kept); err != nil || opened != "hush" || !newest {
		t.Errorf("got %q, newest %v: %v", opened, newest, err)
	}
}

func TestKeysAreReadInEveryForm(t *testing.T) {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(250 + i) // it has + and / in base64
	}
	want := keyring(t, hex.EncodeToString(key)).Newest()
	for _, text := range []string{
		strings.ToUpper(hex.EncodeToString(key)), base64.StdEncoding.EncodeToString(key), base64.RawStdEncoding.EncodeToString(key),
		base64.URLEncoding.EncodeToString(key), base64.RawURLEncoding.EncodeToString(key),
		"\n# the key of 2026\r\n\t" + hex.EncodeToString(key) + "  # sealed with, since May\r\n\r\n",
		hex.EncodeToString(key) + "," + keyOf(1) + "\n" + keyOf(2),
	} {
		if got := keyring(t, text).Newest(); got != want {
			t.Errorf("%q has the id %s, not %s", text, got, want)
		}
	}
}

func TestFaultsOfKeysShowNone(t *testing.T) {
	good, half := keyOf(1), strings.Repeat("ab", 16)
	for text, want := range map[string]string{
		"": "there is no key", " \n# " + good + "\n": "there is no key",
		half:                   "key 1 is of 16 bytes, and must be of 32",
		good + ",\n" + half:    "key 2 is empty",
		good + "\n" + half:     "key 2 is of 16 bytes, and must be of 32",
		good + ",secret words": "key 2 is neither base64 nor hexadecimal",
		good + "," + good:      "key 2 is key 1 again",
		good + good:            "key 1 is of 64 bytes, and must be of 32",
	} {
		if _, err := security.ParseKeyring(text); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestKeyFileIsForItsOwnerOnly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	for mode, exposed := range map[fs.FileMode]bool{0o600: false, 0o400: false, 0o640: true, 0o604: true, 0o620: true, 0o601: true} {
		os.Remove(file)
		if err := os.WriteFile(file, []byte("# of 2026\n"+keyOf(1)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		_, err := security.ReadKeyring(file)
		if exposed != errors.Is(err, security.ErrExposed) || !exposed && err != nil {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
}

func TestKeyFileThatIsNoGoodIsNamed(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"short": "abcd\n", "long": strings.Repeat("#", 65<<10), "empty": ""} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := security.ReadKeyring(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := security.ReadKeyring(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := security.ReadKeyring(dir); err == nil {
		t.Error("a folder is read")
	}
}

// FuzzOpen holds that nothing opens but what was sealed, where it was, and that
// this has one form only.
func FuzzOpen(f *testing.F) {
	ring := keyring(f, keyOf(1)+","+keyOf(7))
	for _, seed := range []string{
		kept, keyring(f, keyOf(3)).Seal(place, "x"), kept[:len(kept)-1], kept + "=", kept + "\n",
		"sealed:", "sealed:v1:", "sealed:v1:::", "sealed:v2:00000000:AAAA", fmt.Sprintf("sealed:v1:%s:", ring.Newest()), "plain",
	} {
		f.Add(place, seed)
	}
	f.Add("elsewhere", kept)
	f.Fuzz(func(t *testing.T, at, text string) {
		secret, _, err := ring.Open(at, text)
		if right := at == place && text == kept; right != (err == nil) || !right && secret != "" {
			t.Errorf("%q opens as %q: %v", text, secret, err)
		}
	})
}

// FuzzParseKeyring holds that a keyring that is made works, and that a fault
// shows nothing of a key.
func FuzzParseKeyring(f *testing.F) {
	for _, seed := range []string{keyOf(1), keyOf(1) + "," + keyOf(2), "# x\n" + keyOf(1) + "\n", ",", "\r\n", strings.Repeat("A", 43), strings.Repeat("A", 43) + "="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ring, err := security.ParseKeyring(text)
		if err != nil {
			if len(err.Error()) > 80 {
				t.Errorf("a fault of %d bytes: %v", len(err.Error()), err)
			}
			return
		}
		if secret, newest, err := ring.Open(place, ring.Seal(place, "hush")); err != nil || secret != "hush" || !newest {
			t.Errorf("it opens %q, newest %v: %v", secret, newest, err)
		}
	})
}
