# Runs in the guest: verifies /dev/vda on all its $QUEUES queues, discards it, waits until it has $NEW_SECTORS sectors, switches its
# cache mode, waits until it is gone and back.
set -euo pipefail
until_() { for _ in $(seq 1200); do eval "$1" && return; sleep 0.05; done; echo "never: $1"; exit 1; }
bash /root/blk-verify.sh
[ "$(ls /sys/block/vda/mq | wc -l)" = "$QUEUES" ]
fio --name=q --filename=/dev/vda --direct=1 --rw=randwrite --bs=4k --size=1M --offset_increment=4M --numjobs="$QUEUES" \
    --cpus_allowed=0-$((QUEUES - 1)) --cpus_allowed_policy=split --ioengine=libaio --iodepth=4 --verify=crc32c --do_verify=1 \
    --verify_fatal=1 > /tmp/fio.log || { cat /tmp/fio.log; exit 1; }
# One interrupt a queue, which each of them has had
awk -v want="$QUEUES" '/-req\./ { n = 0; for (i = 2; $i ~ /^[0-9]+$/; i++) n += $i; if (n > 0) used++ }
    END { print used " queues interrupted"; exit used != want }' /proc/interrupts
dd if=/dev/urandom of=/dev/vda bs=1M count=16 oflag=direct 2>/dev/null
blkdiscard -f /dev/vda 2>/dev/null || blkdiscard /dev/vda
echo DISCARDED
until_ '[ "$(cat /sys/block/vda/size)" = "$NEW_SECTORS" ]'
dd if=/dev/vda of=/dev/null bs=512 count=1 skip=$((NEW_SECTORS - 1)) iflag=direct 2>/dev/null
[ "$(cat /sys/block/vda/cache_type)" = "write back" ]
echo "write through" > /sys/block/vda/cache_type
echo RESIZED
until_ '[ ! -e /sys/block/vda ]'
echo UNPLUGGED
until_ '[ -b /dev/vda ]'
[ "$(cat /sys/block/vda/cache_type)" = "write through" ] # the export has kept it
dd if=/dev/urandom of=/tmp/ref bs=1M count=2 2>/dev/null
dd if=/tmp/ref of=/dev/vda bs=64k oflag=direct 2>/dev/null
dd if=/dev/vda bs=64k count=32 iflag=direct 2>/dev/null | cmp - /tmp/ref
echo PLUGGED
sleep 2
