#!/usr/bin/env bash
# Measures what docs/performance.md says: bench.sh SVCMGR. Changes nothing on the machine: statuses only, in a tree
# of its own.
set -euo pipefail
program=$(readlink -f "${1:?usage: bench.sh SVCMGR}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
node=$(hostname | tr A-Z a-z)
export OPENSVC_ROOT=$work/tree NO_COLOR=1

tree() { # COUNT RESOURCES: a tree of COUNT services, each of ip + 2 fs + rsync, or with ten resources
    rm -rf "$work/tree"
    mkdir -p "$work/tree"/{bin,etc,var/lock,log,tmp}
    ln -s "$program" "$work/tree/bin/svcmgr"
    ln -s svcmgr "$work/tree/bin/allservices"
    local i
    for ((i = 0; i < $1; i++)); do
        printf '[DEFAULT]\nservice_type = TST\nnodes = %s\ndrpnodes = elsewhere\nautostart_node = %s\n\n' "$node" "$node"
        printf '[ip#1]\nipdev = lo\nipname = 10.9.%d.%d\n\n' $((i / 250)) $((i % 250 + 1))
        printf '[fs#%d]\ntype = tmpfs\ndev = none\nmnt = /srv/bench%d/%d\n\n' 1 "$i" 1 2 "$i" 2
        [ "$2" = 4 ] || printf '[fs#%d]\ntype = tmpfs\ndev = none\nmnt = /srv/bench%d/%d\n\n' 3 "$i" 3 4 "$i" 4 5 "$i" 5 6 "$i" 6 7 "$i" 7 8 "$i" 8
        printf '[sync#1]\nsrc = /srv/bench%d/\ndst = /srv/bench%d\ntarget = drpnodes\n' "$i" "$i"
    done | awk -v etc="$work/tree/etc" '/^\[DEFAULT\]/ { close(file); file = etc "/svc" n++ ".env" } { print > file }'
}

# cpu RUNS COMMAND…: user + system seconds and elapsed seconds of one run, averaged; peak memory of one
cpu() {
    local runs=$1; shift
    "$@" >"$work/out" 2>&1 || true
    /usr/bin/time -q -o "$work/time" -f '%U %S %e %M' bash -c 'n=$1; shift; for ((i = 0; i < n; i++)); do "$@"; done >/dev/null 2>&1' - "$runs" "$@" || true
    /usr/bin/time -q -o "$work/mem" -f '%M' "$@" >/dev/null 2>&1 || true
    awk -v n="$runs" -v m="$(tail -1 "$work/mem")" 'END { printf "%.4f s user+sys, %.4f s elapsed, peak %.1f MB\n", ($1 + $2) / n, $3 / n, m / 1024 }' "$work/time"
}
# programs started below the command itself
children() { strace -qq -f -e trace=execve -e signal=none -o "$work/trace" "$@" >/dev/null 2>&1 || true; echo $(($(grep -c 'execve(.*= 0' "$work/trace") - 1)); }

echo "machine: $(nproc) x $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), Linux $(uname -r); $("$program" --version)"
tree 1 10
echo "(a) svcmgr -s svc0 print status, 10 resources + 2 internal syncs: $(cpu 100 "$work/tree/bin/svcmgr" -s svc0 print status), $(children "$work/tree/bin/svcmgr" -s svc0 print status) child processes"
grep -q 'fs#8' "$work/out" || { cat "$work/out"; echo "the tree is not as expected" >&2; exit 1; }
for count in 1000 10000; do
    tree $count 4
    echo "(b) allservices status, $count services of ip + 2 fs + rsync: $(cpu $((5000 / count + 1)) "$work/tree/bin/allservices" status), $(children "$work/tree/bin/allservices" status) child processes"
    [ ! -s "$work/out" ] || { head -3 "$work/out"; echo "a service could not be evaluated" >&2; exit 1; }
done
