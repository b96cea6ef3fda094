# thrum: `make` prints this list.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
GO ?= go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BUILD := CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)"

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the static binary ./thrum
	$(BUILD) -o thrum .

# Package gorgonia.org/cu finds its header and its library through these alone.
CUDA := CGO_ENABLED=1 CGO_CFLAGS="-O2 -I$(CURDIR)/plugins/cuda/include" CGO_LDFLAGS="-L$(CURDIR)/bin/cuda"

.PHONY: cuda
cuda: ## build bin/thrum-backend-cuda, which needs gcc here and a driver only where it serves
	plugins/cuda/shim.sh bin/cuda
	$(CUDA) $(GO) build -tags cuda -trimpath -ldflags "-s -w" -o bin/thrum-backend-cuda ./plugins/cuda

.PHONY: cuda-test
cuda-test: cuda ## test what is built with the tag cuda, with a driver that pretends
	$(CUDA) $(GO) vet -tags cuda -trimpath ./backends/cuda/gpu ./backends/cuda/check ./backends/cuda/bench ./plugins/cuda
	$(CUDA) $(GO) test -tags cuda -trimpath ./backends/cuda/gpu ./backends/cuda/check ./backends/cuda/bench ./plugins/cuda

.PHONY: cuda-kernels
cuda-kernels: ## compile the kernels for NVIDIA's devices anew, with a compiler from PyPI (three minutes; the images are in the tree)
	backends/cuda/kernels/build.sh bin/cuda/nvcc

.PHONY: cuda-check
cuda-check: ## build bin/cuda-check/check, which holds a device against the processor where it is started, and start it
	plugins/cuda/shim.sh bin/cuda
	rm -rf bin/cuda-check
	mkdir -p bin/cuda-check/models
	cp -r backends/cuda/testdata/*/ bin/cuda-check/models
	for m in digits tumor yarnit; do mkdir bin/cuda-check/models/$$m && cp examples/models/$$m/1/model.onnx bin/cuda-check/models/$$m; done
	cp backends/cpu/testdata/cases.jsonl.gz bin/cuda-check
	$(CUDA) $(GO) build -tags cuda -trimpath -ldflags "-s -w" -o bin/cuda-check/check ./backends/cuda/check
	bin/cuda-check/check || [ $$? = 77 ]

.PHONY: bench-cuda
bench-cuda: build cuda ## build bin/cuda-bench/bench, which measures a device beside torch.compile where it is started, and start it
	rm -rf bin/cuda-bench
	mkdir -p bin/cuda-bench
	cp backends/cuda/bench/peer.py bin/cuda-bench
	gzip -n <thrum >bin/cuda-bench/thrum.gz
	gzip -n <bin/thrum-backend-cuda >bin/cuda-bench/thrum-backend-cuda.gz
	$(CUDA) $(GO) build -tags cuda -trimpath -ldflags "-s -w" -o bin/cuda-bench/bench ./backends/cuda/bench
	bin/cuda-bench/bench -json bin/cuda-bench/figures.json || [ $$? = 77 ]

.PHONY: demo
demo: build ## serve the bundled models, send real inputs, keep serving (ONCE=1: stop after)
	$(GO) run ./examples/demo -thrum ./thrum -models examples/models $(if $(ONCE),-once)

.PHONY: test
test: ## run the whole test suite
	$(GO) test ./...

.PHONY: race
race: ## run the test suite under the race detector
	CGO_ENABLED=1 $(GO) test -race ./...

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (default 10s) each
	.ci/fuzz $(or $(FUZZTIME),10s)

.PHONY: lint
lint: ## gofmt, vet, staticcheck, and no file over 1 MB
	@large=$$(git ls-files -z --cached --others --exclude-standard | xargs -0 stat -c '%s %n' | awk '$$1 > 1000000'); [ -z "$$large" ] || { echo "over 1 MB:"; echo "$$large"; exit 1; }
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "gofmt would change:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

.PHONY: generate
generate: ## regenerate assembly, protocol code and tables
	$(GO) generate ./...

.PHONY: check
check: lint test purego ## what to run before a commit

.PHONY: purego
purego: ## test the kernels without assembly
	$(GO) test -tags purego ./backends/cpu/...

.PHONY: bench
bench: build ## whole path: requests/s and CPU per request beside a bare fasthttp echo
	$(GO) run ./bench -thrum ./thrum

.PHONY: bench-peers
bench-peers: build ## thrum beside other serving systems from their public packages (SHORT=1: three minutes, after their install; DIR=: keep it all)
	bench/peers/serving/environments.sh $(or $(DIR),/tmp/thrum-peers)
	$(GO) run ./bench/peers/serving -thrum ./thrum -environments $(or $(DIR),/tmp/thrum-peers) $(if $(SHORT),-short)

.PHONY: bench-kernels
bench-kernels: ## kernels beside ONNX Runtime, sonic, goccy and what the processor can do at best (SHORT=1, ONLY=: less; DIR=: keep 9 GB)
	bench/peers/engine/environment.sh $(or $(DIR),/tmp/thrum-peers/engine)
	$(GO) run ./bench/kernels -environment $(or $(DIR),/tmp/thrum-peers/engine) -only '$(ONLY)' $(if $(SHORT),-short)

.PHONY: bench-engine
bench-engine: ## whole models beside ONNX Runtime, OpenVINO, XGBoost and tl2cgen (SHORT=1, ONLY=: less; DIR=: keep 9 GB)
	bench/peers/engine/environment.sh $(or $(DIR),/tmp/thrum-peers/engine)
	$(GO) run ./bench/engine -environment $(or $(DIR),/tmp/thrum-peers/engine) -only '$(ONLY)' $(if $(SHORT),-short)

.PHONY: bench-boundary
bench-boundary: ## what a process boundary costs: shared memory beside gRPC and a bare ping-pong
	$(GO) run ./bench/boundary

.PHONY: bench-loadtest
bench-loadtest: build ## whether load tests tell the truth: what they find beside what they have to (ONLY=: some)
	$(GO) run ./bench/loadtest -only '$(ONLY)'

.PHONY: chaos
chaos: build ## kill, stop, spoil and leak under load: measured against target (SHORT=1: two minutes)
	$(GO) run ./bench/chaos -thrum ./thrum $(if $(SHORT),-short)

.PHONY: conformance
conformance: ## run the onnx package's node cases, 85 % of which are to pass (DIR=: keep its files)
	bench/conformance/conformance.sh $(DIR)

.PHONY: size
size: ## lines of Go by package, tests apart
	@.ci/size
