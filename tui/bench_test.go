package tui

import (
	"fmt"
	"testing"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/webhook"
)

func BenchmarkRender(b *testing.B) {
	for _, size := range [][2]int{{80, 24}, {200, 50}} {
		for name, keys := range roots() {
			b.Run(fmt.Sprintf("%s/%dx%d", name, size[0], size[1]), func(b *testing.B) {
				d := drive(b)
				d.send(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
				d.keys(keys)
				b.ReportAllocs()
				for b.Loop() {
					d.View()
				}
			})
		}
	}
}

// BenchmarkKey is a key and the frame after it. It must not depend on how many
// rows there are.
func BenchmarkKey(b *testing.B) {
	for _, n := range []int{100, 1000, maxRows} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			d := drive(b)
			d.keys("3")
			l := d.list()
			row := l.rows[0]
			l.rows = nil
			for i := range n {
				row.ID = webhook.DeliveryID(d.fake.ids.Format("dlv_", d.fake.sequence-int64(i)))
				l.rows = append(l.rows, row)
			}
			l.ended = true
			b.ReportAllocs()
			for b.Loop() {
				d.send(key("j"))
				d.View()
				d.send(key("k"))
				d.View()
			}
		})
	}
}

// BenchmarkBeat is all that happens between two looks at an appliance that is
// busy: the requests, as far as the dashboard makes them, what comes of the
// answers, and a frame after each.
func BenchmarkBeat(b *testing.B) {
	for _, size := range [][2]int{{80, 24}, {200, 50}} {
		for name, keys := range roots() {
			b.Run(fmt.Sprintf("%s/%dx%d", name, size[0], size[1]), func(b *testing.B) {
				d := drive(b, func(_ *Options, f *fake) { f.grow(1000) })
				d.send(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
				d.keys(keys)
				for b.Loop() {
					b.StopTimer()
					d.fake.grow(1)
					d.fake.deliveries, d.fake.events, d.fake.asked = d.fake.deliveries[:1000], d.fake.events[:1000], nil
					b.StartTimer()
					d.beat()
					d.View()
					d.View()
				}
				// Two beats make a second.
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)*2/1e9*100, "%core")
			})
		}
	}
}
