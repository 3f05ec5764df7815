package doctor_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"database/sql"
	"encoding/pem"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	_ "modernc.org/sqlite"

	"github.com/pintle/pintle/app"
	"github.com/pintle/pintle/app/config"
	"github.com/pintle/pintle/app/doctor"
	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/transform"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage"
)

// TestMain makes the test the process that runs expressions.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == transform.WorkerCommand {
		os.Exit(transform.Serve())
	}
	os.Exit(m.Run())
}

// An installation is a folder with a configuration and a database.
type installation struct {
	dir, db string
	toml    strings.Builder
	set     []string
}

// install makes an installation that nothing is wrong with.
func install(t *testing.T) *installation {
	t.Helper()
	dir, err := os.MkdirTemp("", "pintle") // short enough for a Unix socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	i := &installation{dir: dir, db: filepath.Join(dir, "pintle.db")}
	i.set = []string{"storage.path=" + i.db, "inbound.listen=127.0.0.1:0", "admin.listen=127.0.0.1:0"}
	i.use(t, nil, func(webhook.Store) {})
	return i
}

// use opens the database, does something with it and closes it.
func (i *installation) use(t *testing.T, keys *security.Keyring, do func(webhook.Store)) {
	t.Helper()
	store, err := i.open(t.Context(), keys)
	must(t, err)
	do(store)
	must(t, store.Close())
}

func (i *installation) open(ctx context.Context, keys *security.Keyring) (webhook.Store, error) {
	schema, err := os.ReadFile("../../schema.sql")
	if err != nil {
		return nil, err
	}
	o := storage.Options{Path: i.db, Schema: string(schema), Synchronous: "normal"}
	if keys != nil {
		o.Sealer = keys
	}
	return storage.Open(ctx, o)
}

func (i *installation) load() (*config.Config, error) {
	file := filepath.Join(i.dir, "config.toml")
	if err := os.WriteFile(file, []byte(i.toml.String()), 0o600); err != nil {
		return nil, err
	}
	return config.Load(config.Options{File: file, Set: i.set})
}

// examine returns what there is to say, as "severity check: text".
func (i *installation) examine(t *testing.T, version string) (said []string) {
	t.Helper()
	doctor.Examine(t.Context(), doctor.Options{Load: i.load, Version: version, Now: time.Now()}, func(f doctor.Finding) {
		if f.Check != "clock" { // the machine's own
			said = append(said, fmt.Sprintf("%s %s: %s", f.Severity, f.Check, f.Text))
		}
	})
	return said
}

func (i *installation) sql(t *testing.T, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", i.db)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func (i *installation) write(t *testing.T, name string, b []byte, mode fs.FileMode) string {
	t.Helper()
	file := filepath.Join(i.dir, name)
	if err := os.WriteFile(file, b, mode); err != nil {
		t.Fatal(err)
	}
	return file
}

// certify writes a certificate and a key, and sets them for the inbound
// listener.
func (i *installation) certify(t *testing.T, life time.Duration, mode fs.FileMode) {
	t.Helper()
	chain, key := pair(t, life)
	cert := i.write(t, "cert.pem", chain, 0o644)
	keyFile := i.write(t, "key.pem", key, mode)
	i.set = append(i.set, "inbound.tls_cert="+cert, "inbound.tls_key="+keyFile)
}

// pair makes a certificate that is valid for so long, and its key.
func pair(t *testing.T, life time.Duration) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"pintle.example"}, NotBefore: time.Now().Add(-365 * 24 * time.Hour), NotAfter: time.Now().Add(life),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// asn writes a database of autonomous systems that was built so long ago.
func (i *installation) asn(t *testing.T, age time.Duration) {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoLite2-ASN", Description: map[string]string{"en": "for a test"}, BuildEpoch: time.Now().Add(-age).Unix()})
	if err != nil {
		t.Fatal(err)
	}
	_, network, _ := net.ParseCIDR("1.0.0.0/24")
	if err := tree.Insert(network, mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(13335)}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(i.dir, "asn.mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	i.set = append(i.set, "inbound.asn_database="+f.Name())
}

func TestDoctorNamesWhatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	diagnose(t, []diagnosis{
		{"nothing", func(*testing.T, *installation) {}, nil},
		{"a wrong configuration", func(_ *testing.T, i *installation) { i.toml.WriteString("[outbound]\nretrys = 1\ntimeout = true\n") },
			[]string{"fault configuration:…retrys: unknown key", "fault configuration:…outbound.timeout"}},
		{"a configuration that is allowed", func(_ *testing.T, i *installation) { i.set = append(i.set, "inbound.validate_signature=false") },
			[]string{"warning configuration:…validate_signature is off"}},
		{"no folder", func(_ *testing.T, i *installation) {
			i.set = append(i.set, "storage.path="+filepath.Join(i.dir, "missing", "pintle.db"))
		}, []string{"fault database:…does not exist"}},
		{"a folder for a file", func(_ *testing.T, i *installation) { i.set = append(i.set, "storage.path="+i.dir) },
			[]string{"fault database:…is not a file"}},
		{"no database yet", func(t *testing.T, i *installation) { must(t, os.Remove(i.db)) }, []string{"ok database:…does not exist yet"}},
		{"an empty file", func(t *testing.T, i *installation) { must(t, os.Truncate(i.db, 0)) }, []string{"ok database:…is empty"}},
		{"a text", func(t *testing.T, i *installation) {
			i.write(t, "pintle.db", []byte(strings.Repeat("text ", 100)), 0o600)
		},
			[]string{"fault database:…not a SQLite database"}},
		{"another program's database", func(t *testing.T, i *installation) { i.sql(t, "PRAGMA application_id = 1") },
			[]string{"fault database:…not Pintle's"}},
		{"a newer database", func(t *testing.T, i *installation) { i.sql(t, "PRAGMA user_version = 99") }, []string{"fault database:…newer Pintle (schema 99"}},
		{"an older database", func(t *testing.T, i *installation) { i.sql(t, "PRAGMA user_version = 1") }, []string{"ok database:…schema 1; the next start copies it"}},
		{"a database that others can read", func(t *testing.T, i *installation) { must(t, os.Chmod(i.db, 0o644)) }, []string{"warning database:…mode 0644"}},
		{"a damaged database", func(t *testing.T, i *installation) {
			b, err := os.ReadFile(i.db)
			must(t, err)
			const page = 8192
			for at := page; at < len(b); at++ {
				b[at] = 0xff
			}
			i.write(t, "pintle.db", b, 0o600)
		}, []string{"fault database: check the database", "fault subscribers: list subscribers"}},
		{"an address that is taken", func(_ *testing.T, i *installation) { i.set = append(i.set, "inbound.listen="+taken.Addr().String()) },
			[]string{"fault addresses: inbound.listen…address already in use"}},
		{"certificate and key of two pairs", func(t *testing.T, i *installation) {
			i.certify(t, 90*day, 0o600)
			kept, err := os.ReadFile(filepath.Join(i.dir, "cert.pem"))
			must(t, err)
			i.certify(t, 90*day, 0o600)
			i.write(t, "cert.pem", kept, 0o600)
		}, []string{"fault inbound certificate:…does not match"}},
		{"an expired certificate", func(t *testing.T, i *installation) { i.certify(t, -day, 0o600) }, []string{"fault inbound certificate: for pintle.example: it expired"}},
		{"a certificate that expires soon", func(t *testing.T, i *installation) { i.certify(t, 13*day, 0o600) }, []string{"warning inbound certificate:…expires at"}},
		{"a key that others can read", func(t *testing.T, i *installation) { i.certify(t, 90*day, 0o644) },
			[]string{"ok inbound certificate: for pintle.example until", "warning inbound certificate:…mode 0644"}},
		{"a missing ASN database that is needed", func(_ *testing.T, i *installation) {
			i.set = append(i.set, "inbound.asn_database="+filepath.Join(i.dir, "missing.mmdb"), "inbound.allow_asns=13335")
		}, []string{"fault ASN database:…no such file"}},
		{"a missing ASN database that is not needed", func(_ *testing.T, i *installation) {
			i.set = append(i.set, "inbound.asn_database="+filepath.Join(i.dir, "missing.mmdb"))
		}, []string{"warning ASN database:…no such file"}},
		{"an old ASN database", func(t *testing.T, i *installation) { i.asn(t, 40*day) }, []string{"warning ASN database:…40 days ago"}},
		{"a new ASN database", func(t *testing.T, i *installation) { i.asn(t, day) }, []string{"ok ASN database:…was built at"}},
		{"short secrets", func(_ *testing.T, i *installation) {
			i.toml.WriteString("[inbound]\nsecret = \"hush\"\n[[sources]]\nname = \"gh\"\npath = \"/gh\"\nscheme = \"github\"\nsecrets = [\"0123456789abcdef\", \"short\"]\n")
		}, []string{"warning secrets: inbound.secret…4 characters", "warning secrets: sources.gh.secrets…5 characters"}},
	})
}

// A diagnosis is what doctor has to find.
type diagnosis struct {
	name   string
	damage func(*testing.T, *installation)
	// says are beginnings and parts of what must be said, parted by "…".
	says []string
}

func diagnose(t *testing.T, tests []diagnosis) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := install(t)
			tt.damage(t, i)
			before := i.contents(t)
			said := i.examine(t, "test")
			if after := i.contents(t); after != before {
				t.Errorf("it changed the installation:\n%s\nis now\n%s", before, after)
			}
			for _, want := range tt.says {
				if !anyHas(said, want) {
					t.Errorf("it does not say %q", want)
				}
			}
			bad := 0
			for _, s := range said {
				if !strings.HasPrefix(s, "ok ") && !strings.Contains(s, " disk: ") {
					bad++
				}
				if strings.Contains(s, "hush") {
					t.Errorf("it tells a secret: %s", s)
				}
			}
			wanted := 0
			for _, w := range tt.says {
				if !strings.HasPrefix(w, "ok ") {
					wanted++
				}
			}
			if bad != wanted {
				t.Errorf("it finds %d things, want %d", bad, wanted)
			}
			if t.Failed() {
				t.Log(strings.Join(said, "\n"))
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// anyHas reports whether one of the lines has all parts, parted by "…", the
// first one at its beginning.
func anyHas(lines []string, want string) bool {
	parts := strings.Split(want, "…")
	for _, line := range lines {
		has := strings.HasPrefix(line, parts[0])
		for _, part := range parts[1:] {
			has = has && strings.Contains(line, part)
		}
		if has {
			return true
		}
	}
	return false
}

// contents are the names, modes and digests of all files, save the
// configuration, which each load writes.
func (i *installation) contents(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	entries, err := os.ReadDir(i.dir)
	must(t, err)
	for _, e := range entries {
		if e.Name() == "config.toml" {
			continue
		}
		info, err := e.Info()
		must(t, err)
		content, err := os.ReadFile(filepath.Join(i.dir, e.Name()))
		must(t, err)
		fmt.Fprintf(&b, "%s %v %v %x\n", e.Name(), info.Mode(), info.ModTime(), sha256.Sum256(content))
	}
	return b.String()
}

func TestDoctorAsksTheRunningAppliance(t *testing.T) {
	i := install(t)
	c, err := i.load()
	must(t, err)
	a, err := app.Start(t.Context(), app.Options{
		Config: c, Version: "v1", Logger: slog.New(slog.DiscardHandler),
		Open: func(ctx context.Context, _ func(int, time.Duration), _ func() time.Time) (webhook.Store, error) {
			return i.open(ctx, nil)
		},
	})
	must(t, err)
	defer func() { must(t, a.Stop(context.WithoutCancel(t.Context()))) }()
	same := i.examine(t, "v1")
	if !anyHas(same, "ok appliance: version v1 is running…is ready") || !anyHas(same, "ok database:…read through") ||
		anyHas(same, "…addresses") || anyHas(same, "fault") {
		t.Errorf("of a running appliance it says:\n%s", strings.Join(same, "\n"))
	}
	if other := i.examine(t, "v2"); !anyHas(other, "warning appliance: version v1 is running, and this program is v2") {
		t.Errorf("of another version it says:\n%s", strings.Join(other, "\n"))
	}
}
