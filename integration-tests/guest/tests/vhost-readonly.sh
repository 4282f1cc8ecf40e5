# Runs in the guest: /dev/vda can be read and not written.
set -euo pipefail
modprobe virtio_blk 2>/dev/null || true
for _ in $(seq 200); do [ -b /dev/vda ] && break; sleep 0.05; done
[ "$(cat /sys/block/vda/ro)" = 1 ]
[ "$(cat /sys/block/vda/queue/discard_max_bytes)" = 0 ]
[ "$(cat /sys/block/vda/serial)" = read-only-disk ]
dd if=/dev/vda of=/dev/null bs=64k count=64 iflag=direct 2>/dev/null
if dd if=/dev/zero of=/dev/vda bs=4k count=1 oflag=direct 2>/dev/null; then exit 1; fi
echo READ-ONLY
