#!/usr/bin/env bash
# Measures what docs/performance.md says of replications: svcmgr beside the same tools in a bare pipe, on two test nodes
# with pools of their own. Needs root; BENCH_MB=1024 is the size of a full transfer, BENCH_DRIVER=btrfs the only driver.
set -euo pipefail
cd "$(dirname "$0")/.."
${CARGO:-cargo} test --quiet --release --locked --test nodes bench_replicas -- --ignored --nocapture
