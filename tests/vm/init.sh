#!/bin/bash
# init.sh - pid 1 of the guest in which tests/vm runs, from the host's root filesystem (read-only, with a tmpfs over it).
# The kernel's command line says: vm_cache (what build.sh made), vm_share (the folder shared read-write, at the same path
# as on the host), vm_job (the test program). A fork is dear here: builtins and one busybox where possible.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb TZ=UTC
read -r -a words </proc/cmdline
vm_cache= vm_job=; export vm_share=
for word in "${words[@]}"; do case $word in vm_*=*) declare "${word%%=*}=${word#*=}";; esac; done
read -r version </proc/sys/kernel/osrelease
B=/usr/bin/busybox; [ -x $B ] || B=/bin/busybox
echo vm >/proc/sys/kernel/hostname
$B mkdir -p /dev/pts /dev/shm /lib/modules /room "$vm_share"
$B mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
$B mount -t tmpfs -o mode=1777 tmpfs /dev/shm
$B mount -t tmpfs -o mode=755 tmpfs /run
$B mkdir -p /run/lock /run/lvm /run/sshd "$vm_share"
$B ln -sfn /proc/self/fd /dev/fd; $B ln -sfn fd/0 /dev/stdin; $B ln -sfn fd/1 /dev/stdout; $B ln -sfn fd/2 /dev/stderr
$B ln -sfn "$vm_cache/root/lib/modules/$version" "/lib/modules/$version"
if [ ! -e /usr/sbin/modprobe ]; then $B ln -sfn "$vm_cache/tools/bin/kmod" /usr/sbin/modprobe; fi
$B ip link set lo up
$B mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none,access=any share "$vm_share"
: >/etc/resolv.conf; : >/root/.bashrc
# without udev: lvm makes its device nodes itself, in the /dev of the node that activates. Without hints: those of one node know
# nothing of a disk group that another has made
export DM_DISABLE_UDEV=1
echo 'activation { udev_sync=0 udev_rules=0 verify_udev_operations=0 monitoring=0 }
devices { obtain_device_list_from_udev=0 external_device_info_source="none" use_devicesfile=0 scan_lvs=0 hints="none" }
global { use_lvmpolld=0 event_activation=0 }' >/etc/lvm/lvmlocal.conf
out=/dev/console
for port in /sys/class/virtio-ports/*; do read -r name <"$port/name" && [ "$name" = out ] && out=/dev/${port##*/}; done
$B mount -t ext4 /dev/vda /room || echo "init.sh: no /room" >"$out"
read -r up _ </proc/uptime
echo "@up $up" >"$out"
cd "$vm_share"
setsid "$vm_job" </dev/null >"$out" 2>&1
sync
echo b >/proc/sysrq-trigger
