# Runs in the guest: verifies /dev/vda, discards it, waits until it has $NEW_SECTORS sectors.
set -euo pipefail
bash /root/blk-verify.sh
dd if=/dev/urandom of=/dev/vda bs=1M count=16 oflag=direct 2>/dev/null
blkdiscard -f /dev/vda 2>/dev/null || blkdiscard /dev/vda
echo DISCARDED
for _ in $(seq 600); do [ "$(cat /sys/block/vda/size)" = "$NEW_SECTORS" ] && break; sleep 0.05; done
[ "$(cat /sys/block/vda/size)" = "$NEW_SECTORS" ]
dd if=/dev/vda of=/dev/null bs=512 count=1 skip=$((NEW_SECTORS - 1)) iflag=direct 2>/dev/null
echo RESIZED
sleep 2
