package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

// Accept stores events with their keys and deliveries.
func (s *Store) Accept(_ context.Context, accepts []webhook.Accept) ([]webhook.Accepted, error) {
	accepted := make([]webhook.Accepted, len(accepts))
	err := s.writer.try("accept", func(tx *transaction) error {
		for i := range accepts {
			var err error
			if accepted[i], err = s.accept(tx, &accepts[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return accepted, nil
}

func (s *Store) accept(tx *transaction, a *webhook.Accept) (webhook.Accepted, error) {
	e := &a.Event
	id, ok := s.ids.Parse(webhook.EventPrefix, string(e.ID))
	if !ok {
		return webhook.Accepted{}, fmt.Errorf("event id %q is not of this installation", e.ID)
	}
	switch first, taken, err := tx.take(a.Key, id); {
	case err != nil:
		return webhook.Accepted{}, err
	case !taken:
		return s.duplicate(tx, first)
	}
	_, err := tx.exec(`INSERT INTO events (id, source, type, timestamp, client_id, agent_id, sender_key, dedupe_key, received_at, data)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		id, e.Source, e.Type, e.Timestamp, e.ClientID, e.AgentID, e.SenderKey, a.Key[:], millis(e.ReceivedAt), string(e.Data))
	if err != nil {
		return webhook.Accepted{}, err
	}
	tx.counts().event(e.ReceivedAt)
	for _, d := range a.Deliveries {
		if _, err := s.deliver(tx, d, id, e.ReceivedAt); err != nil {
			return webhook.Accepted{}, err
		}
	}
	return webhook.Accepted{ID: e.ID, Type: e.Type, ReceivedAt: fromMillis(millis(e.ReceivedAt))}, nil
}

// deliver makes a delivery of a stored event and reports whether it did: it does
// not for a subscriber that is gone.
func (s *Store) deliver(tx *transaction, d webhook.NewDelivery, event int64, due time.Time) (bool, error) {
	id, ok := s.ids.Parse(webhook.DeliveryPrefix, string(d.ID))
	subscriber, ok2 := s.ids.Parse(webhook.SubscriberPrefix, string(d.SubscriberID))
	if !ok || !ok2 {
		return false, fmt.Errorf("delivery %q to %q is not of this installation", d.ID, d.SubscriberID)
	}
	switch ordered, err := tx.ordered(subscriber); {
	case errors.Is(err, webhook.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	default:
		// For who has an order '' says that it stands in none: see deliveries_unkeyed.
		key := sql.NullString{String: d.OrderKey, Valid: ordered || d.OrderKey != ""}
		// One row of values: SQLite then has nothing to keep for a statement that
		// fails half-way, which would cost as much as all the rest.
		_, err := tx.exec(`INSERT INTO deliveries (id, event_id, subscriber_id, state, attempts, spent, next_attempt_at, order_key, unjudged)
			VALUES (?, ?, ?, 'pending', 0, 0, ?, ?, ?)`, id, event, subscriber, millis(due), key, d.Unjudged)
		if err != nil {
			return false, err
		}
	}
	if !d.Unjudged {
		tx.made(id, subscriber)
	}
	tx.counts().tally(newTally(subscriber, webhook.Pending, cause{}), 1)
	return true, nil
}

// duplicate is the answer to a repeat of the event.
func (s *Store) duplicate(tx *transaction, id int64) (webhook.Accepted, error) {
	var receivedAt int64
	accepted := webhook.Accepted{ID: webhook.EventID(s.ids.Format(webhook.EventPrefix, id)), Duplicate: true}
	err := tx.row(`SELECT type, received_at FROM events WHERE id = ?`, id).Scan(&accepted.Type, &receivedAt)
	accepted.ReceivedAt = fromMillis(receivedAt)
	return accepted, err
}

const eventColumns = `e.id, e.source, e.type, e.timestamp, e.client_id, e.agent_id, e.sender_key, e.received_at, e.data`

func (s *Store) scanEvent(scan func(...any) error, more ...any) (webhook.Event, error) {
	var (
		e              webhook.Event
		id, receivedAt int64
	)
	err := scan(append([]any{&id, &e.Source, &e.Type, &e.Timestamp, &e.ClientID, &e.AgentID, &e.SenderKey, &receivedAt, &e.Data}, more...)...)
	e.ID = webhook.EventID(s.ids.Format(webhook.EventPrefix, id))
	e.ReceivedAt = fromMillis(receivedAt)
	return e, err
}

// Event returns one event.
func (s *Store) Event(ctx context.Context, id webhook.EventID) (webhook.Event, error) {
	number, ok := s.ids.Parse(webhook.EventPrefix, string(id))
	if !ok {
		return webhook.Event{}, fmt.Errorf("read event %s: %w", id, webhook.ErrNotFound)
	}
	e, err := s.scanEvent(s.readers.QueryRowContext(ctx, `SELECT `+eventColumns+` FROM events e WHERE e.id = ?`, number).Scan)
	if err != nil {
		return webhook.Event{}, fmt.Errorf("read event %s: %w", id, dbfile.Translate(err))
	}
	return e, nil
}

// Events returns a page of events, the newest first.
func (s *Store) Events(ctx context.Context, f webhook.EventFilter, page webhook.Page) (webhook.List[webhook.EventSummary], error) {
	var list webhook.List[webhook.EventSummary]
	err := s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		q := s.selectEvents(f)
		q.before(webhook.EventPrefix, page.Before)
		ids, next, err := q.page(ctx, tx, page.Limit)
		if err != nil {
			return err
		}
		if next != 0 {
			list.Next = s.ids.Format(webhook.EventPrefix, next)
		}
		if list.Items, err = s.summaries(ctx, tx, ids); err != nil {
			return err
		}
		return countDeliveries(ctx, tx, ids, list.Items)
	})
	if err != nil {
		return webhook.List[webhook.EventSummary]{}, fmt.Errorf("list events: %w", err)
	}
	return list, nil
}

func (s *Store) selectEvents(f webhook.EventFilter) *selection {
	q := &selection{ids: s.ids, id: "e.id", from: "events e NOT INDEXED", budget: eventBudget}
	q.is("e.id", webhook.EventPrefix, string(f.ID))
	q.span(f.Since, f.Until)
	q.pattern("e.type", f.Type)
	q.equal("e.source", f.Source)
	q.equal("e.client_id", f.ClientID)
	if f.Text != "" {
		q.budget = textBudget
		q.text(f.Text, "e.type", "e.sender_key", "e.data")
	}
	return q
}

func (s *Store) summaries(ctx context.Context, tx *sql.Tx, ids []int64) ([]webhook.EventSummary, error) {
	// Neither the size nor what stands before the data touches the pages that
	// a large body overflows to.
	return list(ctx, tx, `SELECT id, source, type, timestamp, client_id, agent_id, sender_key, received_at, octet_length(data)
		FROM events WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id DESC`, []any{jsonArray(ids)},
		func(rows *sql.Rows) (webhook.EventSummary, error) {
			var (
				e              webhook.EventSummary
				id, receivedAt int64
			)
			err := rows.Scan(&id, &e.Source, &e.Type, &e.Timestamp, &e.ClientID, &e.AgentID, &e.SenderKey, &receivedAt, &e.Size)
			e.ID = webhook.EventID(s.ids.Format(webhook.EventPrefix, id))
			e.ReceivedAt = fromMillis(receivedAt)
			return e, err
		})
}

// countDeliveries fills in how the deliveries of the events stand. When there
// are too many to look at, those of the later events are not counted.
func countDeliveries(ctx context.Context, tx *sql.Tx, ids []int64, items []webhook.EventSummary) error {
	place := make(map[int64]int, len(ids))
	for i, id := range ids {
		place[id] = i
		items[i].Deliveries = map[webhook.State]int{}
	}
	total, last := 0, 0
	// The cross join makes SQLite go through the events in the order given.
	_, err := list(ctx, tx, `SELECT event_id, state, count(*) FROM (
			SELECT d.event_id, d.state FROM json_each(?) j CROSS JOIN deliveries d INDEXED BY deliveries_by_event ON d.event_id = j.value LIMIT ?
		) GROUP BY event_id, state`, []any{jsonArray(ids), countBudget + 1},
		func(rows *sql.Rows) (struct{}, error) {
			var (
				id    int64
				state webhook.State
				n     int
			)
			err := rows.Scan(&id, &state, &n)
			i := place[id]
			items[i].Deliveries[state] = n
			total, last = total+n, max(last, i)
			return struct{}{}, err
		})
	if total > countBudget {
		for i := last; i < len(items); i++ {
			items[i].Partial = true
		}
	}
	return err
}
