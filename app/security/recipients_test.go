package security_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/pintle/pintle/app/security"
)

func TestRecipientsAreCheckedWithoutBeingShown(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	public, private := key.Recipient().String(), key.String()
	if got, err := security.ParseRecipients([]string{public, public}); err != nil || len(got) != 2 {
		t.Errorf("two public keys: %d, %v", len(got), err)
	}
	for _, test := range []struct {
		keys []string
		want string
	}{
		{[]string{public, private}, "entry 2 is a private key"},
		{[]string{strings.ToLower(private)}, "entry 1 is a private key"},
		{[]string{""}, "entry 1 must be a public key"},
		{[]string{public[:20]}, "entry 1 must be a public key"},
		{[]string{public + "\n" + public}, "entry 1 must be a public key"},
		{[]string{public, hybrid.Recipient().String()}, "cannot be mixed"},
	} {
		_, err := security.ParseRecipients(test.keys)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(strings.ToUpper(err.Error()), private[20:]) {
			t.Errorf("%q: %v, want %q", test.keys, err, test.want)
		}
	}
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte("# mine\n"+public+" # and its comment\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := security.ReadRecipients(file); err != nil || len(got) != 1 || got[0] != public {
		t.Errorf("a file: %q, %v", got, err)
	}
	// A file of private keys that is given by mistake is not shown either.
	if _, err := security.ReadIdentities(file); err == nil || strings.Contains(err.Error(), public) {
		t.Errorf("a file of public keys as identities: %v", err)
	}
}
