package api

import "github.com/pintle/pintle/app/webhook"

// A Gate is one of the things that an event must pass on its way to a
// subscriber, and what it says.
type Gate struct {
	Name    webhook.GateName `json:"name" enum:"existed,client,pattern,filter,active,outage,order,schedule,retry_after,rate,room"`
	Verdict webhook.Verdict  `json:"verdict" enum:"passes,stops,waits,unknown" doc:"stops: nothing is sent because of it; waits: nothing is sent yet"`
	Reason  string           `json:"reason" doc:"why, in a sentence"`
	// Until is when a gate that waits is expected to open; zero: unknown.
	Until Time `json:"until,omitzero" format:"date-time" doc:"when a gate that waits is expected to open; missing: unknown"`
}

// An Explanation says why an event reaches a subscriber, or does not.
type Explanation struct {
	SubscriberID   webhook.SubscriberID `json:"subscriber_id"`
	SubscriberName string               `json:"subscriber_name,omitempty" doc:"missing when the subscriber has been removed"`
	URL            string               `json:"url,omitempty" doc:"missing when the subscriber has been removed"`
	// Delivery is the newest one of the event to this subscriber; nil: there is
	// none.
	Delivery *Delivery `json:"delivery,omitempty" doc:"the newest one of the event to this subscriber; missing: there is none"`
	Summary  string    `json:"summary" doc:"the answer in a sentence"`
	// Gates are in the order in which an event comes to them. Those that decide
	// when a delivery is tried are missing where none is pending.
	Gates []Gate `json:"gates" nullable:"false"`
}

// An EventExplanation says what became of an event.
type EventExplanation struct {
	EventID   webhook.EventID `json:"event_id"`
	EventType string          `json:"event_type"`
	Summary   string          `json:"summary" doc:"the answer in a sentence"`
	// Subscribers are those that have a delivery, and then, the newest first,
	// those that have none.
	Subscribers []Explanation `json:"subscribers" nullable:"false"`
	// Partial says that there are more subscribers than are explained.
	Partial bool `json:"partial,omitempty" doc:"there are more subscribers than are explained; ask for one"`
}

// A DeliveryExplanation says what became of a delivery, and what comes next.
type DeliveryExplanation struct {
	Explanation
	EventID   webhook.EventID `json:"event_id"`
	EventType string          `json:"event_type"`
	// Story has what happened, the earliest first, and then what is planned.
	Story []Moment `json:"story" nullable:"false"`
}

// A Moment is a line of the story of a delivery.
type Moment struct {
	At Time `json:"at" format:"date-time"`
	// What says what happened, in a sentence.
	What string `json:"what"`
	// Attempt is the number of the attempt that it is about; zero: of none.
	Attempt int `json:"attempt,omitempty"`
	// Planned says that it has not happened yet.
	Planned bool `json:"planned,omitempty"`
}
