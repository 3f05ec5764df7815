package sandbox

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

// sourceMessage makes the header and the body of an event as the senders of the
// source would.
func (s *sending) sourceMessage(secret webhook.Secret, e Event) (http.Header, []byte, error) {
	e.ID = cmp.Or(e.ID, "msg_"+rand.Text())
	header, body := http.Header{}, bytes.Clone(e.Data)
	if len(body) == 0 {
		body = []byte("{}")
	}
	eventType, id := places(s.source)
	body = put(header, body, id, e.ID)
	body = put(header, body, eventType, e.Type)
	switch s.signing {
	case SignNone:
		return header, body, nil
	case SignHeader:
	case SignWrong:
		secret = webhook.NewSecret()
	default:
		return nil, nil, fmt.Errorf("signing %q is no way of the scheme %s", s.signing, s.source.Scheme)
	}
	signed, err := signature.Sign(s.source.Scheme, s.source.Form, secret, e.ID, e.Timestamp, body)
	if err != nil {
		return nil, nil, fmt.Errorf("sign under the scheme %s: %w", s.source.Scheme, err)
	}
	maps.Copy(header, signed)
	return header, body, nil
}

// places are where the senders of the source put the type and the id of an
// event. An id that is signed is put there with the signature.
func places(source *webhook.Source) (eventType, id webhook.Place) {
	eventType = "body:type"
	switch source.Scheme {
	case webhook.SchemeStripe:
		id = "body:id"
	case webhook.SchemeSlack:
		id = "body:event_id"
	case webhook.SchemeGitHub:
		eventType, id = "header:X-GitHub-Event", "header:X-GitHub-Delivery"
	case webhook.SchemeGitLab:
		eventType, id = "header:X-Gitlab-Event", "header:Idempotency-Key"
	case webhook.SchemeShopify:
		eventType, id = "header:X-Shopify-Topic", "header:X-Shopify-Webhook-Id"
	}
	return cmp.Or(source.TypeFrom, eventType), cmp.Or(source.IDFrom, id)
}

// put puts the text at the place and returns the body. What is deeper in the
// body than its members is for whoever writes the data.
func put(header http.Header, body []byte, place webhook.Place, text string) []byte {
	if name, ok := strings.CutPrefix(string(place), "header:"); ok {
		header.Set(name, text)
		return body
	}
	name, ok := strings.CutPrefix(string(place), "body:")
	var members map[string]json.RawMessage
	if !ok || strings.Contains(name, ".") || json.Unmarshal(body, &members) != nil || members == nil {
		return body
	}
	if _, there := members[name]; there {
		return body
	}
	member := append(appendJSON([]byte{'{'}, name), ':')
	member = appendJSON(member, text)
	if len(members) > 0 {
		member = append(member, ',')
	}
	return append(member, body[bytes.IndexByte(body, '{')+1:]...)
}
