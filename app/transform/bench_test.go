package transform_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/itchyny/gojq"

	"github.com/pintle/pintle/app/transform"
)

// events are one of a KiB, and one of a hundred.
func events() map[string][]byte {
	small := `{"event":"message.created","timestamp":"2026-11-25T10:00:00Z","data":{"message":"hello","total":12.5,"note":"` + strings.Repeat("n", 880) + `"}}`
	item := `{"sku":"ABC-1234","count":3,"price":12.5,"name":"` + strings.Repeat("x", 50) + `"}`
	large := `{"event":"order.created","timestamp":"2026-11-25T10:00:00Z","data":{"message":"hello","total":12.5,"items":[` + strings.Repeat(item+",", 1000) + item + `]}}`
	return map[string][]byte{"1KB": []byte(small), "100KB": []byte(large)}
}

const (
	benchTransform = `{text: .data.message, total: .data.total, from: $source}`
	benchFilter    = `.data.total > 10 and (.event | endswith(".created"))`
)

func BenchmarkTransform(b *testing.B) {
	for name, body := range events() {
		b.Run(name, func(b *testing.B) {
			p := newPool(b, transform.Options{})
			in := transform.Input{Body: body, ID: "evt", Source: "shop"}
			for b.Loop() {
				if _, err := p.Transform(b.Context(), "owner", one(benchTransform), in); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"-without-a-child", func(b *testing.B) {
			benchInProcess(b, benchTransform, body)
		})
	}
}

func BenchmarkFilter(b *testing.B) {
	body := events()["1KB"]
	b.Run("1KB", func(b *testing.B) {
		p := newPool(b, transform.Options{})
		for b.Loop() {
			if _, err := p.Filter(b.Context(), "owner", benchFilter, transform.Input{Body: body}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("1KB-without-a-child", func(b *testing.B) { benchInProcess(b, benchFilter, body) })
	b.Run("1KB-parallel", func(b *testing.B) {
		p := newPool(b, transform.Options{})
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := p.Filter(b.Context(), "owner", benchFilter, transform.Input{Body: body}); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// benchInProcess runs the expression where it must not be run, for comparison.
func benchInProcess(b *testing.B, source string, body []byte) {
	query, err := gojq.Parse(source)
	if err != nil {
		b.Fatal(err)
	}
	code, err := gojq.Compile(query, gojq.WithVariables([]string{"$source"}))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		var value any
		if err := d.Decode(&value); err != nil {
			b.Fatal(err)
		}
		made, _ := code.Run(value, "shop").Next()
		if _, err := gojq.Marshal(made); err != nil {
			b.Fatal(err)
		}
	}
}
