# Targets that a person calls carry a sentence behind ##; make help lists them.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
DEMO    ?= # flags for the demo, such as DEMO="--for 10s"
BENCH   ?= # flags for the measurement, such as BENCH="-only checks"
ROUNDS  ?= 200
SOAK    ?= 1h
FUZZ    ?= 30s
PEBBLE  ?= v2.10.1

export CGO_ENABLED := 0

.DEFAULT_GOAL := build
.PHONY: build demo test check tools pictures bench crash soak suites payloads slow h2spec acme fuzz help

build: ## Build bin/pintle, one static binary
	go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/pintle .

demo: build ## Open the dashboard on scratch data with lively traffic
	bin/pintle demo $(DEMO)

test: ## Run the tests
	go test -timeout 20m ./...

# app/signature/interop has other people's libraries check our signatures. It is a
# module of its own, so that the program does not depend on them, and ./... leaves
# it out.
check: tools ## Run everything that must hold before a change lands
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	go mod tidy -diff
	go vet ./...
	go vet -tags suites ./app/suites
	GOARCH=arm64 go vet ./...
	GOOS=darwin go vet ./...
	go tool staticcheck ./...
	go tool staticcheck -tags suites ./app/suites
	@if go tool govulncheck ./...; then :; \
	elif curl -sSfo /dev/null --max-time 10 https://vuln.go.dev/index/db.json 2>/dev/null; then exit 1; \
	else echo "govulncheck: its database cannot be reached; skipped"; fi
	cd app/signature/interop && go mod tidy -diff && go vet ./... && go test ./...
	CGO_ENABLED=1 go test -race -shuffle=on -timeout 20m ./...
	@git diff --exit-code || { echo "the checks have changed files"; exit 1; }

# The test of the dashboard in a real terminal needs tmux, and those of a disk that
# fails need strace. They skip without, which must not happen unnoticed where changes
# are checked.
tools:
	@test -z "$$CI" || for tool in tmux strace; do \
		command -v $$tool >/dev/null || { apt-get update -qq && apt-get install -yqq $$tool >/dev/null; } || exit 1; \
	done

pictures: build ## Draw the README's pictures anew, from a demo that runs for a minute
	docs/pictures/capture.sh bin/pintle

bench: ## Measure the appliance beside its floor, in one run, as ratios
	go run ./app/bench $(BENCH)

crash: ## Kill the appliance ROUNDS times under load and prove that nothing is lost
	go test ./app/crash -run TestNothingAcknowledgedIsLost -count=1 -timeout 60m -v -rounds $(ROUNDS)

soak: ## Load the appliance for SOAK and fail if anything of it grows, or is lost
	go test ./app/crash -run TestNothingGrows -count=1 -timeout 0 -v -soak $(SOAK)

suites: payloads slow h2spec ## Run the suites of others: these three

payloads: ## Send GitHub's own payloads through the appliance, byte for byte
	@command -v npm >/dev/null && command -v node >/dev/null || { echo "payloads need npm and node"; exit 1; }
	@mkdir -p tmp/suites
	cp app/suites/testdata/package.json app/suites/testdata/package-lock.json tmp/suites
	npm ci --prefix tmp/suites --ignore-scripts --no-audit --no-fund
	go test -tags suites ./app/suites -run TestGitHubsPayloadsArriveByteForByte -count=1 -timeout 5m -v -modules $(CURDIR)/tmp/suites

slow: ## Attack the appliance with slowhttptest and a flood while others are served
	@command -v slowhttptest >/dev/null || { apt-get update -qq && apt-get install -yqq slowhttptest >/dev/null; }
	go test -tags suites ./app/suites -run 'TestSlowSendersKeepNobodyElseWaiting|TestFloodOfRefusalsFillsNothing' -count=1 -timeout 10m -v

h2spec: ## Run h2spec against the TLS listener
	go test -tags suites ./app/suites -run TestHTTP2ConformsAsFarAsNetHTTPDoes -count=1 -timeout 5m -v

acme: ## Get a certificate from Let's Encrypt's own small authority, on this machine
	GOBIN=$(CURDIR)/tmp/bin go install github.com/letsencrypt/pebble/v2/cmd/pebble@$(PEBBLE) github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv@$(PEBBLE)
	go test ./app -run TestCertificateComesFromAnAuthority -count=1 -v -pebble $(CURDIR)/tmp/bin

fuzz: ## Fuzz every parser of hostile bytes, FUZZ long each
	@go test -list '^Fuzz' ./... | awk '/^Fuzz/ {names[n++] = $$1} /^ok/ {for (i = 0; i < n; i++) print $$2, names[i]; n = 0}' | \
	while read -r package name; do \
		echo "$$package $$name"; \
		go test "$$package" -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZ) || exit 1; \
	done

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
