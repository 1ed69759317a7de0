# The commands of this repository. `make` alone lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PREFIX ?= /usr/local
ARGS ?=
FOR ?= 60
SEED ?=
SCRIPTS := rabbitmq/{up,down,ctl,cluster,four} postgres/{up,down} tests/{run,setup,root.sh,packages,newcomer} deploy/package examples/demo benches/instructions .ci/{run,dependencies,prose}

# Of programs that are not optimised: all but the allocator, which takes a quarter of the build.
QUICK := --no-default-features --features full

.PHONY: help dev run test test-cluster test-rabbitmq4 chaos bench bench-parked bench-livestream simulator demo lint dependencies up down clean-broker compose release install deb dist test-packages newcomer cargo

help: ## list the commands
	@echo "homing: durable webhook delivery on RabbitMQ"
	@echo
	@sed -nE 's/^([a-z0-9.-]+):[^#]*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-22s %s\n", $$1, $$2 }'
	@echo
	@echo 'ARGS reaches the program behind dev, run, test and demo: make run ARGS="--role worker"'

dev: cargo ## show a first delivery: build homing; a broker, homing and an endpoint in this terminal
	@exec cargo run --locked $(QUICK) --bin homing -- dev $(ARGS)

run: cargo ## find or start a broker, build homing, run it
	@url=$$(rabbitmq/up); \
	cargo build --locked $(QUICK) --bin homing; \
	export HOMING__BROKER__URL="$$url"; \
	echo "homing: for commands in another terminal:" >&2; \
	echo "  export HOMING__BROKER__URL=$$url HOMING__STORE__URL=sqlite:$$PWD/homing.db" >&2; \
	echo "  export PATH=\"$$PWD/$${CARGO_TARGET_DIR:-target}/debug:\$$PATH\"" >&2; \
	exec cargo run --locked $(QUICK) --quiet --bin homing -- run $(ARGS)

test: cargo ## run all tests, against a broker and a database of their own, stopped afterwards
	@bash tests/run $(ARGS)

test-cluster: cargo ## test faults of a cluster: nodes killed, restarted, paused, cut off
	@bash tests/run --test it -- $(or $(ARGS),faults::cluster) --test-threads 1 --nocapture

test-rabbitmq4: cargo ## run the same tests on RabbitMQ 4, fetched into a folder
	@HOMING_RABBITMQ_BIN=$$(rabbitmq/four); export HOMING_RABBITMQ_BIN; \
	HOMING_TEST_INSTANCE=test4 bash tests/run $(ARGS)

chaos: cargo ## cause random faults for FOR=60 seconds (SEED=… repeats a run), then account
	@HOMING_TEST_LIMIT=$$(($(FOR) + 900)) HOMING_CHAOS_SECONDS=$(FOR) HOMING_CHAOS_SEED=$(SEED) bash tests/run --test it -- faults::chaos --nocapture

bench: cargo ## measure cost and latency of deliveries beside a bare loop (ARGS="drain hung", ARGS=--help)
	@bash tests/run --bench --bench delivery -- $(ARGS)

bench-parked: cargo ## measure a million parked deliveries in both stores (ARGS=100000 measures fewer)
	@bash tests/run --bench --bench parked -- $(ARGS)

bench-livestream: cargo ## measure records per second of a source
	@bash tests/run --bench --bench livestream $(ARGS)

simulator: cargo ## simulate Adobe's Live Stream API (ARGS="--rate 5", ARGS=--help); prints settings
	@cargo run --locked --quiet --package livestream-simulator -- $(ARGS)

demo: ## see homing at work: a broker, an endpoint that fails, retries
	@bash examples/demo $(ARGS)

lint: cargo ## check formatting, words, clippy, documentation, shell scripts
	@cargo fmt --version >/dev/null 2>&1 || { echo "lint: cargo fmt is missing; install it with: rustup component add rustfmt" >&2; exit 1; }
	@cargo clippy --version >/dev/null 2>&1 || { echo "lint: cargo clippy is missing; install it with: rustup component add clippy" >&2; exit 1; }
	cargo fmt --check
	.ci/prose
	cargo clippy --workspace --all-targets --locked $(QUICK) -- -D warnings
	@set -x; for features in "" "dashboard postgres" "livestream workfront"; do \
		cargo clippy --no-default-features --features "$$features" --locked -- -D warnings; \
	done
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked $(QUICK)
	@if command -v shellcheck >/dev/null; then \
		echo "shellcheck -x $(SCRIPTS)"; shellcheck -x $(SCRIPTS); \
	else \
		echo "lint: shellcheck is not installed, so the shell scripts were not checked" >&2; \
	fi

dependencies: cargo ## check dependencies: licences, bans, sources, advisories, unused packages
	@.ci/dependencies

up: ## find or start a broker and print its URL
	@rabbitmq/up

down: ## stop the broker that `make up` started
	@rabbitmq/down

clean-broker: ## stop the private brokers and databases, and delete what they hold
	@rabbitmq/down --delete-data
	@rabbitmq/down --instance test --delete-data
	@postgres/down --delete-data
	@postgres/down --instance test --delete-data

.env: ## make passwords, a token and a key for docker-compose.yml, once
	@umask 077; { for name in BROKER_PASSWORD STORE_PASSWORD ERLANG_COOKIE API_TOKEN; do \
		echo "HOMING_$$name=$$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')"; \
	done; echo "HOMING_ENCRYPTION_KEY=$$(head -c 32 /dev/urandom | base64)"; } > $@.new; mv $@.new $@; echo "made .env; the API's token is HOMING_API_TOKEN in it" >&2

compose: .env ## start a pool with Docker Compose: 3 RabbitMQ nodes, PostgreSQL, 2 workers, API on port 8080
	docker compose up --build --wait

release: cargo ## build the program as it is installed: target/dist/homing
	cargo build --profile dist --locked

install: ## install what `make release` has built into PREFIX/bin (PREFIX=/usr/local)
	@[[ -x "$${CARGO_TARGET_DIR:-target}/dist/homing" ]] || { echo "install: there is no program yet; first: make release" >&2; exit 1; }
	install -d "$(DESTDIR)$(PREFIX)/bin"
	install -m 755 "$${CARGO_TARGET_DIR:-target}/dist/homing" "$(DESTDIR)$(PREFIX)/bin/homing"

deb: cargo ## make the Debian package: target/packages/homing_….deb
	@deploy/package deb

dist: cargo ## make an archive of the program, its pages and completions, with its checksum: target/packages
	@deploy/package tar

test-packages: cargo ## test the packages on a clean Debian: installed, started, upgraded, removed
	@bash tests/packages $(ARGS)

newcomer: cargo ## do what README says on a clean Debian, from clone to first delivery, and measure it
	@bash tests/newcomer $(ARGS)

cargo:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust (rust-version in Cargo.toml names the oldest that works), then try again" >&2; exit 1; }
