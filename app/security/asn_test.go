package security_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/pintle/pintle/app/security"
)

func record(asn uint32, organisation string) mmdbtype.DataType {
	return mmdbtype.Map{
		"autonomous_system_number":       mmdbtype.Uint32(asn),
		"autonomous_system_organization": mmdbtype.String(organisation),
	}
}

// database builds a MaxMind database, of both families unless only is 4.
func database(t testing.TB, kind string, only int, built time.Time, networks map[string]mmdbtype.DataType) []byte {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		DatabaseType: kind, Description: map[string]string{"en": "for a test"}, IPVersion: only,
		BuildEpoch: built.Unix(), IncludeReservedNetworks: true, RecordSize: 24,
	})
	if err != nil {
		t.Fatal(err)
	}
	for network, data := range networks {
		_, ip, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(ip, data); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if _, err := tree.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// loopback is a database in which 127.0.0.0/24 is of this system.
func loopback(t testing.TB, asn uint32) []byte {
	t.Helper()
	return database(t, "Test-ASN", 6, noon, map[string]mmdbtype.DataType{"127.0.0.0/24": record(asn, "Loop")})
}

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A logBuffer keeps what is logged.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) errors() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), "level=ERROR")
}

func openASN(t testing.TB, path string) (*security.ASNDatabase, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	d, err := security.OpenASNDatabase(path, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return d, log
}

func asnOf(d *security.ASNDatabase, addr string) uint32 {
	asn, _ := d.Lookup(netip.MustParseAddr(addr))
	return asn
}

func TestADatabaseSaysWhichSystemAnAddressIsIn(t *testing.T) {
	networks := map[string]mmdbtype.DataType{
		"127.0.0.0/24":  record(64500, "Loop"),
		"127.0.1.0/24":  record(64501, "Other Loop"),
		"2001:db8::/32": record(4200000000, "Six"),
		"127.0.2.0/24":  mmdbtype.Map{"autonomous_system_organization": mmdbtype.String("no number")},
		"127.0.3.0/24":  mmdbtype.Map{"autonomous_system_number": mmdbtype.String("64500")},
	}
	path := filepath.Join(t.TempDir(), "asn.mmdb")
	write(t, path, database(t, "Test-ASN", 6, noon, networks))
	d, _ := openASN(t, path)
	for addr, want := range map[string]struct {
		asn  uint32
		name string
	}{
		"127.0.0.1":         {64500, "Loop"},
		"127.0.1.255":       {64501, "Other Loop"},
		"::ffff:127.0.0.1":  {64500, "Loop"},
		"2001:db8::1":       {4200000000, "Six"},
		"2001:db8::1%eth0":  {4200000000, "Six"},
		"127.0.2.1":         {0, "no number"},
		"127.0.3.1":         {0, ""},
		"127.0.4.1":         {0, ""},
		"2001:db9::1":       {0, ""},
		"::127.0.0.1":       {0, ""}, // where the tree has IPv4
		"2002:7f00:1::1":    {0, ""}, // 6to4
		"2001:0:7f00:1::99": {0, ""}, // Teredo by the server 127.0.0.1
	} {
		if asn, name := d.Lookup(netip.MustParseAddr(addr)); asn != want.asn || name != want.name {
			t.Errorf("%s: AS%d %q, want AS%d %q", addr, asn, name, want.asn, want.name)
		}
	}
	if asn, name := d.Lookup(netip.Addr{}); asn != 0 || name != "" {
		t.Errorf("no address is of AS%d %q", asn, name)
	}
	if got := d.BuiltAt(); !got.Equal(noon) {
		t.Errorf("built at %s, want %s", got, noon)
	}
	delete(networks, "2001:db8::/32")
	write(t, path, database(t, "Test-ASN", 4, noon, networks))
	d, _ = openASN(t, path)
	if asnOf(d, "127.0.0.1") != 64500 || asnOf(d, "2001:db8::1") != 0 {
		t.Error("a database of IPv4 does not answer")
	}
}

func TestNoDatabaseSaysNothing(t *testing.T) {
	var d *security.ASNDatabase
	if asn, name := d.Lookup(netip.MustParseAddr("127.0.0.1")); asn != 0 || name != "" {
		t.Errorf("AS%d %q", asn, name)
	}
	if d.Err() != nil || d.Refresh() != nil || !d.BuiltAt().IsZero() {
		t.Error("it has something to say")
	}
	d.Watch(t.Context())
}

// cities is a database of another kind, which is whole.
func cities(t testing.TB) []byte {
	t.Helper()
	return database(t, "GeoLite2-City", 6, noon, map[string]mmdbtype.DataType{
		"127.0.0.0/24": mmdbtype.Map{"city": mmdbtype.Map{"geoname_id": mmdbtype.Uint32(64500)}},
	})
}

// broken are files that are not a database of autonomous systems.
func broken(t testing.TB) map[string][]byte {
	t.Helper()
	whole := loopback(t, 64501)
	// Between the tree and the data, which no look-up reads.
	scratched := bytes.Clone(whole)
	scratched[bytes.Index(whole, make([]byte, 16))+8] = 1
	return map[string][]byte{
		"empty":                 {},
		"garbage":               bytes.Repeat([]byte("<html>502</html>"), 100),
		"truncated":             whole[:len(whole)/2],
		"without its last byte": whole[:len(whole)-1],
		"begun over zeros":      append(bytes.Clone(whole[:100]), make([]byte, len(whole)-100)...),
		"the end over zeros":    append(make([]byte, len(whole)-200), whole[len(whole)-200:]...),
		"scratched":             scratched,
		"of cities":             cities(t),
		"without a network":     database(t, "Test-ASN", 6, noon, nil),
		"text for a number": database(t, "Test-ASN", 6, noon, map[string]mmdbtype.DataType{
			"127.0.0.0/24": mmdbtype.Map{"autonomous_system_number": mmdbtype.String("AS64500")}}),
	}
}

func TestWhatIsNoDatabaseStopsTheStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "asn.mmdb")
	refused := func(name, want string) {
		t.Helper()
		d, err := security.OpenASNDatabase(path, slog.New(slog.DiscardHandler))
		if d != nil || err == nil || strings.Count(err.Error(), path) != 1 || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want the file once, and %q", name, err, want)
		}
	}
	refused("missing", "no such file")
	for name, content := range broken(t) {
		write(t, path, content)
		refused(name, "")
	}
	write(t, path, cities(t))
	refused("cities", `"GeoLite2-City"`)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	refused("a folder", "not a file")
}

// TestWhatIsNoDatabaseLeavesTheOneBefore, however it came to be there, and the
// next that is whole is taken.
func TestWhatIsNoDatabaseLeavesTheOneBefore(t *testing.T) {
	ways := map[string]func(path string, content []byte){
		"in place": func(path string, content []byte) { write(t, path, content) },
		"renamed over": func(path string, content []byte) {
			write(t, path+".new", content)
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		},
		"renamed over, of the same age": func(path string, content []byte) {
			write(t, path+".new", content)
			if err := errors.Join(os.Chtimes(path+".new", noon, noon), os.Rename(path+".new", path)); err != nil {
				t.Fatal(err)
			}
		},
	}
	for way, put := range ways {
		for name, content := range broken(t) {
			path := filepath.Join(t.TempDir(), "asn.mmdb")
			put(path, loopback(t, 64500))
			d, _ := openASN(t, path)
			put(path, content)
			err := d.Refresh()
			if err == nil || !strings.Contains(err.Error(), path) || d.Err() == nil || d.Err().Error() != err.Error() {
				t.Errorf("%s, %s: %v and then %v", way, name, err, d.Err())
			}
			if got := asnOf(d, "127.0.0.1"); got != 64500 {
				t.Errorf("%s, %s: AS%d", way, name, got)
			}
			put(path, loopback(t, 64501))
			if err := d.Refresh(); err != nil || d.Err() != nil || asnOf(d, "127.0.0.1") != 64501 {
				t.Errorf("%s, after %s: AS%d, %v, %v", way, name, asnOf(d, "127.0.0.1"), err, d.Err())
			}
		}
	}
}

// TestNoCutOfAFileIsTaken: whatever part of a download is there.
func TestNoCutOfAFileIsTaken(t *testing.T) {
	path, whole := filepath.Join(t.TempDir(), "asn.mmdb"), loopback(t, 64501)
	write(t, path, loopback(t, 64500))
	d, _ := openASN(t, path)
	for n := range whole {
		write(t, path, whole[:n])
		if d.Refresh() == nil {
			t.Fatalf("%d of %d bytes are taken", n, len(whole))
		}
	}
	write(t, path, whole)
	if err := d.Refresh(); err != nil || asnOf(d, "127.0.0.1") != 64501 {
		t.Errorf("AS%d, %v", asnOf(d, "127.0.0.1"), err)
	}
}

func TestATakenAwayFileLeavesTheDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "asn.mmdb")
	write(t, path, loopback(t, 64500))
	if err := os.Chtimes(path, noon, noon); err != nil {
		t.Fatal(err)
	}
	d, _ := openASN(t, path)
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := d.Refresh(); err == nil || d.Err() == nil || asnOf(d, "127.0.0.1") != 64500 {
		t.Errorf("AS%d, %v, %v", asnOf(d, "127.0.0.1"), err, d.Err())
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	if err := d.Refresh(); err != nil || d.Err() != nil {
		t.Errorf("it is back, as it was: %v, %v", err, d.Err())
	}
}

func TestASymbolicLinkMayBeTurned(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "asn.mmdb")
	turn := func(to string) {
		t.Helper()
		if err := os.Symlink(to, link+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link+".new", link); err != nil {
			t.Fatal(err)
		}
	}
	// Of one size and one age, so that only the file tells them apart.
	for name, asn := range map[string]uint32{"a": 64500, "b": 64501} {
		write(t, filepath.Join(dir, name), loopback(t, asn))
		if err := os.Chtimes(filepath.Join(dir, name), noon, noon); err != nil {
			t.Fatal(err)
		}
	}
	turn("a")
	d, _ := openASN(t, link)
	turn("b")
	if err := d.Refresh(); err != nil || asnOf(d, "127.0.0.1") != 64501 {
		t.Errorf("turned: AS%d, %v", asnOf(d, "127.0.0.1"), err)
	}
	turn("nowhere")
	if err := d.Refresh(); err == nil || asnOf(d, "127.0.0.1") != 64501 {
		t.Errorf("turned to nowhere: AS%d, %v", asnOf(d, "127.0.0.1"), err)
	}
}

// TestTwoChangesOfOneMomentAreSeen, where neither time nor size tell.
func TestTwoChangesOfOneMomentAreSeen(t *testing.T) {
	path, now := filepath.Join(t.TempDir(), "asn.mmdb"), time.Now()
	put := func(asn uint32) {
		t.Helper()
		write(t, path, loopback(t, asn))
		if err := os.Chtimes(path, now, now); err != nil {
			t.Fatal(err)
		}
	}
	put(64500)
	d, _ := openASN(t, path)
	put(64501)
	if err := d.Refresh(); err != nil || asnOf(d, "127.0.0.1") != 64501 {
		t.Errorf("AS%d, %v", asnOf(d, "127.0.0.1"), err)
	}
}

// TestAWatchedFileIsTakenWhenItIsAtRest, and what cannot be taken is logged
// once.
func TestAWatchedFileIsTakenWhenItIsAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "asn.mmdb")
		put := func(content []byte) {
			t.Helper()
			write(t, path, content)
			if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		put(loopback(t, 64500))
		d, log := openASN(t, path)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { d.Watch(ctx); close(ended) }()

		time.Sleep(4 * time.Second)
		put(loopback(t, 64501)) // a second before it is looked at
		time.Sleep(2 * time.Second)
		if got := asnOf(d, "127.0.0.1"); got != 64500 {
			t.Errorf("taken while it may be written: AS%d", got)
		}
		time.Sleep(5 * time.Second)
		if got := asnOf(d, "127.0.0.1"); got != 64501 {
			t.Errorf("not taken at rest: AS%d", got)
		}

		for i, content := range [][]byte{[]byte("garbage"), []byte("garbage again")} {
			put(content)
			time.Sleep(time.Minute)
			if got := log.errors(); got != i+1 {
				t.Errorf("%d errors are logged for %d broken files", got, i+1)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := log.errors(); got != 3 || d.Err() == nil || asnOf(d, "127.0.0.1") != 64501 {
			t.Errorf("taken away: %d errors are logged, AS%d, %v", got, asnOf(d, "127.0.0.1"), d.Err())
		}

		// What Refresh returned is not logged too.
		put([]byte("garbage"))
		if d.Refresh() == nil {
			t.Error("garbage is taken")
		}
		time.Sleep(time.Minute)
		if got := log.errors(); got != 3 {
			t.Errorf("%d errors are logged", got)
		}
		put(loopback(t, 64502))
		time.Sleep(10 * time.Second)
		if asnOf(d, "127.0.0.1") != 64502 || d.Err() != nil {
			t.Errorf("AS%d, %v", asnOf(d, "127.0.0.1"), d.Err())
		}
		cancel()
		<-ended
	})
}

// TestLookingUpWhileTheFileIsReplaced is for the race detector.
func TestLookingUpWhileTheFileIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "asn.mmdb")
	contents := [][]byte{loopback(t, 64500), loopback(t, 64501), []byte("garbage")}
	write(t, path, contents[0])
	d, _ := openASN(t, path)
	done := make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if asn := asnOf(d, "127.0.0.1"); asn != 64500 && asn != 64501 {
					t.Errorf("AS%d", asn)
				}
				if err := d.Err(); d.BuiltAt() != noon.Local() || err != nil && !strings.Contains(err.Error(), path) {
					t.Errorf("built at %s, %v", d.BuiltAt(), err)
				}
			}
		})
	}
	for i := range 100 {
		write(t, path, contents[i%len(contents)])
		if err := d.Refresh(); (err != nil) != (i%len(contents) == 2) {
			t.Errorf("change %d: %v", i, err)
		}
	}
	close(done)
	all.Wait()
}

func BenchmarkLookup(b *testing.B) {
	networks := map[string]mmdbtype.DataType{}
	for i := range 20_000 {
		addr := netip.AddrFrom4([4]byte{byte(i >> 8), byte(i), 1, 0})
		networks[netip.PrefixFrom(addr, 24).String()] = record(uint32(64500+i), "An Organisation of a Usual Length")
	}
	path := filepath.Join(b.TempDir(), "asn.mmdb")
	write(b, path, database(b, "Test-ASN", 6, noon, networks))
	d, _ := openASN(b, path)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d.Lookup(netip.AddrFrom4([4]byte{byte(i % 20_000 >> 8), byte(i), 1, 7}))
	}
}
