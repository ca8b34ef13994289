#!/usr/bin/env bash
# Two nodes on this machine, a service, its replication and a failover: what `make demo` shows.
# Every command is shown as typed, with its real output; every step is checked, and the first that is not as
# expected ends the demo with exit status 1.
#
#   demo.sh SVCMGR        the program to show (make demo builds it)
#   KEEP=1 demo.sh SVCMGR leaves the nodes up and says how to get a shell on them
#
# Needs root. Nothing of the host is touched: a node is a set of namespaces (tests/bed/nodes.sh).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
nodes_sh=$here/../tests/bed/nodes.sh
program=$(readlink -f "${1:?usage: demo.sh SVCMGR}")
export NODES_DIR=/tmp/svcmgr-demo
[ "$(id -u)" = 0 ] || { echo "demo.sh: must be root: it makes machines of namespaces" >&2; exit 1; }

in_node='export PATH=/opt/opensvc/bin:/opt/opensvc/etc:$PATH TZ=UTC; cd ~; '
on()   { local n=$1; shift; "$nodes_sh" exec "$n" -- bash -euo pipefail -c "$in_node$*"; }
fail() { printf '\nDEMO FAILED: %s\n' "$*" >&2; exit 1; }
say()  { printf '\n%s\n' "$bold# $*$plain"; }
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi

# typed NODE COMMAND [STATUS]: shows it, runs it, keeps what it said in $out
typed() {
    local rc=0
    printf '\nroot@%s:~# %s\n' "$1" "$2"
    "$nodes_sh" exec "$1" -- bash -c "$in_node$2" >"$said" 2>&1 </dev/null || rc=$?
    cat "$said"; out=$(<"$said")
    [ $rc = "${3:-0}" ] || fail "exit status $rc instead of ${3:-0}: $2"
}
# shows PATTERN…: the last command's output has a line for each
shows() { local p; for p in "$@"; do grep -Eq -- "$p" <<<"$out" || fail "the output has no line like: $p"; done; }

cleanup() {
    local rc=$?
    rm -f "$said"
    if [ -n "${KEEP:-}" ] && [ -d "$NODES_DIR" ]; then
        echo
        echo "The nodes are up. A shell on deb1:  NODES_DIR=$NODES_DIR $(realpath "$nodes_sh") exec deb1 -- bash -l"
        echo "(put /opt/opensvc/bin and /opt/opensvc/etc in its PATH). To remove them:  NODES_DIR=$NODES_DIR $(realpath "$nodes_sh") down"
    else
        "$nodes_sh" down || rc=1
    fi
    exit $rc
}
said=$(mktemp)
began=$(date +%s%N)
trap cleanup EXIT
trap 'exit 130' INT TERM

# --- the machines, and on each a classic tree at /opt/opensvc
if [ -z "${KEEP:-}" ]; then export NODES_WATCH=$$; fi
"$nodes_sh" up deb1 deb2
unset NODES_WATCH
cp "$program" "$NODES_DIR/shared/svcmgr"
clock_env=$(cat "$here/clock.opensvc.com.env")
names='printf "%s\n" "10.99.0.25 clock.opensvc.com" "10.99.0.24 clock-drp.opensvc.com" >>/etc/hosts;'
for node in deb1 deb2; do
    on $node "$names"'
        mkdir -p /opt/opensvc/{bin,etc,var,log,tmp}; cp /shared/svcmgr /opt/opensvc/bin/
        for n in all{,up,down,primary,secondary}services svcmon svcfreeze svcthaw svcfrozen nodemgr; do ln -s svcmgr /opt/opensvc/bin/$n; done
        truncate -s 64M /disk/clock.img; mkfs.ext4 -q -L clock /disk/clock.img'
done
install_service() { # NODE NAME, the file on stdin
    on "$1" "cat >/opt/opensvc/etc/$2.env; ln -s ../bin/svcmgr /opt/opensvc/etc/$2"
}
for node in deb1 deb2; do
    install_service $node clock.opensvc.com <<<"$clock_env"
    last=24
    for name in mail.opensvc.com wiki.opensvc.com; do
        last=$((last + 2))
        sed "s/LAST/$last/; s/NAME/${name%%.*}/" "$here/small.env" | install_service $node $name
    done
done

s=clock.opensvc.com
say "A service: an address, a file system on a file, and a script that writes the time into it each second."
typed deb1 "cat /opt/opensvc/etc/$s.env"
on deb1 'mount -o loop /disk/clock.img /mnt; mkdir /mnt/bin; cat >/mnt/bin/clock; chmod 755 /mnt/bin/clock; umount /mnt' <"$here/clock"

say "The recovery node keeps its file system mounted, ready to receive: always_on = drpnodes."
typed deb2 "$s startstandby"
typed deb1 "allservices start"
typed deb1 "$s print status"
shows '^overall +warn' '^\|- avail +up' 'fs#1 +\.\.\.\. up' 'app#1 .* up' 'deb2 need update'

say "Nothing has ever been sent to deb2. A first copy, then the service's own files."
typed deb1 "$s sync full"
typed deb1 "$s sync drp --force"
typed deb1 "$s print status"
shows '^overall +up' 'sync#1 +\.\.\.\. up' 'sync#i0 +\.\.\.\. up'

say "Somebody works; then users are sent home and the last changes go over."
typed deb1 "echo 'order 4711' >>/srv/clock/data/orders; tail -n 2 /srv/clock/data/time"
typed deb1 "$s sync update --force"

say "The disaster: deb1 loses its power. The person on duty starts the service on deb2."
"$nodes_sh" crash deb1
typed deb2 "$s start"
shows 'deb1 does not answer' 'what deb1 wrote after that is not here' 'deb2 holds clock.opensvc.com from now on'
typed deb2 "$s print status"
shows '^\|- avail +up' 'fs#1 .* stdby up' 'ip#1 .* up +clock-drp.opensvc.com@eth0'
typed deb2 "cat /srv/clock/data/orders; tail -n 2 /srv/clock/data/time"
shows '^order 4711$'
typed deb2 "echo 'order 4712, taken on the recovery site' >>/srv/clock/data/orders"

say "deb1 has power again. It boots, sees that deb2 has newer data, and stays down. Nothing of deb1 goes to deb2."
"$nodes_sh" boot deb1
on deb1 "$names"    # a node of the bed boots with a hosts file of its own
typed deb1 "allservices boot"
shows "clock.opensvc.com is not started by boot: deb2 holds the data"
typed deb1 "$s sync all --force"
shows "won't sync from deb1: deb2 holds the data"
typed deb1 "$s start" 1
shows 'is not started on deb1' 'type:'
typed deb1 "$s where"
shows 'deb1' 'deb2' 'giveback'

say "Home again, with all data: sent while the service runs on deb2, one short stop, started on deb1."
typed deb2 "$s giveback"
typed deb1 "$s print status"
shows '^\|- avail +up' 'ip#1 .* up +clock.opensvc.com@eth0'
typed deb1 "cat /srv/clock/data/orders; tail -n 2 /srv/clock/data/time"
shows '^order 4711$' '^order 4712'
typed deb2 "ping -c 1 -W 2 clock.opensvc.com | head -n 2"
shows 'bytes from'

say "A planned move, which loses nothing: deb2 takes over, deb1 stops and sends its last writes."
typed deb2 "$s takeover"
typed deb2 "$s where"
shows 'deb2 .*up'
typed deb2 "$s giveback"

say "The same for everything at once: stop all there was on deb1, start it on deb2."
typed deb1 "allservices stop"
typed deb2 "allservices start --parallel"
typed deb2 "svcmon"
shows "^$s .* up +(up|warn)" '^mail.opensvc.com .* up +(up|warn)' '^wiki.opensvc.com .* up +(up|warn)'

printf '\nThe demo went as expected, in %d s.\n' $((($(date +%s%N) - began) / 1000000000))
