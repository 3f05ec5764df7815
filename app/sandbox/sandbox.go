// Package sandbox is the other side of Pintle, for tests and demonstrations:
// a [Receiver] that verifies what is delivered to it and misbehaves as it is
// told, [Send] to post one signed event as an external system would, and
// [Traffic] that keeps sending plausible ones.
//
// It speaks the protocol and nothing else: nothing here knows the appliance
// from within, so what passes between them is what any peer would see.
package sandbox
