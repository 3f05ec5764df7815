package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

// Deliveries returns a page of deliveries, the newest first.
func (s *Store) Deliveries(ctx context.Context, f webhook.DeliveryFilter, page webhook.Page) (webhook.List[webhook.Delivery], error) {
	var deliveries webhook.List[webhook.Delivery]
	if f.Subscribers != nil && len(f.Subscribers) == 0 {
		return deliveries, nil
	}
	err := s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		q, err := s.selectDeliveries(ctx, tx, f)
		if err != nil {
			return err
		}
		q.before(webhook.DeliveryPrefix, page.Before)
		ids, next, err := q.page(ctx, tx, page.Limit)
		if err != nil {
			return err
		}
		if next != 0 {
			deliveries.Next = s.ids.Format(webhook.DeliveryPrefix, next)
		}
		deliveries.Items, err = list(ctx, tx, `SELECT `+deliveryColumns+deliveryTables+` WHERE d.id IN (SELECT value FROM json_each(?)) ORDER BY d.id DESC`,
			[]any{jsonArray(ids)}, func(rows *sql.Rows) (webhook.Delivery, error) { return s.scanDelivery(rows.Scan) })
		if err != nil || f.ID == "" || len(deliveries.Items) == 0 {
			return err
		}
		err = dbfile.Translate(tx.QueryRowContext(ctx, `SELECT body FROM bodies WHERE delivery_id = ?`, ids[0]).Scan(&deliveries.Items[0].Body))
		if errors.Is(err, webhook.ErrNotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		return webhook.List[webhook.Delivery]{}, fmt.Errorf("list deliveries: %w", err)
	}
	return deliveries, nil
}

// selectDeliveries chooses, of the conditions, the ones that an index serves
// best; the others are tested row by row.
func (s *Store) selectDeliveries(ctx context.Context, tx *sql.Tx, f webhook.DeliveryFilter) (*selection, error) {
	q := &selection{ids: s.ids, id: "d.id", from: "deliveries d NOT INDEXED", budget: rowBudget}
	switch {
	case f.Text != "":
		q.budget = textBudget
	case f.EventType != "" || f.ClientID != "":
		q.budget = eventBudget
	}
	if f.Retrying {
		q.rest("+d.state = 'pending' AND d.attempts > 0")
		if f.State == "" {
			f.State = webhook.Pending
		}
	}
	// Nothing else has one.
	if f.Fingerprint != "" && f.State == "" {
		f.State = webhook.Dead
	}
	if err := s.chooseIndex(ctx, tx, q, &f); err != nil {
		return nil, err
	}
	q.span(f.Since, f.Until)
	// The rest. A plus sign keeps SQLite from choosing another index for it.
	if f.Subscribers != nil {
		q.rest("+d.subscriber_id IN (SELECT value FROM json_each(?))", jsonArray(s.subscriberNumbers(f.Subscribers)))
	}
	q.equal("+d.state", string(f.State))
	q.equal("+d.last_outcome", string(f.Outcome))
	q.equal("+d.order_key", f.OrderKey)
	q.equal("+d.fingerprint", f.Fingerprint)
	if f.CodeFrom != 0 {
		q.rest("+d.last_code >= ?", f.CodeFrom)
	}
	if f.CodeTo != 0 {
		q.rest("+d.last_code <= ?", f.CodeTo)
	}
	if f.EventType != "" || f.ClientID != "" || f.Text != "" {
		q.join = " CROSS JOIN events e ON e.id = d.event_id"
		q.pattern("e.type", f.EventType)
		q.equal("e.client_id", f.ClientID)
	}
	if f.Text != "" {
		q.join += " LEFT JOIN attempts a ON a.delivery_id = d.id AND a.number = d.attempts"
		q.text(f.Text, "e.type", "e.sender_key", "e.data", "a.error")
	}
	return q, nil
}

// chooseIndex makes the base of the list, and takes out of the filter what it
// has seen to. States are literals, so that SQLite sees that an index of only
// one state serves.
func (s *Store) chooseIndex(ctx context.Context, tx *sql.Tx, q *selection, f *webhook.DeliveryFilter) error {
	subscribers := s.subscriberNumbers(f.Subscribers)
	few, err := countedFew(ctx, tx, f.State, subscribers, q.budget/scatter)
	if err != nil {
		return err
	}
	switch {
	case f.ID != "":
		q.is("d.id", webhook.DeliveryPrefix, string(f.ID))
		q.is("d.event_id", webhook.EventPrefix, string(f.EventID))
		return nil
	case f.EventID != "":
		q.from = "deliveries d INDEXED BY deliveries_by_event"
		q.is("d.event_id", webhook.EventPrefix, string(f.EventID))
		return nil
	case few:
		q.from, q.sorted = "deliveries d INDEXED BY deliveries_due", true
		if f.State == webhook.Dead {
			q.from = "deliveries d INDEXED BY deliveries_dead_by_cause"
		}
		q.base("d.state = '" + string(f.State) + "'")
		if f.Subscribers != nil {
			q.base("d.subscriber_id IN (SELECT value FROM json_each(?))", jsonArray(subscribers))
		}
		f.State, f.Subscribers = "", nil
	case f.State == webhook.Dead:
		q.from = "deliveries d INDEXED BY deliveries_dead"
		q.base("d.state = 'dead'")
		f.State = ""
	case len(subscribers) == 1:
		q.from = "deliveries d INDEXED BY deliveries_by_subscriber"
		q.base("d.subscriber_id = ?", subscribers[0])
		f.Subscribers = nil
	default:
		return nil
	}
	q.budget /= scatter
	return nil
}

func (s *Store) subscriberNumbers(ids []webhook.SubscriberID) []int64 {
	numbers := make([]int64, len(ids))
	for i, id := range ids {
		numbers[i], _ = s.ids.Parse(webhook.SubscriberPrefix, string(id))
	}
	return numbers
}

// countedFew reports whether the deliveries in the state are at most so many. It
// is known for what is pending or dead; no subscribers stand for all.
func countedFew(ctx context.Context, tx *sql.Tx, state webhook.State, subscribers []int64, most int) (bool, error) {
	if state != webhook.Pending && state != webhook.Dead {
		return false, nil
	}
	if len(subscribers) == 0 {
		subscribers = []int64{0}
	}
	var n int
	err := tx.QueryRowContext(ctx, `SELECT coalesce(sum(count), 0) FROM tallies WHERE state = ? AND subscriber_id IN (SELECT value FROM json_each(?))`,
		string(state), jsonArray(subscribers)).Scan(&n)
	return n <= most, dbfile.Translate(err)
}
