# The verbs of this repository. Each is one command; none leaves anything outside target/ (and the lab's own directory).
.PHONY: help demo test bench e2e mutants deps

help: ## this list
	@sed -n 's/^\([a-z0-9]*\):.*## /\1\t/p' Makefile

demo: deps ## poolkeeper against an embedded OpenStack and Jenkins: nothing to set up, nothing real
	cargo build --locked --features sandbox
	@cargo run --locked --quiet --features sandbox -- demo

test: deps ## everything that needs no network and no root
	cargo fmt --check
	cargo clippy --locked --all-features --all-targets -- -D warnings
	cargo test --locked --all-features
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --all-features --no-deps

bench: deps ## what a run costs in calls, time and memory; fails when a target is missed
	cargo build --locked --release
	cp target/release/poolkeeper target/poolkeeper-released
	cargo bench --locked --features sandbox --bench scale -- "$(CURDIR)/target/poolkeeper-released"

e2e: deps ## the real binary against a real OpenStack and CI server in the lab (Debian 12, root, half an hour)
	tests/lab/e2e.sh

mutants: deps ## takes each rule of tests/mutations/list.txt out and demands a red test (python3; half an hour)
	tools/mutants

deps: ## what a build needs beside a Rust toolchain; silent when it is there
	@tools/deps
