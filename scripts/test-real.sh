#!/usr/bin/env bash
# Runs the tests between real nodes, and beside them those in the guest (lines with "guest |"), which leave the cores
# idle half of the time. Both run to their end; fails if one of them has.
set -uo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
$cargo test --locked --test nodes --test vm --no-run || exit
( $cargo test --locked --test vm 2>&1 | sed -u 's/^/guest | /' ) &
guest=$!
$cargo test --locked --test nodes -- --test-threads=4
nodes=$?
wait $guest
guest=$?
if [ $nodes != 0 ] || [ $guest != 0 ]; then
    echo "FAILED:$([ $nodes = 0 ] || echo ' the nodes')$([ $guest = 0 ] || echo ' the guest')" >&2
    exit 1
fi
