package api

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDurationIsReadFromTextAndWholeSecondsAndWrittenShort(t *testing.T) {
	for in, want := range map[string]string{
		`"5s"`: `"5s"`, `"120s"`: `"2m"`, `"1h"`: `"1h"`, `"1h0m5s"`: `"1h0m5s"`, `"90m"`: `"1h30m"`,
		`"250ms"`: `"250ms"`, `"0s"`: `"0s"`, `10`: `"10s"`, `"10"`: `"10s"`, `0`: `"0s"`,
	} {
		var d Duration
		if err := json.Unmarshal([]byte(in), &d); err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		out, err := json.Marshal(d)
		if err != nil || string(out) != want {
			t.Errorf("%s: got %s, %v; want %s", in, out, err, want)
		}
	}
	for _, in := range []string{`"soon"`, `1.5`, `true`, `""`, `99999999999999`, `"5 s"`} {
		var d Duration
		if err := json.Unmarshal([]byte(in), &d); err == nil {
			t.Errorf("%s: read as %s, want an error", in, d)
		}
	}
}

func TestTimeIsUTCWithMilliseconds(t *testing.T) {
	at := Time{time.Date(2025, 3, 4, 5, 6, 7, 8_900_000, time.FixedZone("", 3600))}
	out, err := json.Marshal(at)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"2025-03-04T04:06:07.008Z"`; string(out) != want {
		t.Errorf("got %s, want %s", out, want)
	}
	var back Time
	if err := json.Unmarshal(out, &back); err != nil || !back.Equal(at.Truncate(time.Millisecond)) {
		t.Errorf("read back %v, %v", back, err)
	}
}

func TestMarshalKeepsTheDataOfAnEventByteForByte(t *testing.T) {
	for _, data := range []string{
		`{"a" : 1.50,  "b":"\u0041<&>\/"}`, "[1,\n 2]", `null`, `{"a":1,"a":2}`, `1e400`, `"\ud800"`, `"<b>é</b>"`,
	} {
		detail := EventDetail{Event: Event{ID: "evt_1", Type: "a<b"}, Data: json.RawMessage(data), Deliveries: []Delivery{}}
		out, err := Marshal(detail)
		if err != nil {
			t.Fatal(err)
		}
		var back EventDetail
		if err := json.Unmarshal(out, &back); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if diff := cmp.Diff(detail, back); diff != "" {
			t.Errorf("%s: %s", data, diff)
		}
	}
}

func TestOptionalFieldsAreMissingRatherThanZero(t *testing.T) {
	out, err := Marshal(Delivery{ID: "dlv_1", State: "pending", CreatedAt: Time{time.UnixMilli(0)}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"dlv_1","event_id":"","event_type":"","subscriber_id":"","state":"pending","attempt_count":0,"created_at":"1970-01-01T00:00:00.000Z"}`
	if string(out) != want {
		t.Errorf("got  %s\nwant %s", out, want)
	}
}
