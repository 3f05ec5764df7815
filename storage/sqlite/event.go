package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/pintle/pintle/app/webhook"
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
	result, err := tx.exec(`INSERT INTO dedupe (key, event_id) VALUES (?, ?) ON CONFLICT DO NOTHING`, a.Key[:], id)
	if err != nil {
		return webhook.Accepted{}, err
	}
	if inserted, err := result.RowsAffected(); err != nil {
		return webhook.Accepted{}, err
	} else if inserted == 0 {
		return s.first(tx, a.Key)
	}
	_, err = tx.exec(`INSERT INTO events (id, source, type, timestamp, client_id, agent_id, sender_key, dedupe_key, received_at, data)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		id, e.Source, e.Type, e.Timestamp, e.ClientID, e.AgentID, e.SenderKey, a.Key[:], millis(e.ReceivedAt), string(e.Data))
	if err != nil {
		return webhook.Accepted{}, err
	}
	for _, d := range a.Deliveries {
		delivery, ok := s.ids.Parse(webhook.DeliveryPrefix, string(d.ID))
		subscriber, ok2 := s.ids.Parse(webhook.SubscriberPrefix, string(d.SubscriberID))
		if !ok || !ok2 {
			return webhook.Accepted{}, fmt.Errorf("delivery %q to %q is not of this installation", d.ID, d.SubscriberID)
		}
		_, err := tx.exec(`INSERT INTO deliveries (id, event_id, subscriber_id, state, attempts, spent, next_attempt_at)
			SELECT ?, ?, number, 'pending', 0, 0, ? FROM webhook_subscribers WHERE number = ?`,
			delivery, id, millis(e.ReceivedAt), subscriber)
		if err != nil {
			return webhook.Accepted{}, err
		}
	}
	return webhook.Accepted{ID: e.ID, Type: e.Type, ReceivedAt: fromMillis(millis(e.ReceivedAt))}, nil
}

// first finds the event that took the key.
func (s *Store) first(tx *transaction, key webhook.DedupeKey) (webhook.Accepted, error) {
	var id, receivedAt int64
	accepted := webhook.Accepted{Duplicate: true}
	err := tx.row(`SELECT e.id, e.type, e.received_at FROM dedupe d JOIN events e ON e.id = d.event_id WHERE d.key = ?`, key[:]).
		Scan(&id, &accepted.Type, &receivedAt)
	accepted.ID = webhook.EventID(s.ids.Format(webhook.EventPrefix, id))
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
		return webhook.Event{}, fmt.Errorf("read event %s: %w", id, translate(err))
	}
	return e, nil
}

// Events returns a page of events, the newest first.
func (s *Store) Events(ctx context.Context, f webhook.EventFilter, page webhook.Page) ([]webhook.Event, error) {
	q := selection{ids: s.ids}
	q.equal("e.type", f.Type)
	q.equal("e.source", f.Source)
	q.equal("e.client_id", f.ClientID)
	q.span("e.id", f.Since, f.Until)
	q.before("e.id", webhook.EventPrefix, page.Before)
	events, err := list(ctx, s.readers, `SELECT `+eventColumns+` FROM events e`+q.where()+` ORDER BY e.id DESC LIMIT ?`, append(q.args, page.Limit),
		func(rows *sql.Rows) (webhook.Event, error) { return s.scanEvent(rows.Scan) })
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	return events, nil
}
