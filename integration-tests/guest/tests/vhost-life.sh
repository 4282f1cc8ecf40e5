# Runs in the guest: verifies /dev/vda, discards it, waits until it has $NEW_SECTORS sectors, until it is gone and back.
set -euo pipefail
until_() { for _ in $(seq 1200); do eval "$1" && return; sleep 0.05; done; echo "never: $1"; exit 1; }
bash /root/blk-verify.sh
dd if=/dev/urandom of=/dev/vda bs=1M count=16 oflag=direct 2>/dev/null
blkdiscard -f /dev/vda 2>/dev/null || blkdiscard /dev/vda
echo DISCARDED
until_ '[ "$(cat /sys/block/vda/size)" = "$NEW_SECTORS" ]'
dd if=/dev/vda of=/dev/null bs=512 count=1 skip=$((NEW_SECTORS - 1)) iflag=direct 2>/dev/null
echo RESIZED
until_ '[ ! -e /sys/block/vda ]'
echo UNPLUGGED
until_ '[ -b /dev/vda ]'
dd if=/dev/urandom of=/tmp/ref bs=1M count=2 2>/dev/null
dd if=/tmp/ref of=/dev/vda bs=64k oflag=direct 2>/dev/null
dd if=/dev/vda bs=64k count=32 iflag=direct 2>/dev/null | cmp - /tmp/ref
echo PLUGGED
sleep 2
