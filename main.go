// Pintle receives webhooks, stores them durably and fans them out: one static
// binary and one SQLite file.
package main

import (
	_ "embed"
	"os"

	"github.com/pintle/pintle/app/cli"
)

// version is set by the linker when a release is built.
var version = "dev"

// An embed directive cannot reach upward, so the files of the top level are
// embedded here.
var (
	//go:embed schema.sql
	schema string
	//go:embed config.example.toml
	exampleConfig string
)

func main() {
	os.Exit(cli.Main(cli.Build{Version: version, Schema: schema, ExampleConfig: exampleConfig}, os.Args[1:]))
}
