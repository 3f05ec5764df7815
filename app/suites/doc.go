// Package suites holds no code, only what others throw at the appliance: the
// requests that it has to refuse, the JSON that parsers fall over, and the test
// suites of other people.
//
// What needs nothing from outside is an ordinary test. The rest has the build
// tag "suites", runs the built binary as a process of its own, and is started by
// make, which fetches what it needs:
//
//	make payloads    the payloads of GitHub's webhooks, byte for byte through the appliance
//	make slow        slowhttptest beside legitimate senders
//	make h2spec      the conformance of HTTP/2 over TLS
package suites
