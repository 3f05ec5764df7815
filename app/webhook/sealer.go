package webhook

// SealedPrefix begins a text that a [Sealer] has made.
const SealedPrefix = "sealed:"

// A Sealer encrypts secrets, so that who has the store alone cannot read them.
// It is safe for concurrent use.
type Sealer interface {
	// Seal encrypts a secret under the newest key. The place is where it is kept,
	// such as a table, a column and an id: sealed text opens nowhere else. It
	// begins with [SealedPrefix].
	Seal(place, secret string) (sealed string)
	// Open decrypts what Seal has made, and reports whether it is sealed under
	// the newest key.
	Open(place, sealed string) (secret string, newest bool, err error)
}
