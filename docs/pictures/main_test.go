package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestPictureShowsTextAndLooks(t *testing.T) {
	var svg strings.Builder
	if err := draw(&svg, "\x1b[1;31m<bad>\x1b[0m plain\n\x1b[7mturned\x1b[0m\n", 20, 3, `a "title"`); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`fill="` + palette[1] + `" font-weight="bold" textLength="42.0" xml:space="preserve">&lt;bad&gt;</text>`,
		`fill="` + foreground + `"`, // the plain text
		`height="18.0" fill="` + foreground + `"/>`,
		`fill="` + background + `" textLength="50.4" xml:space="preserve">turned</text>`,
		`aria-label="a &#34;title&#34;"`,
	} {
		if !strings.Contains(svg.String(), want) {
			t.Errorf("the picture lacks %s:\n%s", want, svg.String())
		}
	}
	for d := xml.NewDecoder(strings.NewReader(svg.String())); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the picture is no XML: %v", err)
		}
	}
}
