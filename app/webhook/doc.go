// Package webhook is the domain of Pintle: the words of a webhook appliance,
// the rules that hold between them, and the contract that a storage engine
// keeps. It imports the standard library only; everything else imports it.
//
// # Words
//
// A [Source] is an inbound endpoint. An [Event] is what happened, accepted
// once. A [Subscriber] is who receives. A [Delivery] is one event for one
// subscriber, and an [Attempt] is one HTTP try of it. A dead letter is a
// delivery in state [Dead].
//
// The scheduler retries; a person resends one delivery again, or replays
// stored events or dead letters.
//
// # Invariants
//
//   - An event and all its deliveries become durable together, or not at all.
//   - A delivery leaves [Pending] for exactly one of [Delivered], [Dead] and
//     [Cancelled]; only a person brings it back, with a resend.
//   - Every attempt is recorded, whatever came of it. One whose outcome could
//     not be recorded is made again: delivery is at least once, and the event's
//     id, which every attempt carries, is what a receiver recognises it by.
//   - An event reaches a subscriber at most once, however many of its patterns
//     match.
package webhook
