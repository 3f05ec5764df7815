package client

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pintle/pintle/app/admin/api"
)

func TestSocketThatIsMissingOrRefusesMeansNotRunning(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	for _, socket := range []string{filepath.Join(dir, "missing"), stale} {
		c, err := New(Options{Socket: socket})
		if err != nil {
			t.Fatal(err)
		}
		err = c.Alive(t.Context())
		if !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), socket) || strings.Contains(err.Error(), "http") {
			t.Errorf("%s: got %v", socket, err)
		}
	}
}

func TestServerMustBeAURLWithoutAPath(t *testing.T) {
	for _, server := range []string{"localhost:8081", "ftp://a", "http://", "https://a/api/v1", "https://a b"} {
		if _, err := New(Options{Server: server}); err == nil {
			t.Errorf("%q is taken", server)
		}
	}
	if _, err := New(Options{Server: "https://pintle.example.com:8081/"}); err != nil {
		t.Error(err)
	}
}

func TestTokenGoesToTheServerAndNoFurther(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	c, err := New(Options{Server: server.URL, Token: "t0ken"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var refused *Error
	if err := c.Alive(t.Context()); !errors.As(err, &refused) || refused.Status != http.StatusTemporaryRedirect {
		t.Errorf("got %v", err)
	}
	if len(got) != 1 || got[0] != "Bearer t0ken" {
		t.Errorf("requests with %q", got)
	}
}

func TestErrorSaysWhatIsWrongInOneLine(t *testing.T) {
	for want, err := range map[string]*Error{
		"Nothing with this id is stored (not_found)": {Status: 404, Code: "not_found", Message: "Nothing with this id is stored.", RequestID: "rej_1"},
		"events: missing; url: not a URL (invalid_subscriber)": {
			Status: 422, Code: "invalid_subscriber", Message: "The subscriber is not valid.", Fields: map[string]string{"url": "not a URL", "events": "missing"},
		},
		"It broke (internal_error, request rej_1)": {Status: 500, Code: "internal_error", Message: "It broke.", RequestID: "rej_1"},
		"Bad Gateway (status 502)":                 {Status: 502, Message: "Bad Gateway"},
	} {
		if got := err.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestQueryNamesOnlyWhatIsSet(t *testing.T) {
	got := values(api.DeliveryFilter{Subscriber: "sub_1", Code: 500, Since: "2h"}, api.PageQuery{Limit: 3}).Encode()
	if want := "code=500&limit=3&since=2h&subscriber=sub_1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestListEndsAfterItsFirstError(t *testing.T) {
	fault := errors.New("broken")
	calls := 0
	items := each(0, func(api.PageQuery) (api.List[int], error) {
		if calls++; calls == 2 {
			return api.List[int]{}, fault
		}
		return api.List[int]{Items: []int{1, 2}, NextCursor: "c"}, nil
	})
	var got []int
	var errs []error
	for item, err := range items {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		got = append(got, item)
	}
	if len(got) != 2 || len(errs) != 1 || !errors.Is(errs[0], fault) || calls != 2 {
		t.Errorf("items %v, errors %v after %d calls", got, errs, calls)
	}
}

func TestListAsksForNoMoreThanItsLimit(t *testing.T) {
	var limits []int
	items := each(700, func(page api.PageQuery) (api.List[int], error) {
		limits = append(limits, page.Limit)
		return api.List[int]{Items: make([]int, page.Limit), NextCursor: "c"}, nil
	})
	n := 0
	for range items {
		n++
	}
	if n != 700 || len(limits) != 2 || limits[0] != 500 || limits[1] != 200 {
		t.Errorf("%d items in pages of %v", n, limits)
	}
}

func TestListGoesOnPastPagesThatAreShortOrEmpty(t *testing.T) {
	for _, limit := range []int{0, 4} {
		pages := [][]int{{}, {1}, {}, {2, 3}, {4}}
		var limits []int
		items := each(limit, func(page api.PageQuery) (api.List[int], error) {
			limits = append(limits, page.Limit)
			list := api.List[int]{Items: pages[0]}
			if pages = pages[1:]; len(pages) > 0 {
				list.NextCursor = "c"
			}
			return list, nil
		})
		var got []int
		for item, err := range items {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, item)
		}
		if !slices.Equal(got, []int{1, 2, 3, 4}) {
			t.Errorf("limit %d: got %v", limit, got)
		}
		if limit > 0 && !slices.Equal(limits, []int{4, 4, 3, 3, 1}) {
			t.Errorf("asked for pages of %v", limits)
		}
	}
}
