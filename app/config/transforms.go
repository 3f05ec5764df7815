package config

import (
	"fmt"

	"github.com/BurntSushi/toml"

	"github.com/pintle/pintle/app/webhook"
)

// maxTransforms bounds the transforms of a file.
const maxTransforms = 100

// transformsInFile is what is wrong with setting them from outside.
const transformsInFile = "transforms have no names, so that they are set in the file only"

// transformKeys is the table of the keys of a transform, in the order of
// config.example.toml.
func transformKeys() keyTable[webhook.Transform] {
	type transform = webhook.Transform
	return keyTable[transform]{
		newKey("events", patterns, eventPatterns, func(t *transform) *[]webhook.Pattern { return &t.Events }),
		newKey("transform", textOf[string]("\t\r\n"), expression, func(t *transform) *string { return &t.Expression }),
	}
}

// readTransforms takes the transforms as they stand in the file.
func (l *loader) readTransforms(d *document, p toml.Primitive) {
	value := d.value(p)
	if list, ok := value.([]any); ok && len(list) == 0 {
		return
	}
	tables, ok := value.([]map[string]any)
	line := max(1, d.line(p))
	switch {
	case !ok:
		d.fault(line, "transforms", "is a list of tables; write [[transforms]] for each, and its transform below it")
		return
	case len(tables) > maxTransforms:
		d.fault(line, "transforms", "are %d, and at most %d", len(tables), maxTransforms)
		return
	}
	for i, e := range d.entries("transforms", len(tables)) {
		l.config.Transforms = append(l.config.Transforms, e.transform(d, fmt.Sprintf("transforms[%d]", i)))
	}
}

// transform reads one table. Faults go to d, the whole file.
func (e *entry) transform(d *document, label string) webhook.Transform {
	t := webhook.Transform{Events: []webhook.Pattern{"*"}}
	if _, ok := e.parts["transform"]; !ok {
		d.fault(e.line, label+".transform", "is missing; it is the expression in jq that makes the body")
	}
	for key, p := range e.parts {
		k, ok := transformKeys().find(key)
		if !ok {
			d.fault(e.lineOf(p), label+"."+quoted(key), "unknown key%s", suggest(label+"."+key, transformKeys().names(label+".")))
		} else if err := k.set(&t, e.value(p)); err != nil {
			d.fault(e.lineOf(p), label+"."+key, "%v", err)
		}
	}
	return t
}
