package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"

	"github.com/pintle/pintle/app/webhook"
)

const (
	// rejectionRow is what a row of rejections takes beside its texts.
	rejectionRow = 128
	// trimBatch is how many rejections are deleted at a time.
	trimBatch = 256
	// Once a bound is passed so much more goes, so that not every rejection of
	// a flood has one to delete.
	spareRejections     = webhook.MaxRejections / 50
	spareRejectionBytes = webhook.MaxRejectionBytes / 50
)

// Reject keeps refused requests. What is too much then goes with the commit;
// see trimRejections. They have a bound of their own, so that they are kept in a
// file that holds as much as it may too: why events are refused then is what
// people will ask.
func (s *Store) Reject(_ context.Context, rejections []webhook.Rejection) error {
	return s.writer.note("reject", func(tx *transaction) error {
		for i := range rejections {
			if err := s.reject(tx, &rejections[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) reject(tx *transaction, r *webhook.Rejection) error {
	id, ok := s.ids.Parse(webhook.RejectionPrefix, string(r.ID))
	if !ok {
		return fmt.Errorf("rejection id %q is not of this installation", r.ID)
	}
	peer, client := addressText(r.Peer), addressText(r.Client)
	bytes := int64(rejectionRow)
	for _, text := range []string{r.Source, r.Code, r.Message, string(r.Check), r.Rule, peer, client, r.Organisation,
		r.Expected, r.Diagnosis, r.EventType, r.SenderKey, r.Method, r.Path, r.Header, r.BodyDigest} {
		bytes += int64(len(text))
	}
	_, err := tx.exec(`INSERT INTO rejections (id, refused_at, bytes, source, status, code, message, failed_check, rule, peer, client, client_key,
		asn, organisation, skew, expected, diagnosis, event_type, sender_key, method, path, header, body_size, body_digest, unkept)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		id, millis(r.At), bytes, r.Source, r.Status, r.Code, r.Message, string(r.Check), r.Rule, peer, client, addressKey(r.Client),
		r.ASN, r.Organisation, r.Skew, r.Expected, r.Diagnosis, r.EventType, r.SenderKey, r.Method, r.Path, r.Header, r.BodySize, r.BodyDigest, r.Unkept)
	if err == nil {
		tx.counts().rejection(bytes)
	}
	return err
}

// trimRejections deletes the oldest rejections when there are too many with
// those that the transaction added. They are counted, so that nothing is read
// until then; and it reads no row that it does not delete, save one.
func (c *counts) trimRejections(tx *transaction) error {
	if c.rejected == 0 {
		return nil
	}
	var number, bytes int64
	err := tx.row(`SELECT coalesce((SELECT value FROM counters WHERE name = 'rejections'), 0),
		coalesce((SELECT value FROM counters WHERE name = 'rejection_bytes'), 0)`).Scan(&number, &bytes)
	if err != nil {
		return err
	}
	number, bytes = number+c.rejections, bytes+c.rejectedBytes
	if number <= webhook.MaxRejections && bytes <= webhook.MaxRejectionBytes {
		return nil
	}
	excess, excessBytes := number-webhook.MaxRejections+spareRejections, bytes-webhook.MaxRejectionBytes+spareRejectionBytes
	for excess > 0 || excessBytes > 0 {
		gone, goneBytes, err := deleteOldest(tx, excess, excessBytes)
		if err != nil || gone == 0 {
			return err
		}
		excess, excessBytes = excess-gone, excessBytes-goneBytes
		c.rejections, c.rejectedBytes = c.rejections-gone, c.rejectedBytes-goneBytes
	}
	return nil
}

// deleteOldest deletes the oldest rejections, until so many and so many bytes
// are gone, but no more than a batch. It returns how much went.
func deleteOldest(tx *transaction, excess, excessBytes int64) (gone, goneBytes int64, err error) {
	rows, err := tx.query(`SELECT id, bytes FROM rejections ORDER BY id LIMIT ?`, trimBatch)
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close()
	var last int64
	for (gone < excess || goneBytes < excessBytes) && rows.Next() {
		var bytes int64
		if err := rows.Scan(&last, &bytes); err != nil {
			return 0, 0, err
		}
		gone, goneBytes = gone+1, goneBytes+bytes
	}
	if err := rows.Err(); err != nil || gone == 0 {
		return 0, 0, err
	}
	if err := rows.Close(); err != nil {
		return 0, 0, err
	}
	_, err = tx.exec(`DELETE FROM rejections WHERE id <= ?`, last)
	return gone, goneBytes, err
}

// Rejections returns a page of rejections, the newest first.
func (s *Store) Rejections(ctx context.Context, f webhook.RejectionFilter, page webhook.Page) (webhook.List[webhook.Rejection], error) {
	var rejections webhook.List[webhook.Rejection]
	err := s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		q := s.selectRejections(f)
		q.before(webhook.RejectionPrefix, page.Before)
		ids, next, err := q.page(ctx, tx, page.Limit)
		if err != nil {
			return err
		}
		if next != 0 {
			rejections.Next = s.ids.Format(webhook.RejectionPrefix, next)
		}
		rejections.Items, err = list(ctx, tx, `SELECT `+rejectionColumns+` FROM rejections WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id DESC`,
			[]any{jsonArray(ids)}, s.scanRejection)
		return err
	})
	if err != nil {
		return webhook.List[webhook.Rejection]{}, fmt.Errorf("list rejections: %w", err)
	}
	return rejections, nil
}

// selectRejections has a budget for more rows than the table ever holds: all of
// them are 16 MiB at most, and one call may look at them all.
func (s *Store) selectRejections(f webhook.RejectionFilter) *selection {
	q := &selection{ids: s.ids, id: "r.id", from: "rejections r", budget: rowBudget}
	q.is("r.id", webhook.RejectionPrefix, string(f.ID))
	q.equal("r.source", f.Source)
	q.equal("r.code", f.Code)
	if f.StatusFrom != 0 {
		q.rest("r.status >= ?", f.StatusFrom)
	}
	if f.StatusTo != 0 {
		q.rest("r.status <= ?", f.StatusTo)
	}
	if f.Client.IsValid() {
		first, last := bounds(f.Client)
		q.rest("length(r.client_key) = ? AND r.client_key BETWEEN ? AND ?", len(first), first, last)
	}
	if !f.Since.IsZero() {
		q.rest("r.refused_at >= ?", millis(f.Since))
	}
	if !f.Until.IsZero() {
		q.rest("r.refused_at < ?", millis(f.Until))
	}
	if f.Text != "" {
		q.text(f.Text, "r.message", "r.rule", "r.diagnosis", "r.event_type", "r.sender_key", "r.path", "r.header")
	}
	return q
}

// bounds returns the keys of the first and the last address of a range.
func bounds(p netip.Prefix) (first, last []byte) {
	first = p.Masked().Addr().AsSlice()
	last = append([]byte(nil), first...)
	for bit := p.Bits(); bit < 8*len(last); bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	return first, last
}

const rejectionColumns = `id, refused_at, source, status, code, message, failed_check, rule, peer, client, asn, organisation, skew, expected, diagnosis,
	event_type, sender_key, method, path, header, body_size, body_digest, unkept`

func (s *Store) scanRejection(rows *sql.Rows) (webhook.Rejection, error) {
	var (
		r            webhook.Rejection
		id, at       int64
		peer, client string
	)
	err := rows.Scan(&id, &at, &r.Source, &r.Status, &r.Code, &r.Message, &r.Check, &r.Rule, &peer, &client, &r.ASN, &r.Organisation, &r.Skew,
		&r.Expected, &r.Diagnosis, &r.EventType, &r.SenderKey, &r.Method, &r.Path, &r.Header, &r.BodySize, &r.BodyDigest, &r.Unkept)
	if err != nil {
		return r, err
	}
	r.ID, r.At = webhook.RejectionID(s.ids.Format(webhook.RejectionPrefix, id)), fromMillis(at)
	if r.Peer, err = parseAddress(peer); err == nil {
		r.Client, err = parseAddress(client)
	}
	if err != nil {
		err = fmt.Errorf("rejection %s: %w", r.ID, err)
	}
	return r, err
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// addressKey is never nil, which the driver would store as NULL.
func addressKey(a netip.Addr) []byte { return append([]byte{}, a.AsSlice()...) }

func parseAddress(text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	return netip.ParseAddr(text)
}
