package sqlite_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite"
	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

// A ring is a [webhook.Sealer] of several keys, the newest first.
type ring []string

func (r ring) aead(key string) cipher.AEAD {
	sum := sha256.Sum256([]byte(key))
	block, err := aes.NewCipher(sum[:])
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}

func (r ring) Seal(place, secret string) string {
	nonce := make([]byte, 12)
	rand.Read(nonce)
	return webhook.SealedPrefix + base64.StdEncoding.EncodeToString(r.aead(r[0]).Seal(nonce, nonce, []byte(secret), []byte(place)))
}

func (r ring) Open(place, sealed string) (string, bool, error) {
	data, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(sealed, webhook.SealedPrefix))
	if err != nil || len(data) < 12 {
		return "", false, errors.New("not sealed by this")
	}
	for i, key := range r {
		if secret, err := r.aead(key).Open(nil, data[:12], data[12:], []byte(place)); err == nil {
			return string(secret), i == 0, nil
		}
	}
	return "", false, errors.New("no key opens it")
}

func openSealed(t *testing.T, path string, sealer webhook.Sealer) (*sqlite.Store, error) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: path, Schema: schema(t), Synchronous: "full", Sealer: sealer})
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, err
}

// secretive is a subscriber all of whose secrets have the mark in them, often
// enough to need pages of their own.
func secretive(s *sqlite.Store, mark string) webhook.Subscriber {
	now := time.UnixMilli(1731602312123).UTC()
	of := func(what string) webhook.Secret { return webhook.Secret(strings.Repeat(mark+"-"+what+" ", 8)) }
	return webhook.Subscriber{
		ID: s.IDs().Subscriber(now), URL: "https://example.com", Secret: of("secret"), Events: []webhook.Pattern{"*"}, Active: true,
		OldSecrets: []webhook.OldSecret{{Secret: of("old"), Until: now}, {Secret: of("older"), Until: now}},
		Headers:    map[string]string{"X-Api-Key": string(of("header")), "X-Empty": ""},
		Signing:    webhook.SigningStripe, OnDead: webhook.OnDeadSkip,
		Basic:  webhook.BasicAuth{Username: "user", Password: of("password")},
		OAuth2: webhook.OAuth2{TokenURL: "https://example.com/token", ClientID: "id", ClientSecret: of("client")},
		TLS:    webhook.ClientTLS{Cert: "certificate", Key: webhook.Secret(strings.Repeat(mark+"-key ", 3000)), CA: "authority"}, CreatedAt: now, UpdatedAt: now,
	}
}

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// holding names the files of the store that have the text in their bytes.
func holding(t *testing.T, path, text string) (names []string) {
	t.Helper()
	for _, name := range []string{path, path + "-wal", path + "-journal"} {
		data, err := os.ReadFile(name)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(text)) {
			names = append(names, filepath.Base(name))
		}
	}
	return names
}

// lived makes a file without a sealer in which secrets were added, replaced and
// removed. What stands in it is marked plain-now, and what did plain-before. It is
// as a kill left it, with a log.
func lived(t *testing.T) (path string, subscribers []webhook.Subscriber) {
	t.Helper()
	ctx, dir := context.Background(), t.TempDir()
	from := filepath.Join(dir, "from.db")
	s, err := open(t, from)
	try(t, err)
	try(t, s.PutSetting(ctx, "inbound_secret", "plain-before"))
	try(t, s.PutSetting(ctx, "acme:key", strings.Repeat("plain-before", 2000)))
	for i := range 40 {
		sub := secretive(s, "plain-before")
		try(t, s.PutSubscriber(ctx, sub))
		switch i % 3 {
		case 0:
			try(t, s.RemoveSubscriber(ctx, sub.ID, sub.CreatedAt))
		case 1:
			id := sub.ID
			sub = secretive(s, "plain-now")
			sub.ID = id
			try(t, s.PutSubscriber(ctx, sub))
			subscribers = append([]webhook.Subscriber{sub}, subscribers...)
		default:
			sub.Secret, sub.OldSecrets, sub.Headers, sub.Basic, sub.OAuth2, sub.TLS = "plain-now", nil, map[string]string{}, webhook.BasicAuth{}, webhook.OAuth2{}, webhook.ClientTLS{}
			try(t, s.PutSubscriber(ctx, sub))
			subscribers = append([]webhook.Subscriber{sub}, subscribers...)
		}
		if i == 20 {
			try(t, s.Close())
			s, err = open(t, from)
			try(t, err)
		}
	}
	try(t, s.PutSetting(ctx, "inbound_secret", "plain-now"))
	try(t, s.PutSetting(ctx, "acme:key", "plain-now"))
	path = filepath.Join(dir, "pintle.db")
	for _, end := range []string{"", "-wal"} {
		data, err := os.ReadFile(from + end)
		try(t, err)
		try(t, os.WriteFile(path+end, data, 0o600))
	}
	return path, subscribers
}

func TestSealingLeavesNoSecretInTheFile(t *testing.T) {
	ctx := t.Context()
	path, want := lived(t)
	for _, mark := range []string{"plain-now", "plain-before"} {
		if len(holding(t, path, mark)) != 2 {
			t.Fatalf("%s is in %v only: this proves nothing", mark, holding(t, path, mark))
		}
	}
	clean := func(when string) {
		t.Helper()
		for _, mark := range []string{"plain-now", "plain-before", "plain-later"} {
			if names := holding(t, path, mark); len(names) > 0 {
				t.Errorf("%s: %s is in %v", when, mark, names)
			}
		}
	}
	s, err := openSealed(t, path, ring{"one"})
	try(t, err)
	clean("after the opening")
	got, err := s.Subscribers(ctx)
	try(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("subscribers (-want +got):\n%s", diff)
	}
	later := secretive(s, "plain-later")
	try(t, s.PutSubscriber(ctx, later))
	changed := want[0]
	changed.Secret, changed.Headers = "plain-later", map[string]string{"A": "plain-later"}
	try(t, s.PutSubscriber(ctx, changed))
	try(t, s.PutSetting(ctx, "inbound_secret", "plain-later"))
	clean("after changes")
	try(t, s.Close())
	clean("after the closing")
	s, err = openSealed(t, path, ring{"one"})
	try(t, err)
	got, err = s.Subscribers(ctx)
	try(t, err)
	if diff := cmp.Diff(append([]webhook.Subscriber{later, changed}, want[1:]...), got); diff != "" {
		t.Errorf("subscribers after changes (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{"inbound_secret": "plain-later", "acme:key": "plain-now"} {
		if got, err := s.Setting(ctx, name); err != nil || got != want {
			t.Errorf("setting %s is %q, %v", name, got, err)
		}
	}
	// What is no secret can be read with SQL as ever.
	if got := rows(t, path, `SELECT url, events, basic_username, json_extract(oauth2, '$.client_id'), tls_cert, json_extract(headers, '$.X-Empty') FROM webhook_subscribers ORDER BY number DESC LIMIT 1`); got[0] != `https://example.com|["*"]|user|id|certificate|` {
		t.Errorf("a sealed subscriber reads %v", got)
	}
}

func TestUpgradeSealsTheSecretsOfOldFiles(t *testing.T) {
	for _, name := range []string{"v1.sql", "v2.sql", "v3.sql"} {
		path := frozen(t, name)
		s, err := openSealed(t, path, ring{"one"})
		try(t, err)
		for _, secret := range []string{"whsec_c2VjcmV0", "whsec_aW5ib3VuZA==", "whsec_b2xk", "bm90IG9uZQ=="} {
			if names := holding(t, path, secret); len(names) > 0 {
				t.Errorf("%s: %s is in %v", name, secret, names)
			}
		}
		subscribers, err := s.Subscribers(t.Context())
		if err != nil || len(subscribers) == 0 || subscribers[0].Secret != "whsec_c2VjcmV0" {
			t.Errorf("%s: subscribers are %v, %v", name, subscribers, err)
		}
		checkCounts(t, path, map[string]int{"v2.sql": 1}[name])
	}
}

func TestSealedFileIsRefusedWithoutItsKey(t *testing.T) {
	for _, secrets := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "pintle.db")
		s, err := openSealed(t, path, ring{"one"})
		try(t, err)
		if secrets {
			try(t, s.PutSubscriber(t.Context(), secretive(s, "x")))
		}
		if info, err := dbfile.Inspect(t.Context(), path); err != nil || !info.Sealed {
			t.Errorf("inspected while it is open: %+v, %v", info, err)
		}
		try(t, s.Close())
		before, err := os.ReadFile(path)
		try(t, err)
		for want, sealer := range map[string]webhook.Sealer{"encryption_key_file is missing": nil, "under another key": ring{"two"}} {
			if _, err := openSealed(t, path, sealer); !errors.Is(err, dbfile.ErrSealed) || !strings.Contains(err.Error(), want) {
				t.Errorf("with secrets: %v: %v, want %q", secrets, err, want)
			}
		}
		after, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(before, after) {
			t.Errorf("with secrets: %v: the refused file was changed, %v", secrets, err)
		}
		if info, err := dbfile.Inspect(t.Context(), path); err != nil || !info.Sealed {
			t.Errorf("inspected: %+v, %v", info, err)
		}
		try(t, dbfile.Verify(t.Context(), path))
	}
}

func TestNewKeySealsAnew(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "pintle.db")
	s, err := openSealed(t, path, ring{"one"})
	try(t, err)
	sub := secretive(s, "x")
	try(t, s.PutSubscriber(ctx, sub))
	try(t, s.PutSetting(ctx, "inbound_secret", "y"))
	try(t, s.Close())
	old := rows(t, path, `SELECT secret FROM webhook_subscribers UNION ALL SELECT value FROM settings WHERE name <> 'installation'`)
	s, err = openSealed(t, path, ring{"two", "one"})
	try(t, err)
	try(t, s.Close())
	if len(old) != 3 {
		t.Fatalf("sealed were %v", old)
	}
	for _, sealed := range old {
		if names := holding(t, path, sealed); len(names) > 0 {
			t.Errorf("what was sealed under the old key is in %v", names)
		}
	}
	s, err = openSealed(t, path, ring{"two"})
	try(t, err)
	got, err := s.Subscribers(ctx)
	try(t, err)
	if diff := cmp.Diff([]webhook.Subscriber{sub}, got); diff != "" {
		t.Errorf("subscribers (-want +got):\n%s", diff)
	}
	if got, err := s.Setting(ctx, "inbound_secret"); err != nil || got != "y" {
		t.Errorf("setting is %q, %v", got, err)
	}
}

func TestPlainSecretMayLookSealed(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "pintle.db")
	s, err := open(t, path)
	try(t, err)
	sub := secretive(s, "sealed:AAAA")
	for _, sealer := range []webhook.Sealer{nil, ring{"one"}, ring{"one"}} {
		try(t, s.PutSubscriber(ctx, sub))
		try(t, s.PutSetting(ctx, "inbound_secret", "sealed:"))
		try(t, s.Close())
		s, err = openSealed(t, path, sealer)
		try(t, err)
		got, err := s.Subscribers(ctx)
		try(t, err)
		if diff := cmp.Diff([]webhook.Subscriber{sub}, got); diff != "" {
			t.Errorf("subscribers (-want +got):\n%s", diff)
		}
		if got, err := s.Setting(ctx, "inbound_secret"); err != nil || got != "sealed:" {
			t.Errorf("setting is %q, %v", got, err)
		}
	}
}

func TestSecretThatIsPutInByHandIsSealed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	s, err := openSealed(t, path, ring{"one"})
	try(t, err)
	try(t, s.PutSubscriber(t.Context(), secretive(s, "x")))
	try(t, s.Close())
	edit(t, path, `UPDATE webhook_subscribers SET secret = 'by hand'`)
	s, err = openSealed(t, path, ring{"one"})
	try(t, err)
	if got, err := s.Subscribers(t.Context()); err != nil || got[0].Secret != "by hand" || len(holding(t, path, "by hand")) > 0 {
		t.Errorf("subscribers are %v, %v", got, err)
	}
}

func TestSealedSecretOpensWhereItIsKeptOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	s, err := openSealed(t, path, ring{"one"})
	try(t, err)
	sub := secretive(s, "x")
	try(t, s.PutSubscriber(t.Context(), sub))
	try(t, s.Close())
	edit(t, path, `UPDATE webhook_subscribers SET secret = basic_password`)
	before := rows(t, path, `SELECT * FROM webhook_subscribers`)
	if _, err := openSealed(t, path, ring{"two", "one"}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("webhook_subscribers.secret/%s", sub.ID)) {
		t.Errorf("open: %v, want the place of the secret", err)
	}
	if diff := cmp.Diff(before, rows(t, path, `SELECT * FROM webhook_subscribers`)); diff != "" {
		t.Errorf("the refused file was changed:\n%s", diff)
	}
}

func TestSealingTellsOfALogThatIsRead(t *testing.T) {
	path, _ := lived(t)
	reader, err := sql.Open("sqlite", path)
	try(t, err)
	defer reader.Close()
	tx, err := reader.Begin()
	try(t, err)
	defer tx.Rollback()
	var n int
	try(t, tx.QueryRow(`SELECT count(*) FROM settings`).Scan(&n))
	if _, err := openSealed(t, path, ring{"one"}); err == nil || !strings.Contains(err.Error(), "another process reads") {
		t.Errorf("open: %v", err)
	}
	try(t, tx.Rollback())
	try(t, reader.Close())
	if _, err := openSealed(t, path, ring{"one"}); err != nil {
		t.Fatal(err)
	}
	if names := append(holding(t, path, "plain-now"), holding(t, path, "plain-before")...); len(names) > 0 {
		t.Errorf("the secrets are in %v", names)
	}
}
