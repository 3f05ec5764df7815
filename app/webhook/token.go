package webhook

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"time"
)

// A Role is what the bearer of a token may do.
type Role string

// The roles, each of which may do what the ones before it may.
const (
	// Viewer reads all but secrets.
	Viewer Role = "viewer"
	// Operator also publishes, resends, replays, cancels, pauses and resumes.
	Operator Role = "operator"
	// Administrator may do everything.
	Administrator Role = "admin"
)

// Roles lists the roles, the least first.
func Roles() []Role { return []Role{Viewer, Operator, Administrator} }

// May reports whether the role includes the other. An unknown role includes
// none.
func (r Role) May(other Role) bool {
	rank := func(r Role) int {
		for i, known := range Roles() {
			if r == known {
				return i + 1
			}
		}
		return 0
	}
	return rank(r) > 0 && rank(other) > 0 && rank(r) >= rank(other)
}

// tokenText stands before the random part of a token, so that scanners that
// look for leaked secrets recognise one.
const tokenText = "pintle_"

// A Token lets its bearer use the admin API. Only a digest of it is kept.
type Token struct {
	ID TokenID
	// Name is free text for people.
	Name string
	Role Role
	// Hash is the digest of the text that its bearer presents.
	Hash      [sha256.Size]byte
	CreatedAt time.Time
	// RevokedAt is when it ceased to be valid; zero while it is.
	RevokedAt time.Time
}

// NewTokenText makes what a bearer presents: 32 random bytes.
func NewTokenText() Secret {
	key := make([]byte, 32)
	rand.Read(key)
	return Secret(tokenText + base64.RawURLEncoding.EncodeToString(key))
}

// HashToken returns the digest under which the text of a token is kept. The
// text is as random as a key, so a plain digest cannot be searched backwards.
func HashToken(text string) [sha256.Size]byte { return sha256.Sum256([]byte(text)) }
