# `make run` starts a server, `make check` tests while you work, `make test` tests all; `make help` lists the rest.

CARGO ?= cargo
PYTHON ?= python3
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
SENTOR := $(TARGET_DIR)/release/sentor
# Where `make install` puts the program, the models and ONNX Runtime.
PREFIX ?= /usr/local
# More flags for `make run`, such as RUN_FLAGS='--listen 0.0.0.0:8080'.
RUN_FLAGS ?=

# Parallel cargos would wait for one another and mix their output.
.NOTPARALLEL:
.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1 \2/p' Makefile | while read -r target text; do printf '%-18s %s\n' "$$target" "$$text"; done

.PHONY: run
run: build ## Fetch what is needed, build, and serve on 127.0.0.1:8080
	@exec $(SENTOR) serve $(RUN_FLAGS)

.PHONY: build
build: onnxruntime ## Build the program
	$(CARGO) build --release --locked --workspace

.PHONY: onnxruntime
onnxruntime: ## Fetch the ONNX Runtime library, pinned and checksummed
	@$(PYTHON) scripts/fetch-onnxruntime >/dev/null

.PHONY: install
install: ## Install the program, the models and ONNX Runtime below PREFIX (/usr/local)
	@test -x $(SENTOR) || $(MAKE) build
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/lib/sentor" "$(DESTDIR)$(PREFIX)/share/sentor/models"
	install $(SENTOR) "$(DESTDIR)$(PREFIX)/bin/sentor"
	install -m 644 "$$($(PYTHON) scripts/fetch-onnxruntime)" "$(DESTDIR)$(PREFIX)/lib/sentor/"
	cp -R models/. "$(DESTDIR)$(PREFIX)/share/sentor/models/"

# Each call of cargo names the whole workspace and the release profile, so that every library is checked once (clippy, doc) and
# compiled once (build, test).

.PHONY: check
check: test-format test-lint ## Check format, lints and unit tests: what to run while you work
	$(CARGO) test --release --locked --workspace --lib --quiet

.PHONY: test
test: test-format test-lint test-docs test-rust test-scripts test-training test-clients test-documentation test-interface test-pages test-python ## Run all that CI runs
	@echo 'all tests passed'

.PHONY: test-format
test-format:
	$(CARGO) fmt --all --check

.PHONY: test-lint
test-lint:
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings

.PHONY: test-docs
test-docs:
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --release --locked --workspace --no-deps --document-private-items

.PHONY: test-rust
test-rust: build ## Run the Rust tests
	$(CARGO) test --release --locked --workspace

.PHONY: test-scripts
test-scripts: ## Test the set-up scripts
	$(PYTHON) -m unittest discover --start-directory tests/setup

.PHONY: test-training
test-training: ## Test the parts of training/ that need no weights
	$(PYTHON) tests/training/run.py

.PHONY: coverage
coverage: onnxruntime ## Measure which lines the Rust tests run (needs cargo-llvm-cov)
	$(CARGO) llvm-cov --locked --release --workspace --summary-only

.PHONY: polarity
polarity: build ## Print the share of hand-written sentences that come out as expected
	$(PYTHON) scripts/polarity-check --sentor $(SENTOR)

.PHONY: test-clients
test-clients: build ## Run every released Python client against the real server
	$(PYTHON) tests/clients/run.py --sentor $(SENTOR)

.PHONY: test-documentation
test-documentation: build ## Run every command that the documentation shows
	$(PYTHON) tests/documentation/run.py --sentor $(SENTOR)

.PHONY: test-interface
test-interface: build ## Let schemathesis try the interface that the server describes
	$(PYTHON) tests/interface/run.py --sentor $(SENTOR)

.PHONY: test-pages
test-pages: build ## Try the pages in headless Chromium
	$(PYTHON) tests/browser/run.py --sentor $(SENTOR)

.PHONY: wheel
wheel: ## Build the Python packages into target/wheels/
	$(PYTHON) scripts/build-wheels

.PHONY: test-python
test-python: build wheel ## Test the Python package, installed from its wheels
	$(PYTHON) tests/python/run.py --sentor $(SENTOR)

.PHONY: dist
dist: ## Build the small, stripped program that is packaged
	$(CARGO) build --profile dist --locked

.PHONY: sbom
sbom: ## Write the bill of materials, CycloneDX, to target/sbom.json (needs cargo-cyclonedx)
	$(CARGO) cyclonedx --format json --override-filename sentor-sbom
	@mkdir -p $(TARGET_DIR)
# The build folder's path is removed.
	@sed 's|file://$(CURDIR)|file:///sentor|g' sentor-sbom.json > $(TARGET_DIR)/sbom.json && rm sentor-sbom.json

.PHONY: licences
licences: ## Check the licences and origins of the libraries, and list them in target/licences.txt (needs cargo-deny)
	$(CARGO) deny --locked --log-level error check bans licenses sources
	@mkdir -p $(TARGET_DIR)
	$(CARGO) deny --locked list --layout license > $(TARGET_DIR)/licences.txt

.PHONY: audit
audit: licences ## Also compare the libraries with the advisory database, which it fetches (needs cargo-deny)
	$(CARGO) deny --locked check advisories

.PHONY: fuzz
fuzz: ## Fuzz for FUZZ_SECONDS a target (needs cargo-fuzz and a nightly compiler)
	@scripts/fuzz

.PHONY: miri
miri: ## Run the tests of the pure modules in Miri (needs a nightly compiler with it)
	MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=4 $(CARGO) +nightly miri test -p sentor-text --lib

.PHONY: soak
soak: build ## Load the server for SOAK_SECONDS with faults, and write a report to target/soak.md
	@benches/soak
