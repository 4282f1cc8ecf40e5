# Runs in the guest: writes and verifies all its virtio disks while the host kills the daemon or moves the guest; no I/O error
# may come of it.
set -euo pipefail
modprobe virtio_blk 2>/dev/null || true
for _ in $(seq 200); do [ -b /dev/vda ] && break; sleep 0.05; done
jobs=
for disk in /dev/vd?; do jobs="$jobs --name=$(basename "$disk") --filename=$disk"; done
echo WRITING
# shellcheck disable=SC2086
fio --direct=1 --rw=randwrite --bs=4k --size=${SIZE:-24M} --ioengine=libaio --iodepth=16 --verify=crc32c --do_verify=1 \
    --verify_fatal=1 --randseed=1 --rate_iops=${RATE:-1000} $jobs > /tmp/fio.log || { cat /tmp/fio.log; exit 1; }
if dmesg | grep -iE 'I/O error|blk_update_request'; then exit 1; fi
echo VERIFIED
