package admin

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/pintle/pintle/app/webhook"
)

// admissionKey is where a request's context has its admission.
type admissionKey struct{}

// An admission is what a listener has found out about who makes a request.
type admission struct {
	// role is what they may do; empty: nothing that needs a role.
	role webhook.Role
	// admit is how the listener finds out.
	admit func(*http.Request) (webhook.Role, *problem)
}

func admissionOf(ctx context.Context) admission {
	a, _ := ctx.Value(admissionKey{}).(admission)
	return a
}

// roleOf returns what the one who made the request may do; empty: nothing that
// needs a role.
func roleOf(ctx context.Context) webhook.Role { return admissionOf(ctx).role }

// stillAdmitted reports whether the listener would admit the request now as it
// did. One that lasts may outlive its token.
func stillAdmitted(r *http.Request) bool {
	a := admissionOf(r.Context())
	role, p := a.admit(r)
	return p == nil && role == a.role
}

// fromSocket admits a request on the Unix socket.
func (s *server) fromSocket(r *http.Request) (webhook.Role, *problem) {
	if p := forbidden(r, onSocket, "use localhost"); p != nil {
		return "", p
	}
	return webhook.Administrator, nil
}

// onSocket reports whether a client on this machine would call the API so.
func onSocket(host string) bool { return host == "pintle" || host == "localhost" }

// fromNetwork admits a request on a TCP listener, with the role of its token.
func (s *server) fromNetwork(r *http.Request) (webhook.Role, *problem) {
	if p := forbidden(r, s.ours, "use localhost or an address, or list the name in admin.hosts"); p != nil {
		return "", p
	}
	if open(r) {
		return "", nil
	}
	role, err := s.tokens.role(r.Context(), s.o.Store, r.Header.Values("Authorization"))
	if err != nil {
		p := problemOf(err)
		s.o.Logger.Info("admin request not admitted", "code", p.code, "method", r.Method, "path", r.URL.Path, "peer", r.RemoteAddr)
		return "", p
	}
	return role, nil
}

// open reports whether the path is for everybody.
func open(r *http.Request) bool {
	return slices.Contains([]string{"/healthz", "/readyz", "/openapi.json"}, r.URL.Path)
}

// ours reports whether the API is reached under this name over a network. An
// address is always ours: no name system can make a browser send one that is
// not where it connects to.
func (s *server) ours(host string) bool {
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	return host == "localhost" || slices.ContainsFunc(s.o.Hosts, func(name string) bool {
		if level, wild := strings.CutPrefix(name, "*."); wild {
			_, host, _ := strings.Cut(host, ".")
			return strings.EqualFold(host, level)
		}
		return strings.EqualFold(host, name)
	})
}

// forbidden returns why the request may not come in and what would do instead, or
// nil. A browser adds an
// Origin to whatever a page sends elsewhere, and a page that has its own name
// resolve to our address still names itself in Host.
func forbidden(r *http.Request, ours func(host string) bool, instead string) *problem {
	if len(r.Header.Values("Origin")) > 0 {
		return &problem{status: http.StatusForbidden, code: "forbidden", message: "Requests from web pages are not allowed."}
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if !ours(strings.ToLower(host)) {
		return &problem{
			status: http.StatusForbidden, code: "forbidden",
			message: "The Host of the request is not one of this API; " + instead + ".",
		}
	}
	return nil
}

// authorize stands before every operation, and before its body is read.
func (s *server) authorize(ctx huma.Context, next func(huma.Context)) {
	if p := lacks(ctx.Context(), s.roles[ctx.Operation().OperationID]); p != nil {
		_, w := humago.Unwrap(ctx)
		s.refuse(w, p)
		return
	}
	next(ctx)
}

// lacks returns the refusal of a request whose maker does not have the role, or
// nil.
func lacks(ctx context.Context, needed webhook.Role) *problem {
	if needed == "" || roleOf(ctx).May(needed) {
		return nil
	}
	return &problem{
		status: http.StatusForbidden, code: "forbidden",
		message: "This needs a token with the role " + string(needed) + "; yours has the role " + string(roleOf(ctx)) + ".",
	}
}
