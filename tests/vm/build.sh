#!/bin/bash
# build.sh - the kernel, the modules and the initramfs of the guest in which tests/vm runs. Installs nothing on this machine.
#
#   build.sh        makes what is missing and prints the folder it is in: $XDG_CACHE_HOME/svcmgr-vm (or ~/.cache)
#
# Debian's kernel package is downloaded and unpacked there (70 MB). It is started as an ELF file through PVH: the
# decompressor of a bzImage takes seconds when emulated; so does the check of the modules' signatures, which are cut off.
set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
here=$(dirname "$(readlink -f "$0")")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/svcmgr-vm
mkdir -p "$cache"
exec 9>"$cache/lock"; flock 9
stamp=$(sha256sum "$here/build.sh" | cut -d' ' -f1)
cd "$cache"
if [ "$(cat built 2>/dev/null)" = "$stamp" ]; then echo "$cache"; exit; fi
rm -f built

if [ ! -e version ]; then
    rm -rf debs root tools; mkdir debs root tools
    download() {
        local package
        package=$(apt-cache depends linux-image-amd64 2>/dev/null | awk '/Depends:/ {print $2; exit}')
        [ -n "$package" ] || return 1
        echo "build.sh: downloading $package" >&2
        (cd debs && apt-get -qq -o APT::Sandbox::User=root download "$package" kmod libkmod2 >&2)
    }
    # lists that are old name packages that are not there any more
    download || { apt-get -qq update >&2 && download; } || { echo "build.sh: apt gives no linux-image-amd64" >&2; exit 1; }
    dpkg -x debs/linux-image-*.deb root
    for deb in debs/kmod_*.deb debs/libkmod2_*.deb; do dpkg -x "$deb" tools; done
    rm -rf debs
    version=$(ls root/lib/modules)
    bash -c 'exec -a depmod "$@"' - tools/bin/kmod -b root "$version"
    image=root/boot/vmlinuz-$version                # Documentation/x86/boot.rst: where the payload is
    number() { od -An -t "u$2" -j "$1" -N "$2" "$image" | tr -d ' '; }
    start=$(( ($(number $((0x1f1)) 1) + 1) * 512 + $(number $((0x248)) 4) ))
    dd if="$image" of=payload bs=1M iflag=skip_bytes,count_bytes skip=$start count="$(number $((0x24c)) 4)" status=none
    case $(head -c 6 payload | od -An -t x1 | tr -d ' \n') in
        fd377a585a00) xz -dc --single-stream payload >vmlinux;;
        28b52ffd*)    head -c -4 payload | zstd -qdc >vmlinux;;     # the last four bytes are the size
        *) echo "build.sh: $image is compressed in an unknown way" >&2; exit 1;;
    esac
    rm -f payload "$image"
    echo "$version" >version
fi
version=$(cat version)
modules=root/lib/modules/$version

# what is needed before the shared root is there (to load it from there later is slower), in load order
order=()
add() { # NAME: what it depends on, then itself
    local line dep
    line=$(grep -m1 -E "/${1//[-_]/[-_]}\.ko:" "$modules/modules.dep") || return 0       # built in
    for dep in ${line#*:}; do add "$(basename "$dep" .ko)"; done
    [[ " ${order[*]:-} " = *" ${line%%:*} "* ]] || order+=("${line%%:*}")
}
for name in virtio_pci virtio_console virtio_rng 9pnet_virtio 9p overlay virtio_blk ext4 crc32c_generic dm-mod dm-snapshot veth bridge; do add "$name"; done

rm -rf initramfs; mkdir -p initramfs/{bin,proc,sys,dev,host,rw,new,mod}
cp "$(command -v busybox)" initramfs/bin/busybox
i=10
for module in "${order[@]}"; do
    perl -0777 -pe 's/.{8}(.{4})~Module signature appended~\n\z//s and $_ = substr($_, 0, length($_) - unpack("N", $1))' \
        "$modules/$module" >"initramfs/mod/$i-$(basename "$module")"
    i=$((i + 1))
done
cat >initramfs/init <<'SH'
#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc proc /proc; $B mount -t sysfs sys /sys; $B mount -t devtmpfs dev /dev
for m in /mod/*.ko; do $B insmod $m || echo "insmod $m failed" >/dev/console; done
$B mount -t tmpfs -o size=90%,mode=755 rw /rw && $B mkdir -p /rw/up /rw/work
$B mount -t 9p -o trans=virtio,version=9p2000.L,msize=1048576,cache=loose,ro host /host || exec $B reboot -f
$B mount -t overlay -o lowerdir=/host,upperdir=/rw/up,workdir=/rw/work root /new || exec $B reboot -f
init=$($B sed -n 's/.*\bvm_init=\([^ ]*\).*/\1/p' /proc/cmdline)
$B mount --move /proc /new/proc; $B mount --move /sys /new/sys; $B mount --move /dev /new/dev
exec $B switch_root /new /bin/bash "$init"
SH
chmod +x initramfs/init
(cd initramfs && find . | busybox cpio -o -H newc 2>/dev/null) >initramfs.cpio
rm -rf initramfs
echo "$stamp" >built
echo "$cache"
