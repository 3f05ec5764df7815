package doctor_test

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/webhook"
)

const day = 24 * time.Hour

var keyA, keyB = strings.Repeat("ab", 32), strings.Repeat("cd", 32)

// seal seals the secrets of the installation.
func (i *installation) seal(t *testing.T) {
	t.Helper()
	keys, err := security.ParseKeyring(keyA)
	must(t, err)
	i.use(t, keys, func(webhook.Store) {})
}

// subscribe stores a subscriber whatever is wrong with it.
func (i *installation) subscribe(t *testing.T, change func(*webhook.Subscriber)) {
	t.Helper()
	i.use(t, nil, func(store webhook.Store) {
		now := time.Now()
		s := webhook.Subscriber{
			ID: store.IDs().Subscriber(now), URL: "https://a.example/hook", Secret: "hush", Events: []webhook.Pattern{"*"}, Active: true, CreatedAt: now, UpdatedAt: now,
		}
		change(&s)
		must(t, store.PutSubscriber(t.Context(), s))
	})
}

func TestDoctorNamesWhatIsWrongWithSealing(t *testing.T) {
	file := func(t *testing.T, i *installation, text string, mode fs.FileMode) {
		i.set = append(i.set, "storage.encryption_key_file="+i.write(t, "keys", []byte(text), 0o600))
		must(t, os.Chmod(filepath.Join(i.dir, "keys"), mode))
	}
	diagnose(t, []diagnosis{
		{"secrets that are not sealed", func(*testing.T, *installation) {}, []string{"ok sealing: …are not sealed: there is no storage.encryption_key"}},
		{"secrets that are to be sealed", func(_ *testing.T, i *installation) { i.set = append(i.set, "storage.encryption_key="+keyA) },
			[]string{"ok sealing: …the next start does it"}},
		{"sealed secrets", func(t *testing.T, i *installation) {
			i.seal(t)
			file(t, i, keyB+"\n"+keyA+" # the older one\n", 0o400)
		}, []string{"ok sealing: …are sealed, and the key opens them"}},
		{"no key", func(t *testing.T, i *installation) { i.seal(t) }, []string{"fault sealing: …encryption_key_file is missing"}},
		{"another key", func(t *testing.T, i *installation) {
			i.seal(t)
			i.set = append(i.set, "storage.encryption_key="+keyB)
		}, []string{"fault sealing: …under another key"}},
		{"a key file that others can read", func(t *testing.T, i *installation) {
			i.seal(t)
			file(t, i, keyA, 0o640)
		}, []string{"fault sealing: …mode 0640"}},
		{"a key file without a key", func(t *testing.T, i *installation) { file(t, i, "# none\n", 0o600) }, []string{"fault sealing: …there is no key"}},
		{"a copy from before sealing", func(t *testing.T, i *installation) {
			i.seal(t)
			i.set = append(i.set, "storage.encryption_key="+keyA)
			i.write(t, "pintle.db.v3-20260101T000000Z.backup", nil, 0o600)
		}, []string{"warning sealing: …pintle.db.v3-20260101T000000Z.backup…not sealed"}},
	})
}

func TestDoctorNamesWhatIsWrongWithTheWayOut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	there, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer there.Close()
	must(t, l.Close())
	diagnose(t, []diagnosis{
		{"nothing", func(*testing.T, *installation) {}, []string{"ok expressions: …started and answered"}},
		{"a proxy that is not there", func(_ *testing.T, i *installation) { i.set = append(i.set, "outbound.proxy=http://user:hush@"+address) },
			[]string{"warning configuration: outbound.proxy is set", "fault proxy: " + address + " cannot be reached"}},
		{"a proxy that is there", func(_ *testing.T, i *installation) {
			i.set = append(i.set, "outbound.proxy=socks5://"+there.Addr().String())
		}, []string{"warning configuration: outbound.proxy is set", "ok proxy: …accepts connections"}},
	})
}

func TestDoctorNamesSubscribersThatNeedAttention(t *testing.T) {
	since := time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)
	diagnose(t, []diagnosis{
		{"a healthy one", func(t *testing.T, i *installation) {
			i.subscribe(t, func(s *webhook.Subscriber) {
				cert, key := pair(t, 90*day)
				s.Filter, s.Transform, s.Ordered = ".data.n > 1", "{a: .data}", ".data.id"
				s.TLS = webhook.ClientTLS{Cert: string(cert), Key: webhook.Secret(key)}
			})
			i.subscribe(t, func(s *webhook.Subscriber) {
				s.Ordered, s.Active, s.PausedReason = webhook.OrderedStrictly, false, "by a person"
			})
		}, []string{"ok subscribers: none of 2 needs attention"}},
		{"expressions that are none any more", func(t *testing.T, i *installation) {
			i.subscribe(t, func(s *webhook.Subscriber) { s.Filter, s.Transform, s.Ordered = "gone(1)", ".a |", ".a | .b" })
		}, []string{"fault subscribers: sub_…(a.example/hook): its filter…line 1, column 1", "fault subscribers: …its transform…line 1", "fault subscribers: …its ordered"}},
		{"a client certificate that expires soon", func(t *testing.T, i *installation) {
			i.subscribe(t, func(s *webhook.Subscriber) {
				cert, _ := pair(t, 13*day)
				s.TLS.Cert, s.TLS.Key = string(cert), "hush"
			})
		}, []string{"warning subscribers: …client certificate expires at"}},
		{"a client certificate that has expired", func(t *testing.T, i *installation) {
			i.subscribe(t, func(s *webhook.Subscriber) {
				cert, _ := pair(t, -day)
				s.TLS.Cert, s.TLS.Key = string(cert), "hush"
			})
		}, []string{"fault subscribers: …client certificate expired at"}},
		{"outages", func(t *testing.T, i *installation) {
			i.subscribe(t, func(s *webhook.Subscriber) { s.FailingSince = since })
			i.subscribe(t, func(s *webhook.Subscriber) { s.FailingSince, s.NoHold = since.Add(day), true })
		}, []string{"warning subscribers: …failing since 2026-11-01T10:00:00Z; its deliveries wait", "warning subscribers: …failing since 2026-11-02T10:00:00Z"}},
		{"automatic pauses", func(t *testing.T, i *installation) {
			i.subscribe(t, func(s *webhook.Subscriber) {
				s.FailingSince, s.Active, s.PausedReason = since, false, "an outage"
			})
			i.subscribe(t, func(s *webhook.Subscriber) { s.Active, s.PausedReason = false, "the receiver answered 410 Gone" })
		}, []string{"warning subscribers: …paused after an outage since 2026-11-01T10:00:00Z", "warning subscribers: …paused: the receiver answered 410 Gone"}},
	})
}
