#!/usr/bin/env bash
# Installs what the tests and the demo need on Debian 12 (or a relative with apt), and starts nothing.
# A quick no-op when all of it is there. Rust itself is not installed here.
#
#   install-deps.sh          install what is missing (needs root)
#   install-deps.sh --list   say what is missing, change nothing
set -euo pipefail

# package | a program of it that is looked for
wanted="
iproute2          ip
openssh-server    sshd
openssh-client    ssh
rsync             rsync
iputils-ping      ping
iputils-arping    arping
iptables          ebtables
e2fsprogs         mkfs.ext4
xfsprogs          mkfs.xfs
btrfs-progs       mkfs.btrfs
zfs-fuse          zfs-fuse
zstd              zstd
psmisc            fuser
procps            ps
util-linux        unshare
perl-base         perl
strace            strace
time              /usr/bin/time
qemu-system-x86   qemu-system-x86_64
busybox-static    busybox
lvm2              lvcreate
dmsetup           dmsetup
kpartx            kpartx
fdisk             sfdisk
xz-utils          xz
zstd              zstd
docker.io         dockerd
"
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

missing=()
while read -r package program; do
    [ -z "$package" ] || command -v "$program" >/dev/null || missing+=("$package")
done <<<"$wanted"

# Habets' arping has other options than the one of iputils and would be found under the same name
if command -v arping >/dev/null && ! arping -V 2>&1 | grep -q iputils; then missing+=(iputils-arping); fi
# the one that is not static does not run in an initramfs
if busybox=$(command -v busybox) && ldd "$busybox" >/dev/null 2>&1; then missing+=(busybox-static); fi

[ ${#missing[@]} -gt 0 ] || exit 0
echo "missing packages: ${missing[*]}"
[ "${1:-}" != --list ] || exit 1
[ "$(id -u)" = 0 ] || { echo "install-deps.sh: must be root to install them" >&2; exit 1; }
command -v apt-get >/dev/null || { echo "install-deps.sh: no apt-get here: install them by hand" >&2; exit 1; }

export DEBIAN_FRONTEND=noninteractive
# the packages' scripts must not start sshd on this machine
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
    trap 'rm -f $policy' EXIT
fi
log=$(mktemp)
quiet() { "$@" >"$log" 2>&1 || { cat "$log" >&2; rm -f "$log"; echo "install-deps.sh: $* failed" >&2; exit 1; }; }
[ -n "$(find /var/lib/apt/lists -name '*Packages*' -mmin -720 2>/dev/null | head -1)" ] || quiet apt-get update -qq
quiet apt-get install -y -qq --no-install-recommends --no-upgrade -o Dpkg::Use-Pty=0 "${missing[@]}"
rm -f "$log"
echo "installed: ${missing[*]}"
