# Runs in the guest: the daemon ($BLOCKWHARF, Java in $BLOCKWHARF_JAVA) listens on vsock, and libnbd's and QEMU's clients
# connect through the kernel's loopback (context id 1).
set -euo pipefail
modprobe vsock_loopback
trap 'echo "FAILED: line $LINENO"; cat /run/log; dmesg | tail -5' ERR
head -c 4194304 /dev/urandom > /tmp/source
truncate -s 4M /tmp/disk.raw
# Not compiled further than necessary: under emulation the compiler takes longer than what it gains.
BLOCKWHARF_OPTS=-XX:TieredStopAtLevel=1 "$BLOCKWHARF/bin/blockwharf" --pidfile /run/pid \
    --blockdev driver=file,node-name=disk,filename=/tmp/disk.raw \
    --nbd-server addr.type=vsock,addr.cid=4294967295,addr.port=10809 \
    --object nbd-server,id=other,addr.type=vsock,addr.cid=1,addr.port=10810 \
    --export nbd,id=e,node-name=disk,writable=on \
    --export nbd,id=f,node-name=disk,name=again,server=other > /run/log 2>&1 &
daemon=$!
end=$(($(date +%s) + 200))
until [ -e /run/pid ]; do
    [ -e /proc/$daemon ] && [ "$(date +%s)" -lt $end ]
    sleep 0.1
done
[ "$(nbdinfo --size nbd+vsock://1:10809/disk)" = 4194304 ]
[ "$(nbdinfo --size nbd+vsock://1:10810/again)" = 4194304 ]
echo SIZES
# Not nbdcopy: over vsock its recv, waiting for the end that it asked for, says "not connected" every now and then.
qemu-img convert -n --image-opts --target-image-opts driver=raw,file.driver=file,file.filename=/tmp/source \
    driver=nbd,export=disk,server.type=vsock,server.cid=1,server.port=10809
cmp /tmp/source /tmp/disk.raw
echo WRITTEN
qemu-img compare --image-opts driver=raw,file.driver=file,file.filename=/tmp/source \
    driver=nbd,export=again,server.type=vsock,server.cid=1,server.port=10810
echo READ
kill $daemon
wait $daemon
echo ENDED
