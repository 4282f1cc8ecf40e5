#!/usr/bin/env bash
#
# run-guest.sh - boot the guest made by build-guest.sh, run a shell script in
# it, print what the script prints, and exit with the script's status.
#
#   ./run-guest.sh [options] CMDFILE [-- QEMU-OPTION...]
#
#   -t SECONDS      hard limit on the whole run                        [180]
#   -m MEMORY       guest memory                                      [1024M]
#   -c N            guest CPUs                                            [2]
#   -a ACCEL        QEMU accelerator                   [tcg,thread=single]
#   -C CPU          QEMU CPU model                                      [max]
#   -s TAG=DIR:PATH[:rw]
#                   9p share of host directory DIR at PATH in the guest,
#                   read-only unless :rw (repeatable)
#   -p FILE:PATH    copy a host file into the guest at PATH (repeatable)
#   -e NAME=VALUE   environment variable for the script (repeatable)
#   -M MODULES      kernel modules to load first (comma-separated)
#   -n              user-mode network: guest 10.0.2.15, host is 10.0.2.2
#   -S              shared (memfd) guest memory, as vhost-user needs
#   -i 'OPTIONS'    a second QEMU, with these options instead of QEMU-OPTION...,
#                   waits for the guest to migrate to it (no spaces in options)
#   -k ARGS         more kernel command line
#   -o DIR          output directory of build-guest.sh         [./target/guest]
#   -l FILE         keep the guest's console log in FILE
#   -q              do not print timings
#
# Exit status: the script's own; 124 if the limit was reached; 125 if the guest
# or QEMU failed before the script ended (the console log is then printed).

set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

limit=180 mem=1024M cpus=2 accel=tcg,thread=single cpu=max quiet=no shm=no net=no
out=${OUT:-$here/target/guest} modules= kargs= keeplog= incoming= shares=() puts=() envs=() guest_shares=
usage() { sed -n '3,33s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
while getopts t:m:c:a:C:s:p:e:M:nSi:k:o:l:qh o; do
    case $o in
        t) limit=$OPTARG ;;   m) mem=$OPTARG ;;      c) cpus=$OPTARG ;;
        a) accel=$OPTARG ;;   C) cpu=$OPTARG ;;      s) shares+=("$OPTARG") ;;
        p) puts+=("$OPTARG") ;; e) envs+=("$OPTARG") ;; M) modules=$OPTARG ;; n) net=yes ;;
        S) shm=yes ;;         i) incoming=$OPTARG ;;
              k) kargs=$OPTARG ;;    o) out=$OPTARG ;;
        l) keeplog=$OPTARG ;; q) quiet=yes ;;        *) usage ;;
    esac
done
shift $((OPTIND - 1))
[ $# -ge 1 ] || usage
cmdfile=$1; shift
[ "${1:-}" = -- ] && shift
[ -r "$cmdfile" ] || { echo "run-guest: cannot read $cmdfile" >&2; exit 2; }
[ -r "$out/vmlinuz" ] || { echo "run-guest: no guest in $out; run build-guest.sh" >&2; exit 2; }

log() { [ $quiet = yes ] || printf '[run-guest] %s\n' "$*" >&2; }

work=$(mktemp -d "${TMPDIR:-/tmp}/run-guest.XXXXXX")
qpid= catpid= q2pid=
cleanup() {
    [ -n "$catpid" ] && kill "$catpid" 2>/dev/null
    for p in $qpid $q2pid; do
        if kill -0 "$p" 2>/dev/null; then kill "$p"; wait "$p" 2>/dev/null; fi
    done
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The script travels as a second cpio archive behind the initramfs.
mkdir "$work/extra"
cp "$cmdfile" "$work/extra/cmd"
for e in "${envs[@]}"; do printf 'export %s=%q\n' "${e%%=*}" "${e#*=}"; done > "$work/extra/env"
for p in "${puts[@]}"; do
    mkdir -p "$work/extra/put/$(dirname "${p#*:}")"
    cp -L "${p%%:*}" "$work/extra/put/${p#*:}" || exit 2
done
{ cat "$out/initramfs.img"
  (cd "$work/extra" && find . -mindepth 1 | "$out/busybox" cpio -o -H newc 2>/dev/null); } > "$work/initrd"

if [ -x "$out/qemu/usr/bin/qemu-system-x86_64" ]; then
    qemu=("$out/qemu/usr/bin/qemu-system-x86_64" -L "$out/qemu/usr/share/qemu" -L "$out/qemu/usr/share/seabios")
else
    qemu=(qemu-system-x86_64)
fi
kernel=$out/vmlinux
[ -r "$kernel" ] || kernel=$out/vmlinuz
args=(-nodefaults -no-user-config -display none -no-reboot -monitor none
    -accel "$accel" -cpu "$cpu" -smp "$cpus" -m "$mem"
    -kernel "$kernel" -initrd "$work/initrd"
    -serial "file:$work/console"
    -device virtio-serial-pci
    -chardev "file,id=out,path=$work/out" -device virtserialport,chardev=out,name=guest.out
    -chardev "file,id=status,path=$work/status" -device virtserialport,chardev=status,name=guest.status
    -device virtio-scsi-pci,id=rootbus
    -drive "if=none,id=root,file=$out/rootfs.img,format=raw,readonly=on"
    -device scsi-hd,bus=rootbus.0,drive=root)
machine=q35
if [ $shm = yes ]; then
    args+=(-object "memory-backend-memfd,id=mem,size=$mem,share=on")
    machine=q35,memory-backend=mem
fi
args+=(-M "$machine")
for s in "${shares[@]}"; do
    tag=${s%%=*} rest=${s#*=} mode=ro
    case $rest in *:rw) mode=rw rest=${rest%:rw} ;; *:ro) rest=${rest%:ro} ;; esac
    dir=${rest%%:*} path=${rest#*:} ro=,readonly=on
    [ $mode = rw ] && ro=
    args+=(-fsdev "local,id=fs-$tag,path=$dir,security_model=none,multidevs=remap$ro"
           -device "virtio-9p-pci,fsdev=fs-$tag,mount_tag=$tag")
    guest_shares=$guest_shares,$tag:$path:$mode
done
[ $net = yes ] && args+=(-netdev user,id=net -device virtio-net-pci,netdev=net)

append="console=ttyS0 quiet panic=-1 reboot=t nokaslr mitigations=off no_timer_check tsc=nowatchdog nowatchdog"
append="$append random.trust_cpu=on net.ifnames=0 cryptomgr.notests"
# The emulated TSC is the host's. On a busy host the guest's own measurement of it is wrong by up to ten times, and so is
# its clock; without frequency scaling the host's "cpu MHz" is the TSC's.
if [ ! -e /sys/devices/system/cpu/cpu0/cpufreq ]; then
    append="$append tsc_early_khz=$(awk '/^cpu MHz/ {printf "%d", $4 * 1000; exit}' /proc/cpuinfo)"
fi
[ -n "$guest_shares" ] && append="$append guest.share=${guest_shares#,}"
[ $net = yes ] && append="$append guest.net=1"
[ -n "$modules" ] && append="$append guest.modules=$modules"
args+=(-append "$append $kargs")

# The guest reports "init UPTIME", "start UPTIME", "exit STATUS UPTIME" or
# "fail WHY" on a port whose host end is a FIFO.  The script's output comes
# through another one (not -chardev stdio: at end of file on stdin QEMU tells
# the guest that the port is disconnected, and writers in the guest block).
mkfifo "$work/status" "$work/out"
now() { local t=$EPOCHREALTIME; echo $(( ${t%.*} * 1000 + 10#${t#*.} / 1000 )); }
since() { local d=$(( $(now) - t0 )); printf '%d.%03d' $((d / 1000)) $((d % 1000)); }
t0=$(now)
cat "$work/out" &
catpid=$!
# QEMU inherits the only write end (4): end of file means that it is gone.
exec 3<> "$work/status" 4> "$work/status" 5< "$work/status" 3<&-
timeout -k 5 "$limit" "${qemu[@]}" "${args[@]}" "$@" < /dev/null 5<&- &
qpid=$!
if [ -n "$incoming" ]; then
    # shellcheck disable=SC2086
    timeout -k 5 "$limit" "${qemu[@]}" "${args[@]}" $incoming < /dev/null 5<&- &
    q2pid=$!
fi
exec 4>&-
rc= why=
while read -r word a b <&5; do
    case $word in
        init)  log "init after $(since) s (guest clock $a s)" ;;
        start) log "script started after $(since) s (guest clock $a s)" ;;
        exit)  rc=$a; log "script ended after $(since) s (guest clock $b s), status $rc" ;;
        fail)  why="$a $b" ;;
    esac
done
wait "$qpid"; qrc=$?
qpid=
if [ -n "$q2pid" ]; then wait "$q2pid"; qrc=$?; q2pid=; fi
exec 4<> "$work/out" 4>&-          # lets cat end if QEMU never opened its end
wait "$catpid"; catpid=
log "guest gone after $(since) s"
[ -n "$keeplog" ] && cp "$work/console" "$keeplog"
if [ -n "$rc" ]; then exit "$rc"; fi
{ echo "[run-guest] script did not end: QEMU status $qrc${why:+, guest says: $why}"
  [ -s "$work/console" ] && { echo "[run-guest] last console lines:"; tail -n 40 "$work/console"; }; } >&2
[ $qrc = 124 ] || [ $qrc = 137 ] && exit 124
exit 125
