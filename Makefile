# `make run` and `make test` are all that a newcomer needs; `make help` lists
# the rest. Everything that is built or installed goes to .bin, .kafka or data.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO        ?= go
VERSION   ?= $(shell git describe --always --dirty --tags 2>/dev/null || echo dev)
FUZZTIME  ?= 30s
BENCH     ?= .
BENCHTIME ?= 1s
IMAGE     ?= penstock
CUTS      ?= 10000
CHAOS     ?= 10m

GOFUMPT_VERSION      := v0.12.0
GOLANGCI_LINT_VERSION := v2.15.0

STATIC := CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w'
KAFKA  := $(GO) run ./internal/kafkatest/kafka
OTHERS := darwin/amd64 darwin/arm64 windows/amd64 linux/arm64 linux/arm
# What packs bits or counts atomically, and so may differ from machine to machine.
PORTABLE := ./broker/packet/... ./broker/topic/... ./broker/session/... ./internal/journal/... ./rules/...

.PHONY: help run demo build test check crash crash-selftest bench fuzz rewrite kafka kafka-stop image deps \
        format vet lint race cross portable

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

run: build ## an MQTT broker on 127.0.0.1:1883, journal in ./data; ARGS=plant.yaml for more
	@exec .bin/penstock run $(ARGS)

demo: build ## a simulated factory flows through rules; needs nothing but Go
	@exec .bin/penstock demo

build: ## the static binary, .bin/penstock
	@$(STATIC) -o .bin/penstock ./cmd/penstock

test: deps ## install what tests need, then run them all
	@$(GO) test -count=1 -timeout 40m ./...

check: format vet lint race cross portable ## all that must pass before a commit

format:
	@$(call tool,gofumpt,mvdan.cc/gofumpt,$(GOFUMPT_VERSION))
	@wrong=$$(.bin/gofumpt -l .); \
	if [ -n "$$wrong" ]; then echo "not formatted; run: .bin/gofumpt -w" $$wrong; exit 1; fi

vet:
	@$(GO) vet ./...

lint:
	@$(call tool,golangci-lint,github.com/golangci/golangci-lint/v2/cmd/golangci-lint,$(GOLANGCI_LINT_VERSION))
	@.bin/golangci-lint run ./...

race: deps
	@$(GO) test -race -count=1 -timeout 60m ./...

cross:
	@for system in $(OTHERS); do \
		echo "build for $$system"; \
		CGO_ENABLED=0 GOOS=$${system%/*} GOARCH=$${system#*/} GOARM=7 $(GO) build ./... || exit 1; \
	done

portable:
	@scripts/deps qemu-aarch64-static qemu-arm-static
	@echo "tests as arm64"
	@CGO_ENABLED=0 GOARCH=arm64 $(GO) test -short -count=1 -timeout 20m -exec qemu-aarch64-static $(PORTABLE)
	@echo "tests as arm, version 7"
	@CGO_ENABLED=0 GOARCH=arm GOARM=7 $(GO) test -short -count=1 -timeout 20m -exec qemu-arm-static $(PORTABLE)

crash: deps ## 10,000 simulated power cuts, then Penstock and Kafka killed for CHAOS=10m
	@$(GO) test -count=1 -timeout 60m ./internal/crashtest -run '^TestPowerCuts$$' -cuts $(CUTS) -v
	@$(GO) test -count=1 -timeout 60m ./cmd/penstock -run '^(TestChaos|TestFullDisk)$$' -chaos $(CHAOS) -v

crash-selftest: ## plant faults one at a time; the model of make crash must find each
	@$(GO) test -count=1 -timeout 60m ./internal/crashtest -run '^TestPlantedFaults' -selftest -v

bench: deps ## every benchmark once; BENCH=regexp chooses, BENCHTIME=1s each
	@$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem -timeout 60m -p 1 ./... | grep -v 'no test files'
	@sed -n '/^## Targets/,/^## [^T]/{/^## [^T]/!p}' docs/performance.md 2>/dev/null || true

fuzz: ## every fuzz function for FUZZTIME=30s
	@scripts/fuzz $(FUZZTIME)

rewrite: ## write golden files anew; look at the difference before you commit
	@packages=$$(grep -rlE --include='*_test.go' '"rewrite"|/datadriven"' . | xargs -n1 dirname | sort -u); \
	for package in $$packages; do $(GO) test -count=1 "$$package" -rewrite || exit 1; done

kafka: deps ## start a real Kafka on 127.0.0.1
	@$(KAFKA) start

kafka-stop: ## stop it
	@$(KAFKA) stop

image: ## the container image, without a container daemon; IMAGE=name VERSION=tag
	@scripts/image $(IMAGE) $(VERSION)

deps: ## install the programs that tests use, where that is possible
	@scripts/deps mosquitto mosquitto_pub kcat java mvn systemd-analyze

# tool NAME COMMAND VERSION: install a pinned tool unless .bin has that version.
define tool
	if ! $(GO) version -m .bin/$(1) 2>/dev/null | grep -qE '^\s+mod\s.*\s$(3)\s'; then \
		echo "install $(1) $(3); that may take minutes, once"; \
		GOBIN="$$PWD/.bin" $(GO) install $(2)@$(3); \
	fi
endef
