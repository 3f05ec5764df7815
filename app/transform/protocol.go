package transform

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Parent and child speak in frames: four bytes with the length of what follows,
// the highest first. A child is told its bounds first, and answers that it is
// ready or why not; from then on every request has one answer. Inside a frame a
// string is its length as a varint and its bytes.
//
// Both are the same program, so that there are no versions to agree on. But the
// child runs what strangers wrote: the parent takes every answer for hostile.

const (
	// greeting is the first word of a child.
	greeting = "pintle transform-worker 1\n"
	// maxReason bounds the reason of an error, in bytes.
	maxReason = 1 << 10
	// maxRequest bounds a request: expressions without number over the largest
	// body would be a fault of ours.
	maxRequest = 64 << 20
	// maxExpressions bounds those of one request.
	maxExpressions = 1 << 10
)

// A request asks for the judgement of a filter, or for a body.
type request struct {
	filter      bool
	expressions []Expression
	in          Input
}

// The kinds of request and of answer, the first byte of each.
const (
	askFilter    = 'f'
	askTransform = 't'

	answerPasses    = 'y' // the filter lets it pass
	answerPassesNot = 'n'
	answerBody      = 'b' // followed by the body
	answerFailed    = 'e' // followed by the index of the expression and the reason
	answerExhausted = 'x' // likewise
	answerEnded     = 'd' // likewise; the child ends
)

// newFrame begins a frame in the buffer; endFrame puts in its length.
func newFrame(buffer []byte) []byte { return append(buffer[:0], 0, 0, 0, 0) }

func endFrame(frame []byte) []byte {
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame
}

func appendString[S string | []byte](frame []byte, s S) []byte {
	return append(binary.AppendUvarint(frame, uint64(len(s))), s...)
}

// readFrame reads a frame of at most so many bytes into the buffer, which grows
// as the bytes come and not as the other side claims.
func readFrame(r io.Reader, buffer []byte, most int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return buffer, err
	}
	length := int(binary.BigEndian.Uint32(head[:]))
	if length > most {
		return buffer, fmt.Errorf("a frame of %d bytes, of %d at most", length, most)
	}
	const step = 64 << 10
	buffer = buffer[:0]
	for len(buffer) < length {
		have := len(buffer)
		n := min(length-have, max(step, have))
		if cap(buffer) < have+n {
			buffer = append(buffer, make([]byte, n)...)
		}
		buffer = buffer[:have+n]
		if _, err := io.ReadFull(r, buffer[have:]); err != nil {
			return buffer, noEOF(err)
		}
	}
	return buffer, nil
}

// noEOF makes an end in the middle an error of its own.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// errFrame is a frame that does not hold what it should.
var errFrame = errors.New("a malformed frame")

// fields takes a frame apart. After a fault it gives zero values.
type fields struct {
	rest []byte
	bad  bool
}

func (f *fields) uint() uint64 {
	n, size := binary.Uvarint(f.rest)
	if size <= 0 {
		f.rest, f.bad = nil, true
		return 0
	}
	f.rest = f.rest[size:]
	return n
}

func (f *fields) bytes() []byte {
	n := f.uint()
	if n > uint64(len(f.rest)) {
		f.rest, f.bad = nil, true
		return nil
	}
	b := f.rest[:n]
	f.rest = f.rest[n:]
	return b
}

func (f *fields) kind() byte {
	if len(f.rest) == 0 {
		f.bad = true
		return 0
	}
	kind := f.rest[0]
	f.rest = f.rest[1:]
	return kind
}

// end returns an error unless everything has been there and nothing is left.
func (f *fields) end() error {
	if f.bad || len(f.rest) > 0 {
		return errFrame
	}
	return nil
}

// bounds are what a child is told first.
type bounds struct {
	timeout   time.Duration
	memory    int64
	maxOutput int
}

func (b bounds) appendFrame(buffer []byte) []byte {
	frame := newFrame(buffer)
	frame = binary.AppendUvarint(frame, uint64(b.timeout))
	frame = binary.AppendUvarint(frame, uint64(b.memory))
	return endFrame(binary.AppendUvarint(frame, uint64(b.maxOutput)))
}

func parseBounds(frame []byte) (bounds, error) {
	f := fields{rest: frame}
	b := bounds{timeout: time.Duration(f.uint()), memory: int64(f.uint()), maxOutput: int(f.uint())}
	return b, f.end()
}

func (r *request) appendFrame(buffer []byte) []byte {
	frame := newFrame(buffer)
	kind := byte(askTransform)
	if r.filter {
		kind = askFilter
	}
	frame = append(frame, kind)
	frame = appendString(frame, r.in.Body)
	for _, s := range []string{r.in.ID, r.in.Source, r.in.ClientID} {
		frame = appendString(frame, s)
	}
	frame = binary.AppendUvarint(frame, uint64(len(r.expressions)))
	for i := range r.expressions {
		frame = appendString(frame, r.expressions[i].Source)
	}
	return endFrame(frame)
}

// parseRequest reads a request, whose body points into the frame. Expressions
// have no names here.
func parseRequest(frame []byte, into *request) error {
	f := fields{rest: frame}
	switch f.kind() {
	case askFilter:
		into.filter = true
	case askTransform:
		into.filter = false
	default:
		return errFrame
	}
	into.in.Body = f.bytes()
	for _, s := range []*string{&into.in.ID, &into.in.Source, &into.in.ClientID} {
		*s = string(f.bytes())
	}
	count := f.uint()
	into.expressions = into.expressions[:0]
	for range min(count, maxExpressions) {
		into.expressions = append(into.expressions, Expression{Source: string(f.bytes())})
	}
	return f.end()
}

// An answer is what a child said, once it has been found sound.
type answer struct {
	passes bool
	body   []byte
	// failure says what went wrong; nil: nothing.
	failure *Error
	// ended says that the child ends.
	ended bool
}

// parseAnswer reads the answer to the request. The error says that the child is
// not to be trusted any more.
func parseAnswer(frame []byte, to *request) (answer, error) {
	f := fields{rest: frame}
	kind := f.kind()
	switch {
	case f.bad:
		return answer{}, errFrame
	case to.filter && (kind == answerPasses || kind == answerPassesNot):
		return answer{passes: kind == answerPasses}, f.end()
	case !to.filter && kind == answerBody:
		if !json.Valid(f.rest) {
			return answer{}, errors.New("a body that is not JSON")
		}
		return answer{body: append([]byte(nil), f.rest...)}, nil
	case kind == answerFailed || kind == answerExhausted || kind == answerEnded:
		index, reason := f.uint(), f.bytes()
		if err := f.end(); err != nil || index >= uint64(len(to.expressions)) {
			return answer{}, errFrame
		}
		return answer{
			failure: &Error{Expression: to.expressions[index].Name, Exhausted: kind != answerFailed, Reason: readable(string(reason))},
			ended:   kind == answerEnded,
		}, nil
	}
	return answer{}, errFrame
}

func appendFailure(buffer []byte, kind byte, index int, reason string) []byte {
	frame := append(newFrame(buffer), kind)
	frame = binary.AppendUvarint(frame, uint64(index))
	return endFrame(appendString(frame, readable(reason)))
}

// readable makes text of a reason, and cuts it to its bound.
func readable(reason string) string {
	reason = strings.ToValidUTF8(reason[:min(len(reason), 2*maxReason)], "\ufffd")
	if len(reason) <= maxReason {
		return reason
	}
	end := maxReason - len("…")
	for !utf8.RuneStart(reason[end]) {
		end--
	}
	return reason[:end] + "…"
}
