# Runs in the guest: the daemon and qemu-storage-daemon each serve a VDUSE disk of this kernel, and take turns.
# Prints "sample SERVER LOAD IOPS CPU", CPU being microseconds of the server for a request. $ROUNDS, $SECONDS_EACH.
set -euo pipefail
modprobe -a vduse virtio_vdpa virtio_blk
image() { dd if=/dev/urandom of="$1" bs=1M count=64 2>/dev/null; }
options() { echo "type=vduse-blk,id=e,node-name=disk,name=$1,num-queues=1,queue-size=256,writable=on"; }
image /tmp/a.raw
image /tmp/b.raw
"$BLOCKWHARF/bin/blockwharf" --blockdev driver=file,node-name=disk,filename=/tmp/a.raw --export "$(options blockwharf)" \
    --pidfile /run/a.pid > /run/log 2>&1 &
qemu-storage-daemon --blockdev driver=file,node-name=disk,filename=/tmp/b.raw --export "$(options qemu)" --pidfile /run/b.pid &
for _ in $(seq 4000); do [ -e /run/a.pid ] && [ -e /run/b.pid ] && break; sleep 0.05; done
vdpa dev add name blockwharf mgmtdev vduse
for _ in $(seq 600); do [ -b /dev/vda ] && break; sleep 0.05; done
vdpa dev add name qemu mgmtdev vduse
for _ in $(seq 600); do [ -b /dev/vdb ] && break; sleep 0.05; done
declare -A disk=([blockwharf]=/dev/vda [qemu]=/dev/vdb) pid=([blockwharf]=$(cat /run/a.pid) [qemu]=$(cat /run/b.pid))
ticks() { awk '{sub(/.*\) /, ""); print $12 + $13}' "/proc/$1/stat"; }
# run SERVER LOAD DEPTH SECONDS
run() {
    local before after line
    before=$(ticks "${pid[$1]}")
    line=$(fio --name=l --filename="${disk[$1]}" --rw="$2" --bs=4k --size=64m --direct=1 --ioengine=libaio --iodepth="$3" \
        --time_based --runtime="$4" --randrepeat=0 --output-format=terse --terse-version=3 | grep '^3;')
    after=$(ticks "${pid[$1]}")
    awk -F';' -v s="$1" -v l="$2-$3" -v t=$((after - before)) '{
        iops = $8 + $49; n = iops * ($9 + $50) / 1000
        printf "sample %s %s %.0f %.1f\n", s, l, iops, n ? t * 10000 / n : 0 }' <<< "$line"
}
for server in blockwharf qemu; do    # until what is hot is compiled
    run $server randread 16 "$WARM_UP" > /dev/null
    run $server randwrite 16 "$WARM_UP" > /dev/null
done
for load in randread randwrite; do
    for depth in 1 16; do
        for round in $(seq "$ROUNDS"); do
            order="blockwharf qemu"
            [ $((round % 2)) = 0 ] && order="qemu blockwharf"
            for server in $order; do run $server $load $depth "$SECONDS_EACH"; done
        done
    done
done
vdpa dev del blockwharf
vdpa dev del qemu
kill "${pid[@]}"
wait
