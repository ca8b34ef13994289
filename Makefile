# make help says what there is. Nothing else has to be typed before `make test` or `make demo`.
CARGO  ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
RELEASE = $(or $(CARGO_TARGET_DIR),target)/release
NAMES = allservices allupservices alldownservices allprimaryservices allsecondaryservices svcmon svcfreeze svcthaw svcfrozen nodemgr

.DEFAULT_GOAL := build
.PHONY: help build test torture lint bench bench-peers demo install deps clean

help:           ## this
	@sed -n 's/^\([a-z-]*\): .*## /  make \1\t/p' $(MAKEFILE_LIST)

build:          ## the optimised programs: target/release/svcmgr and dds
	$(CARGO) build --release --locked

deps:           ## the packages the tests and the demo need (Debian; a no-op when they are there)
	@scripts/install-deps.sh

# clippy's denied lints hold the architecture (Cargo.toml); its warnings, which differ by version, fail only `make lint`
test: deps      ## everything: lints, unit tests, recorded cases, floors, examples, real nodes, real LVM (as root)
	@if $(CARGO) clippy --version >/dev/null 2>&1; then $(CARGO) clippy --locked --all-targets --test nodes --test vm; \
	 else echo "SKIPPED: clippy is not installed, lints are not checked"; fi
	$(CARGO) test --locked
	@CARGO=$(CARGO) scripts/test-real.sh

lint:           ## format and clippy
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets --test nodes --test vm -- -D warnings

bench: deps build ## figures of docs/performance.md
	@scripts/bench.sh $(RELEASE)/svcmgr
	@scripts/bench-dds.sh $(RELEASE)/dds
	@CARGO=$(CARGO) scripts/bench-replicas.sh

bench-peers: deps ## its figures of starts whose peers are dead: 4 minutes (as root)
	DEAD_PEERS=50 $(CARGO) test --locked --test nodes dead_peers -- --nocapture

torture: deps   ## all scenarios on real LVM, also those that take long (as root)
	$(CARGO) test --locked --test vm -- --include-ignored

demo: deps build ## two nodes on this machine, a service, its replication, a failover; KEEP=1 leaves them up
	@KEEP=$(KEEP) demo/demo.sh $(RELEASE)/svcmgr

install: build  ## the programs and their names below PREFIX=/usr/local
	install -D -m 755 $(RELEASE)/svcmgr $(DESTDIR)$(PREFIX)/bin/svcmgr
	install -D -m 755 $(RELEASE)/dds $(DESTDIR)$(PREFIX)/bin/dds
	for name in $(NAMES); do ln -sf svcmgr $(DESTDIR)$(PREFIX)/bin/$$name; done
	mkdir -p $(DESTDIR)/etc/opensvc $(DESTDIR)/var/lib/opensvc $(DESTDIR)/var/log/opensvc

clean:          ## remove target/
	$(CARGO) clean
