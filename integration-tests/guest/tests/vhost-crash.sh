# Runs in the guest: writes and verifies while the host kills the daemon; no I/O error may come of it.
set -euo pipefail
modprobe virtio_blk 2>/dev/null || true
for _ in $(seq 200); do [ -b /dev/vda ] && break; sleep 0.05; done
echo WRITING
fio --name=v --filename=/dev/vda --direct=1 --rw=randwrite --bs=4k --size=24M --ioengine=libaio --iodepth=16 \
    --verify=crc32c --do_verify=1 --verify_fatal=1 --randseed=1 --rate_iops=1000 > /tmp/fio.log || { cat /tmp/fio.log; exit 1; }
if dmesg | grep -iE 'I/O error|blk_update_request'; then exit 1; fi
echo VERIFIED
