# Two commands: `make run` for a first container, `make test` for everything that is checked.

.PHONY: run stop test quick bench bench-trace build install deb fmt

run: packages-run
	cargo build --release --quiet --bins
	cargo xtask up

stop:
	cargo xtask down

# What `docker version` says of a build: the commit, and its time rather than the clock's, so that a build can be repeated.
build: export LONGSHORE_COMMIT := $(shell git rev-parse --short=7 HEAD 2>/dev/null || echo unknown)
build: export LONGSHORE_BUILD_TIME := $(shell date -u -d "@$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct 2>/dev/null || date +%s)}" +%Y-%m-%dT%H:%M:%SZ)
build:
	cargo build --release --bins

# `make build` first, as whoever builds; this as root. PREFIX, DESTDIR, SYSCONFDIR and UNITDIR as usual.
PROGRAMS ?= target/$(shell rustc --print host-tuple)/release
install:
	PROGRAMS='$(PROGRAMS)' PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' scripts/stage

# The Debian package, from what `make build` made.
deb:
	scripts/deb '$(PROGRAMS)'

# T0 to T3, and T4 where QEMU can be installed: Tests in ARCHITECTURE.md.
test: packages-test
	scripts/test

# Tidy and the tests alone; those that lack root or a package are skipped with the reason.
quick:
	cargo xtask tidy
	cargo nextest run --workspace

bench: packages-test
	cargo build --release --bins
	cargo xtask bench

bench-trace: packages-test
	cargo build --release --bins
	cargo xtask trace

fmt:
	cargo fmt --all

packages-%:
	scripts/packages $*
