# Runs in the guest: the daemon ($BLOCKWHARF, Java in $BLOCKWHARF_JAVA) as VDUSE server and NBD server of this kernel.
# Prints one line for each thing that is proven.
set -euo pipefail
up() { cut -d' ' -f1 /proc/uptime; }
t0=$(up)
ok() { awk -v a="$(up)" -v b="$t0" -v w="$*" 'BEGIN {printf "ok %s (%.1f s)\n", w, a - b}'; }
die() {
    echo "FAILED: $*"
    cat /run/log
    dmesg | tail -20
    exit 1
}
trap 'die "line $LINENO"' ERR
# wait_for SECONDS TEST...
wait_for() {
    local end=$(($(date +%s) + $1))
    shift
    until "$@"; do
        [ "$(date +%s)" -lt $end ] || die "never: $*"
        sleep 0.05
    done
}
mkfifo /run/in
exec 4<> /run/in

# daemon OPTION...: starts it, with a QMP monitor on FIFOs, and waits until it serves
daemon() {
    rm -f /run/pid /run/out
    # Not compiled further than necessary: under emulation the compiler takes longer than what it gains.
    BLOCKWHARF_OPTS=-XX:TieredStopAtLevel=1 "$BLOCKWHARF/bin/blockwharf" --chardev stdio,id=m --monitor m --pidfile /run/pid \
        --blockdev driver=file,node-name=disk,discard=unmap,filename=/tmp/disk.raw "$@" < /run/in > /run/out 2>> /run/log &
    daemon=$!
    wait_for 400 test -e /run/pid -o ! -e /proc/$daemon
    [ -e /run/pid ] || die "the daemon does not start"
    exec 5< /run/out
    qmp '{"execute": "qmp_capabilities"}'
    expect '{"return": {}}'
}
# qmp COMMAND: its answer is in $answer; events go to /run/events
qmp() {
    echo "$1" >&4
    answer=
    while true; do
        line 100
        case $answer in *'"event"'*) echo "$answer" >> /run/events ;; *'"QMP"'*) ;; *) break ;; esac
    done
}
# line SECONDS: the next one of the monitor; the file may end before it does
line() {
    local part end=$(($(date +%s) + $1))
    answer=
    while true; do
        if IFS= read -r part <&5; then
            answer=$answer$part
            return
        fi
        answer=$answer$part
        [ "$(date +%s)" -lt $end ] || die "the monitor is silent"
        sleep 0.02
    done
}
expect() { case $answer in *"$1"*) ;; *) die "expected $1, got $answer" ;; esac; }
# deleted: waits for the event
deleted() {
    until grep -q BLOCK_EXPORT_DELETED /run/events 2>/dev/null; do
        line 60
        echo "$answer" >> /run/events
    done
    rm /run/events
}
export_disk='{"execute": "block-export-add", "arguments": {"type": "vduse-blk", "id": "e", "node-name": "disk",
    "name": "disk0", "num-queues": 2, "queue-size": 128, "serial": "VDUSE-1", "writable": true}}'
export_disk=$(echo $export_disk)
attach() {
    timeout 60 vdpa dev add name disk0 mgmtdev vduse
    wait_for 60 test -b /dev/vda
}
size() { [ "$(cat /sys/block/vda/size)" = "$1" ]; }

truncate -s 64M /tmp/disk.raw
: > /run/log
modprobe virtio_blk
daemon --nbd-server addr.type=inet,addr.host=127.0.0.1,addr.port=10809
ok "daemon started without VDUSE"
qmp "$export_disk"
expect "Parameter 'type' does not accept value 'vduse-blk'"
modprobe -a vduse virtio_vdpa
answer=
for _ in $(seq 600); do
    qmp "$export_disk"
    case $answer in *'does not accept'* | *'No driver found'*) sleep 0.1 ;; *) break ;; esac
done
expect '{"return": {}}'
ok "the type comes with the module, without a restart"

attach
[ "$(cat /sys/block/vda/serial)" = VDUSE-1 ]
[ "$(ls /sys/block/vda/mq | wc -l)" = 2 ]
ok "disk with two queues"
DEV=/dev/vda bash /root/blk-verify.sh
ok "verified I/O on two queues, ext4, flush, fsck"
dd if=/dev/urandom of=/dev/vda bs=1M count=16 oflag=direct 2>/dev/null
blkdiscard -f /dev/vda
cmp -n 67108864 /dev/zero /tmp/disk.raw
ok "discard"
qmp '{"execute": "block_resize", "arguments": {"node-name": "disk", "size": 100663296}}'
expect '{"return": {}}'
wait_for 30 size 196608
dd if=/dev/vda of=/dev/null bs=512 count=1 skip=196607 iflag=direct 2>/dev/null
ok "resize"

qmp '{"execute": "block-export-del", "arguments": {"id": "e"}}'
expect "export 'e' still in use"
mkfs.ext4 -q /dev/vda
mkdir -p /mnt/hard
mount /dev/vda /mnt/hard
echo written > /mnt/hard/file
qmp '{"execute": "block-export-del", "arguments": {"id": "e", "mode": "hard"}}'
expect '{"return": {}}'
deleted
[ ! -e /dev/vda ]
if dd if=/dev/zero of=/mnt/hard/more bs=64k count=64 conv=fsync 2>/dev/null; then die "the disk lives on"; fi
umount -l /mnt/hard
timeout 20 vdpa dev del disk0
ok "removal: safe refused, hard under a mounted file system, then vdpa dev del"
fsck.ext4 -nf /tmp/disk.raw > /dev/null 2>&1 || [ $? -le 4 ]

qmp "$export_disk"
expect '{"return": {}}'
attach
timeout 20 vdpa dev del disk0
wait_for 10 test ! -e /dev/vda
qmp '{"execute": "block-export-del", "arguments": {"id": "e"}}'
expect '{"return": {}}'
deleted
[ ! -e /dev/vduse/disk0 ]
[ ! -e /dev/shm/blockwharf-vduse-disk0 ]
ok "vdpa dev del first, then safe removal"

# The kernel's NBD client, over the loopback
modprobe nbd nbds_max=2
qmp '{"execute": "block-export-add", "arguments": {"type": "nbd", "id": "n", "node-name": "disk", "writable": true}}'
expect '{"return": {}}'
for round in first second; do
    nbd-client -N disk 127.0.0.1 10809 /dev/nbd0 -b 4096 > /dev/null
    wait_for 20 test -e /sys/block/nbd0/pid
    if [ $round = first ]; then
        DEV=/dev/nbd0 bash /root/blk-verify.sh
    else
        fsck.ext4 -nf /dev/nbd0 > /dev/null
        dd if=/tmp/ref of=/dev/nbd0 bs=64k oflag=direct 2>/dev/null
        dd if=/dev/nbd0 bs=64k count=128 iflag=direct 2>/dev/null | cmp - /tmp/ref
    fi
    nbd-client -d /dev/nbd0 > /dev/null
    wait_for 20 test ! -e /sys/block/nbd0/pid
done
ok "kernel NBD client: verified I/O, ext4, disconnect, reconnect"
qmp '{"execute": "block-export-del", "arguments": {"id": "n", "mode": "hard"}}'
expect '{"return": {}}'
deleted

# The daemon dies under load, and its successor takes the device over
qmp "$export_disk"
expect '{"return": {}}'
attach
fio --name=v --filename=/dev/vda --direct=1 --rw=randwrite --bs=4k --size=24M --ioengine=libaio --iodepth=16 --rate_iops=800 \
    --verify=crc32c --do_verify=1 --verify_fatal=1 --randseed=1 > /run/fio.log 2>&1 &
fio=$!
written() { set -- $(cat /sys/block/vda/stat); [ "$5" -gt 300 ]; }
dmesg -C
wait_for 60 written
kill -9 $daemon
wait $daemon || true
kill -0 $fio
exec 5<&-
daemon --export type=vduse-blk,id=e,node-name=disk,name=disk0,num-queues=2,queue-size=128,serial=VDUSE-1,writable=on
wait $fio || { cat /run/fio.log; die "fio after the take-over"; }
if dmesg | grep -iE 'I/O error|is not a head'; then die "errors in the kernel's log"; fi
ok "daemon killed under load, device taken over, all data verified"

timeout 20 vdpa dev del disk0
qmp '{"execute": "quit"}'
wait $daemon
[ ! -e /dev/vduse/disk0 ]
ok "daemon ended"
