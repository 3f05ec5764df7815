package config

import (
	"fmt"
	"net/url"

	"filippo.io/age"

	"github.com/pintle/pintle/app/security"
)

// Keyring reads the keys that secrets are sealed under; nil: there are none. The
// error is [Faults].
func (c *Config) Keyring() (*security.Keyring, error) {
	switch s := &c.Storage; {
	case s.EncryptionKey != "":
		ring, err := security.ParseKeyring(s.EncryptionKey.Reveal())
		if err != nil {
			return nil, Faults{fmt.Errorf("storage.encryption_key: %w", err)}
		}
		return ring, nil
	case s.EncryptionKeyFile != "":
		ring, err := security.ReadKeyring(s.EncryptionKeyFile)
		if err != nil {
			return nil, Faults{fmt.Errorf("storage.encryption_key_file: %w", err)}
		}
		return ring, nil
	}
	return nil, nil
}

// Recipients are those who can read backups; none: everybody who has them.
func (b *Backup) Recipients() []age.Recipient {
	recipients, _ := security.ParseRecipients(b.EncryptTo) // they were checked when they were read
	return recipients
}

// ProxyURL is where the proxy is; nil: there is none.
func (o *Outbound) ProxyURL() *url.URL {
	if o.Proxy == "" {
		return nil
	}
	u, _ := url.Parse(o.Proxy.Reveal()) // it was checked when it was read
	return u
}
