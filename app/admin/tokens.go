package admin

import (
	"context"
	"crypto/subtle"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// maxTokenName bounds the name of a token, in bytes.
const maxTokenName = 128

// tokens are those that are stored, kept in memory: a request must not cost a
// question to the disk before it is known who makes it. The zero value reads
// them when they are first needed.
type tokens struct {
	mu    sync.Mutex
	known bool
	list  []webhook.Token // the newest first
}

// all returns the tokens, the newest first. The list must not be changed.
func (t *tokens) all(ctx context.Context, store webhook.Store) ([]webhook.Token, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.read(ctx, store)
}

// read is all, for callers that hold the lock.
func (t *tokens) read(ctx context.Context, store webhook.Store) ([]webhook.Token, error) {
	if !t.known {
		list, err := store.Tokens(ctx)
		if err != nil {
			return nil, err
		}
		t.list, t.known = list, true
	}
	return t.list, nil
}

// put stores a token and forgets what was in memory.
func (t *tokens) put(ctx context.Context, store webhook.Store, token webhook.Token) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known = false
	return store.PutToken(ctx, token)
}

// revoke makes a token invalid, if it is not so already.
func (t *tokens) revoke(ctx context.Context, store webhook.Store, id webhook.TokenID, now time.Time) (webhook.Token, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	list, err := t.read(ctx, store)
	if err != nil {
		return webhook.Token{}, err
	}
	i := slices.IndexFunc(list, func(token webhook.Token) bool { return token.ID == id })
	if i < 0 {
		return webhook.Token{}, webhook.ErrNotFound
	}
	token := list[i]
	if !token.RevokedAt.IsZero() {
		return token, nil
	}
	t.known = false
	token.RevokedAt = now
	return token, store.PutToken(ctx, token)
}

// role returns the role of the token in the values of the header Authorization.
// A digest is compared with those of all valid tokens, so that the time it
// takes says nothing about any.
func (t *tokens) role(ctx context.Context, store webhook.Store, authorization []string) (webhook.Role, error) {
	if len(authorization) == 0 {
		return "", unauthorized("missing_token", "The request has no token: send Authorization: Bearer, with one that pintle tokens create has made.")
	}
	scheme, text, _ := strings.Cut(authorization[0], " ")
	invalid := unauthorized("invalid_token", "The token is not valid.")
	if len(authorization) > 1 || !strings.EqualFold(scheme, "Bearer") {
		return "", invalid
	}
	list, err := t.all(ctx, store)
	if err != nil {
		return "", err
	}
	var role webhook.Role
	digest := webhook.HashToken(strings.TrimSpace(text))
	for i := range list {
		if list[i].RevokedAt.IsZero() && subtle.ConstantTimeCompare(list[i].Hash[:], digest[:]) == 1 {
			role = list[i].Role
		}
	}
	if role == "" {
		return "", invalid
	}
	return role, nil
}

func unauthorized(code, message string) *problem {
	return &problem{
		status: http.StatusUnauthorized, code: code, message: message,
		header: http.Header{"Www-Authenticate": {"Bearer"}},
	}
}

func (s *server) registerTokens() {
	const path = api.Prefix + "/tokens"
	tags := []string{"tokens"}
	create := body[api.NewToken](s)
	create.Required = true
	register(s, webhook.Administrator, huma.Operation{
		OperationID: "list-tokens", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: "List tokens, the revoked ones included",
	}, s.listTokens)
	register(s, webhook.Administrator, huma.Operation{
		OperationID: "create-token", Method: http.MethodPost, Path: path, Tags: tags,
		Summary: "Make a token; its text is shown only now", DefaultStatus: http.StatusCreated, RequestBody: create,
	}, s.createToken)
	register(s, webhook.Administrator, huma.Operation{
		OperationID: "revoke-token", Method: http.MethodDelete, Path: path + "/{id}", Tags: tags,
		Summary: "Revoke a token", DefaultStatus: http.StatusNoContent,
	}, s.revokeToken)
}

func (s *server) listTokens(ctx context.Context, in *api.PageQuery) (*answer[api.List[api.Token]], error) {
	return list(s, *in, webhook.TokenPrefix, func(page webhook.Page) (webhook.List[webhook.Token], error) {
		all, err := s.tokens.all(ctx, s.o.Store)
		if err != nil {
			return webhook.List[webhook.Token]{}, err
		}
		return pageOf(all, page, func(t webhook.Token) string { return string(t.ID) }), nil
	}, tokenOf)
}

func (s *server) createToken(ctx context.Context, in *bodyInput) (*answer[api.Token], error) {
	var wanted api.NewToken
	faults, err := decode(in.RawBody, &wanted)
	if err != nil {
		return nil, err
	}
	if faults["name"] == "" && !validTokenName(wanted.Name) {
		faults["name"] = "1 to 128 bytes of printable text"
	}
	if faults["role"] == "" && !slices.Contains(webhook.Roles(), wanted.Role) {
		faults["role"] = "must be viewer, operator or admin"
	}
	if len(faults) > 0 {
		return nil, invalidRequest(faults)
	}
	text, now := webhook.NewTokenText(), time.Now()
	t := webhook.Token{
		ID: s.o.Store.IDs().Token(now), Name: wanted.Name, Role: wanted.Role,
		Hash: webhook.HashToken(text.Reveal()), CreatedAt: now,
	}
	if err := s.tokens.put(ctx, s.o.Store, t); err != nil {
		return nil, err
	}
	s.o.Logger.Info("token made", "token_id", t.ID, "name", t.Name, "role", t.Role)
	made := tokenOf(&t)
	made.Token = text.Reveal()
	return &answer[api.Token]{made}, nil
}

// validTokenName reports whether the name can stand in a table and in a log.
func validTokenName(name string) bool {
	return name != "" && len(name) <= maxTokenName && utf8.ValidString(name) && strings.TrimSpace(name) == name &&
		!strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
}

func (s *server) revokeToken(ctx context.Context, in *struct {
	ID webhook.TokenID `path:"id"`
}) (*struct{}, error) {
	t, err := s.tokens.revoke(ctx, s.o.Store, in.ID, time.Now())
	if err != nil {
		return nil, err
	}
	s.o.Logger.Info("token revoked", "token_id", t.ID, "name", t.Name)
	return nil, nil
}

func tokenOf(t *webhook.Token) api.Token {
	return api.Token{
		ID: t.ID, Name: t.Name, Role: t.Role,
		CreatedAt: api.Time{Time: t.CreatedAt}, RevokedAt: api.Time{Time: t.RevokedAt},
	}
}
