#!/usr/bin/env bash
# Measures dds: bench-dds.sh DDS [FOLDER]. Everything is in FOLDER (default /dev/shm: memory, no disk is measured), 4 GB for a few minutes.
set -euo pipefail
dds=$(readlink -f "${1:?usage: bench-dds.sh DDS [FOLDER]}")
work=$(mktemp -d -p "${2:-/dev/shm}")
trap 'rm -rf "$work"' EXIT
cd "$work"

# store FILE CHUNKS COUNT ORDER: a store of 4 KiB chunks that names COUNT of CHUNKS chunks; only its tables are there, extract reads no more
store() {
    perl -e '
        my ($file, $chunks, $count, $order) = @ARGV;
        my ($step, $old) = ($order eq "random" ? 2654435761 : 1, 0);    # prime, so that no chunk comes twice
        open(my $out, ">", $file) or die $!;
        print $out pack("V4", 0x70416e53, 1, 1, 8);
        for (my $area = 0; $area <= int($count / 256); $area++) {
            seek($out, (1 + $area * 257) * 4096, 0);
            my $in = $count - $area * 256 < 256 ? $count - $area * 256 : 256;
            my $table = "";
            for my $i (0 .. $in - 1) { $table .= pack("Q<2", $old, 2 + $area * 257 + $i); $old = ($old + $step) % $chunks; }
            print $out $table . ("\0" x (4096 - length $table));
        }
        truncate($out, (2 + $count + int($count / 256)) * 4096) or die $!;
    ' "$@"
}
# median WHAT COMMAND: MB/s (of 512 MiB) of five runs of a pipe, the middle one
median() {
    local what=$1 runs=()
    for _ in 1 2 3 4 5; do
        local from=$EPOCHREALTIME
        bash -o pipefail -c "$2" 2>>err || { cat err; exit 1; }
        runs+=($(awk -v a="$from" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.0f\n", 536.870912 / (b - a) }'))
    done
    middle=$(printf '%s\n' "${runs[@]}" | sort -n | sed -n 3p)
    printf '%-58s %5s MB/s' "$what" "$middle"
}
ratio() { awk -v a="$middle" -v b="$pipe" 'BEGIN { printf "   %.2f of the pipe\n", a / b }'; }

echo "machine: $(nproc) x $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), Linux $(uname -r); $("$dds" --version)"
head -c 1G /dev/urandom >source
cp source dest
for order in random sequential; do
    store cow 262144 131072 $order
    "$dds" --extract --cow cow --source source --dest stream
    echo "-- 512 MiB of $order changes of 4 KiB"
    median "dd bs=1M | dd bs=1M" "dd if=stream bs=1M | dd of=/dev/null bs=1M"; pipe=$middle; echo
    median "dds --extract | dd" "'$dds' --extract --cow cow --source source | dd of=/dev/null bs=1M"; ratio
    median "dd | dds --merge" "dd if=stream bs=1M | '$dds' --merge --dest dest"; ratio
    median "dds --extract | dds --merge" "'$dds' --extract --cow cow --source source | '$dds' --merge --dest dest"; ratio
    median "dds --merge --cow FILE" "'$dds' --merge --cow stream --dest dest"; ratio
    "$dds" --extract --frame --cow cow --source source --dest framed
    echo "framed stream: $(($(stat -c %s framed) - 536870912)) bytes beside 536870912 of data"
    median "dds --extract --frame | dd" "'$dds' --extract --frame --cow cow --source source | dd of=/dev/null bs=1M"; ratio
    median "dd | dds --merge, framed" "dd if=framed bs=1M | '$dds' --merge --dest dest"; ratio
    median "dds --extract --frame | dds --merge" "'$dds' --extract --frame --cow cow --source source | '$dds' --merge --dest dest"; ratio
    mkdir spool
    median "dds --extract --frame | dds --merge --spool" "'$dds' --extract --frame --cow cow --source source | '$dds' --merge --spool spool --dest dest"; ratio
    rm -r spool framed
done
median "dds --hash, 512 MiB" "'$dds' --hash --source source --length 536870912 | dd of=/dev/null"; echo
if command -v b3sum >/dev/null; then head -c 512M source >half; median "b3sum, one thread" "b3sum --num-threads 1 half"; echo; rm half; fi

echo "-- memory: a source of 64 TiB, 10 million changed chunks (40 GB of stream)"
peak() { /usr/bin/time -f '%M %e' -o peak "${@:2}" >/dev/null && awk -v w="$1" '{ printf "%-58s %5.1f MB, %s s\n", w, $1 / 1024, $2 }' peak; }
truncate -s 64T huge
store cow $((64 << 28)) 10000000 random
peak "dds --extract" "$dds" --extract --cow cow --source huge --dest /dev/null
peak "dds --extract --frame" "$dds" --extract --frame --cow cow --source huge --dest /dev/null
peak "dds --extract --dry-run" "$dds" --extract --cow cow --source huge --dry-run
rm cow huge
peak "dds --merge, 512 MiB" "$dds" --merge --dest dest < <(cat stream)
