package security

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// FuzzASNDatabase: whatever the bytes of a file are, it is refused, or every
// address can be looked up in it.
func FuzzASNDatabase(f *testing.F) {
	for _, only := range []int{4, 6} {
		tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-ASN", IPVersion: only,
			Description: map[string]string{"en": "for a test"}, IncludeReservedNetworks: true, RecordSize: 24})
		if err != nil {
			f.Fatal(err)
		}
		if err := tree.InsertRange([]byte{127, 0, 0, 0}, []byte{127, 255, 255, 255}, mmdbtype.Map{
			"autonomous_system_number":       mmdbtype.Uint32(64500),
			"autonomous_system_organization": mmdbtype.String("Loop"),
		}); err != nil {
			f.Fatal(err)
		}
		var content bytes.Buffer
		if _, err := tree.WriteTo(&content); err != nil {
			f.Fatal(err)
		}
		f.Add(content.Bytes())
	}
	f.Add([]byte{})
	f.Add([]byte("\xab\xcd\xefMaxMind.com"))
	f.Fuzz(func(t *testing.T, content []byte) {
		reader, err := openASN(content)
		if err != nil {
			return
		}
		var d ASNDatabase
		d.current.Store(&asnContent{content, reader})
		for _, addr := range []string{"127.0.0.1", "0.0.0.0", "255.255.255.255", "2001:db8::1", "ffff::", "::ffff:127.0.0.1"} {
			d.Lookup(netip.MustParseAddr(addr))
		}
		d.BuiltAt()
	})
}
