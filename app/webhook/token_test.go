package webhook_test

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/pintle/pintle/app/webhook"
)

func TestRolesIncludeTheOnesBeforeThem(t *testing.T) {
	roles := webhook.Roles()
	if len(roles) != 3 || roles[0] != webhook.Viewer || roles[2] != webhook.Administrator {
		t.Fatalf("the roles are %v", roles)
	}
	for i, role := range roles {
		for j, other := range roles {
			if role.May(other) != (i >= j) {
				t.Errorf("%s may what %s may: %v", role, other, role.May(other))
			}
		}
		for _, unknown := range []webhook.Role{"", "root", "ADMIN"} {
			if role.May(unknown) || unknown.May(role) || unknown.May(unknown) {
				t.Errorf("the role %q counts for something beside %s", unknown, role)
			}
		}
	}
}

func TestTokensAreRandomAndKeptAsDigests(t *testing.T) {
	text := webhook.NewTokenText()
	random, ok := strings.CutPrefix(text.Reveal(), "pintle_")
	if key, err := base64.RawURLEncoding.DecodeString(random); !ok || err != nil || len(key) != 32 || text == webhook.NewTokenText() {
		t.Error("a token is not pintle_ and the base64 of 32 random bytes")
	}
	if text.String() != "***" {
		t.Error("a token shows")
	}
	hash := webhook.HashToken("abc")
	if got := hex.EncodeToString(hash[:]); got != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("the digest is %s, not SHA-256", got)
	}
}
