# The two commands of the README are `make run` and `make test`; `make help` lists the rest.

CARGO ?= cargo
PYTHON ?= python3
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
SENTOR := $(TARGET_DIR)/release/sentor
# More flags for `make run`, such as RUN_FLAGS='--listen 0.0.0.0:8080'.
RUN_FLAGS ?=

# A parallel make would have several cargos wait for one another, and mix their output.
.NOTPARALLEL:
.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1 \2/p' Makefile | while read -r target text; do printf '%-18s %s\n' "$$target" "$$text"; done

.PHONY: run
run: build ## Fetch what is needed, build, and serve on 127.0.0.1:8080
	@exec $(SENTOR) serve --data-dir .sentor $(RUN_FLAGS)

.PHONY: build
build: onnxruntime ## Build the program
	$(CARGO) build --release --locked

.PHONY: onnxruntime
onnxruntime: ## Fetch the ONNX Runtime library, pinned and checksummed
	@$(PYTHON) scripts/fetch-onnxruntime >/dev/null

.PHONY: test
test: test-format test-lint test-docs test-rust test-scripts test-clients ## Run all that CI runs
	@echo 'all tests passed'

.PHONY: test-format
test-format: ## Check the format of the Rust code
	$(CARGO) fmt --check

.PHONY: test-lint
test-lint: ## Run clippy, pedantic, with warnings as errors
	$(CARGO) clippy --release --locked --all-targets -- -D warnings

.PHONY: test-docs
test-docs: ## Build the documentation with warnings as errors
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --release --locked --no-deps --document-private-items

.PHONY: test-rust
test-rust: build ## Run the Rust tests
	$(CARGO) test --release --locked

.PHONY: test-scripts
test-scripts: ## Test the set-up scripts
	$(PYTHON) -m unittest discover --start-directory tests/setup

.PHONY: polarity
polarity: build ## Print the share of hand-written sentences that come out as expected
	$(PYTHON) scripts/polarity-check --sentor $(SENTOR)

.PHONY: test-clients
test-clients: build ## Run every released Python client against the real server
	$(PYTHON) tests/clients/run.py --sentor $(SENTOR)
