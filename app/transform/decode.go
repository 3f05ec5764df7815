package transform

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// decode reads a body into the types of the library. Numbers stay what they are
// written: integers as such, and all others in their own words.
func decode(body []byte) (any, error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	value, err := decodeNext(d)
	if err != nil {
		return nil, err
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, errors.New("there is more behind it")
	}
	return value, nil
}

func decodeNext(d *jsontext.Decoder) (any, error) {
	token, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case '{':
		object := map[string]any{}
		for d.PeekKind() != '}' {
			name, err := d.ReadToken()
			if err != nil {
				return nil, err
			}
			key := name.String() // which the next token overwrites
			if object[key], err = decodeNext(d); err != nil {
				return nil, err
			}
		}
		_, err = d.ReadToken()
		return object, err
	case '[':
		array := []any{}
		for d.PeekKind() != ']' {
			element, err := decodeNext(d)
			if err != nil {
				return nil, err
			}
			array = append(array, element)
		}
		_, err = d.ReadToken()
		return array, err
	case '"':
		return token.String(), nil
	case '0':
		return number(token.String()), nil
	case 'n':
		return nil, nil
	}
	return token.Bool(), nil
}

// number is an integer of the machine where that says the same.
func number(text string) any {
	if n, err := strconv.Atoi(text); err == nil && text != "-0" {
		return n
	}
	return json.Number(text)
}
