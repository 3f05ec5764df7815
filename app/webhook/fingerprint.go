package webhook

import "strings"

// maxFingerprint bounds a fingerprint, in bytes.
const maxFingerprint = 80

// gap stands in a fingerprint for what differs.
const gap = "…"

// Fingerprint tells what went wrong in an attempt, without what differs from one
// attempt to the next of its kind, such as addresses, ports and numbers. Dead
// letters are grouped by it. It is at most 80 bytes of printable text; empty
// where the outcome and the status say all.
//
// It is made of the words of the fault. What stands in quotes is left out, and
// so are words that are no words of English, since the receiver may have chosen
// them.
func Fingerprint(outcome Outcome, fault string) string {
	if outcome == OK || outcome == HTTPStatus || outcome == Interrupted {
		return ""
	}
	fault = withoutForeign(withoutQuotes(strings.ToLower(fault)))
	if outcome == Transformation {
		// What an expression says itself, in jq: error("…").
		fault = withoutRest(fault, "error: ")
	}
	words := strings.Fields(fault)
	for i, word := range words {
		if i > 0 && words[i-1] == "lookup" {
			word = name(word)
		}
		words[i] = plainWord(word)
	}
	return shorten(joinGaps(words))
}

// withoutQuotes leaves out what stands in quotes, to the end if they are not
// closed. An apostrophe within a word is no quote.
func withoutQuotes(s string) string {
	closing := map[rune]rune{'"': '"', '`': '`', '\'': '\'', '“': '”', '‘': '’', '«': '»'}
	var b strings.Builder
	var until, before rune
	escaped := false
	for _, r := range s {
		switch {
		case until != 0:
			if !escaped && r == until {
				until = 0
			}
			escaped = !escaped && r == '\\'
		case closing[r] != 0 && (r != '\'' || !letter(before)):
			until, escaped = closing[r], false
			b.WriteString(" " + gap)
		default:
			b.WriteRune(r)
		}
		before = r
	}
	return b.String()
}

// withoutForeign leaves out what errors repeat of others' words without quotes:
// a receiver that chose new ones each time would make a group of each dead letter.
func withoutForeign(s string) string {
	s = withoutRest(s, "malformed mime header line: ")
	// crypto/x509: "certificate is valid for a, b, not c".
	if before, _, ok := strings.Cut(s, "certificate is valid for "); ok {
		s = before + "certificate is valid for another name"
	}
	// Package sender: "the server answered 400: invalid_client: try again".
	const answered = "the server answered "
	if before, after, ok := strings.Cut(s, answered); ok {
		status, words, _ := strings.Cut(after, ": ")
		s = before + answered + status
		if code, _, _ := strings.Cut(words, ": "); tokenFault(code) {
			s += ": " + code
		}
	}
	return s
}

// tokenFault reports whether it is one of the codes by which token endpoints say
// what is wrong, RFC 6749 section 5.2 and, for busy ones, 4.1.2.1.
func tokenFault(code string) bool {
	switch code {
	case "invalid_request", "invalid_client", "invalid_grant", "invalid_scope", "invalid_target", "unauthorized_client",
		"unsupported_grant_type", "access_denied", "server_error", "temporarily_unavailable":
		return true
	}
	return false
}

// withoutRest leaves out what follows the phrase.
func withoutRest(s, phrase string) string {
	if before, _, ok := strings.Cut(s, phrase); ok {
		return before + phrase + gap
	}
	return s
}

// plainWord returns the word with the punctuation around it, or a gap in place of
// the word if it is none.
func plainWord(word string) string {
	start := len(word) - len(strings.TrimLeft(word, "([{<"))
	end := len(strings.TrimRight(word, ")]}>:;,.!"))
	if start >= end {
		return gap
	}
	if core := word[start:end]; !english(core) {
		return gap + trailing(word[end:])
	}
	return word[start:end] + trailing(word[end:])
}

// name is a gap for a word that is a name, whatever it looks like.
func name(word string) string {
	return gap + trailing(word[len(strings.TrimRight(word, ":;,")):])
}

// trailing is the punctuation behind a word that says how the text goes on.
func trailing(s string) string {
	if i := strings.IndexAny(s, ":;,"); i >= 0 {
		return s[i : i+1]
	}
	return ""
}

// english reports whether the word can be one of the language, or is a term of
// the trade that looks like none.
func english(word string) bool {
	switch word {
	case "x509", "http2", "http/1.x", "http/1.1", "http/1.0", "http/2", "oauth2", "asn1", "sha1", "sha256", "ed25519", "ipv4", "ipv6", "net/http", "crypto/rsa":
		return true
	}
	hex := true
	for _, r := range word {
		if !letter(r) && r != '-' && r != '_' && r != '\'' && r != '/' {
			return false
		}
		hex = hex && r >= 'a' && r <= 'f'
	}
	return len(word) <= 20 && strings.Count(word, "/") <= 1 && word[0] != '/' && !(hex && len(word) >= 8)
}

func letter(r rune) bool { return r >= 'a' && r <= 'z' }

// joinGaps joins the words, and gaps that follow each other into one.
func joinGaps(words []string) string {
	var b strings.Builder
	last := ""
	for _, word := range words {
		if strings.HasPrefix(word, gap) && strings.HasPrefix(last, gap) && !strings.HasSuffix(last, ":") {
			continue
		}
		if last != "" {
			b.WriteByte(' ')
		}
		b.WriteString(word)
		last = word
	}
	return strings.TrimRight(b.String(), " :;,")
}

// shorten leaves out what stands first, since what is wrapped comes last and
// tells most; and the end of what is too long even so.
func shorten(s string) string {
	for len(s) > maxFingerprint {
		_, inner, ok := strings.Cut(s, ": ")
		if !ok {
			s = s[:maxFingerprint-len(gap)]
			return strings.TrimRight(strings.ToValidUTF8(s, ""), " :;,") + gap
		}
		s = inner
	}
	return s
}
