package app_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/pintle/pintle/app/webhook"
)

// writeASNs writes a database in which 127.0.0.0/8 is AS64500.
func writeASNs(t *testing.T, path string) {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		DatabaseType: "GeoLite2-ASN", Description: map[string]string{"en": "for a test"}, IncludeReservedNetworks: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, network, err := net.ParseCIDR("127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Insert(network, mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(64500)}); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := tree.WriteTo(file); err != nil {
		t.Fatal(err)
	}
}

// TestReloadWatchesNoFileThatIsNotInForce takes another database, and then fails
// to. A watch that goes on after the stop is found at the end of all tests.
func TestReloadWatchesNoFileThatIsNotInForce(t *testing.T) {
	dir := t.TempDir()
	first, second, third := filepath.Join(dir, "1.mmdb"), filepath.Join(dir, "2.mmdb"), filepath.Join(dir, "3.mmdb")
	for _, path := range []string{first, second, third} {
		writeASNs(t, path)
	}
	c := configure(t, "inbound.asn_database="+first)
	a, err := start(t, c)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, a)
	taken := *c
	taken.Inbound.ASNDatabase = second
	if restart, err := a.Reload(t.Context(), &taken); err != nil || len(restart) > 0 {
		t.Fatalf("%v, %v", restart, err)
	}
	refused := taken
	refused.Inbound.ASNDatabase = third
	refused.Sources = []webhook.Source{{Name: "x", Path: "/x", Scheme: webhook.SchemeStandard, Secrets: []webhook.Secret{"whsec_%%%"}, Enabled: true}}
	if _, err := a.Reload(t.Context(), &refused); err == nil {
		t.Error("a secret that is no key was taken")
	}
}
