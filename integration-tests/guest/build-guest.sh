#!/usr/bin/env bash
#
# build-guest.sh - assemble a small QEMU guest (kernel + initramfs + root image)
# from Debian packages only.  Nothing is installed on the host: packages are
# downloaded with a private apt configuration and unpacked with dpkg-deb.
#
#   ./build-guest.sh [-f]          (-f: rebuild even if out/ is up to date)
#
# Result, in $OUT (default ./target/guest):
#   vmlinuz         guest kernel; vmlinux: the same, uncompressed (ELF)
#   initramfs.img   busybox + kernel modules + init   (uncompressed cpio)
#   rootfs.img      read-only ext4 root: fio, nbd-client, qemu-storage-daemon,
#                   vdpa, e2fsprogs, bash, coreutils, ...
#   qemu/           QEMU (system emulator + storage daemon) from $QEMU_SUITE
#   manifest.txt    every package used, with version and SHA-256
#
# Settings (environment):
#   KERNEL_SUITE    suite of the guest kernel           [bookworm-backports]
#   KERNEL_FLAVOUR  amd64 | cloud-amd64                 [amd64]
#   QEMU_SUITE      suite of QEMU, or "host" for none   [bookworm-backports]
#   GUEST_PACKAGES  Debian packages put in the root image
#   GUEST_MODULES   kernel modules put in the initramfs
#   MIRROR          Debian mirror                       [the one apt uses on this host]
#   OUT, CACHE      output and download directories     [./target/guest ./target/cache]
#
# Needs on the host: apt-get, dpkg-deb, tar, xz, mke2fs.  No root needed except
# that mke2fs -d then records the files as root's.

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

OUT=${OUT:-$here/target/guest}
CACHE=${CACHE:-$here/target/cache}
MIRROR=${MIRROR:-$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | sort | uniq -c | sort -rn | awk 'NR==1 {sub("/debian(-security)?/*$","",$2); print $2}')}
SUITE=${SUITE:-bookworm}
KERNEL_SUITE=${KERNEL_SUITE:-$SUITE-backports}
KERNEL_FLAVOUR=${KERNEL_FLAVOUR:-amd64}
QEMU_SUITE=${QEMU_SUITE:-$SUITE-backports}
GUEST_PACKAGES=${GUEST_PACKAGES:-"bash coreutils diffutils findutils util-linux mount grep sed gawk procps
  kmod iproute2 e2fsprogs fio nbd-client libnbd-bin qemu-utils/$SUITE-backports"}
# Kernel modules, with whatever they depend on.
GUEST_MODULES=${GUEST_MODULES:-"virtio_blk virtio_scsi sd_mod ext4 overlay
  vdpa vduse virtio_vdpa vhost_vdpa nbd virtio_net fuse loop
  9p 9pnet_virtio virtiofs vmw_vsock_virtio_transport vsock_loopback
  ublk_drv"}
KEYRING=${KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}
ROOTFS_SPARE_MB=${ROOTFS_SPARE_MB:-16}

log() { printf '[build-guest] %s\n' "$*" >&2; }
die() { log "error: $*"; exit 1; }

force=no
[ "${1:-}" = -f ] && force=yes

for tool in apt-get apt-cache dpkg-deb tar xz mke2fs sha256sum; do
    command -v "$tool" >/dev/null || die "$tool not found"
done
[ -r "$KEYRING" ] || die "no Debian archive keyring at $KEYRING"

stamp=$({ cat "${BASH_SOURCE[0]}" "$here/init"
          echo "$KERNEL_SUITE $KERNEL_FLAVOUR $QEMU_SUITE $GUEST_PACKAGES $GUEST_MODULES $MIRROR"; } | sha256sum)
if [ $force = no ] && [ -f "$OUT/.stamp" ] && [ "$(cat "$OUT/.stamp")" = "$stamp" ]; then
    log "$OUT is up to date (use -f to rebuild)"
    exit 0
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/build-guest.XXXXXX")
trap 'rm -rf "$work"' EXIT
rm -rf "$OUT"
mkdir -p "$OUT" "$CACHE/debs/partial"
start=$SECONDS

# ---------------------------------------------------------------- private apt
# Its own sources, lists and (empty) dpkg status, so that the answer does not
# depend on what the host has installed or enabled.
apt=$CACHE/apt
mkdir -p "$apt"/{etc/apt.conf.d,etc/preferences.d,etc/trusted.gpg.d,lists/partial,cache}
: > "$apt/status"
cat > "$apt/etc/sources.list" <<EOF
deb [signed-by=$KEYRING] $MIRROR/debian $SUITE main
deb [signed-by=$KEYRING] $MIRROR/debian $SUITE-updates main
deb [signed-by=$KEYRING] $MIRROR/debian-security $SUITE-security main
deb [signed-by=$KEYRING] $MIRROR/debian $SUITE-backports main
EOF
apt_opts=(-qq
    -o Dir::Etc="$apt/etc" -o Dir::Etc::sourcelist="$apt/etc/sources.list"
    -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State="$apt" -o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status"
    -o Dir::Cache="$apt/cache" -o Dir::Cache::archives="$CACHE/debs"
    -o APT::Architecture=amd64 -o APT::Architectures::=amd64
    -o APT::Install-Recommends=false -o APT::Sandbox::User=root
    -o Debug::NoLocking=true -o Acquire::Retries=3)
log "apt-get update (private configuration)"
apt-get "${apt_opts[@]}" update

# fetch SUITE PACKAGE...: download into $CACHE/debs the packages and everything
# they depend on; list the files in $fetched.
fetch_closure() {
    local suite=$1 list=$work/closure; shift
    # Against an empty archive directory: apt prints only what it would download.
    mkdir -p "$work/empty/partial"
    apt-get "${apt_opts[@]}" -o Dir::Cache::archives="$work/empty" -t "$suite" \
        install --print-uris -y "$@" > "$list"
    apt-get "${apt_opts[@]}" -t "$suite" install --download-only -y "$@" >&2
    fetched=()
    while read -r _ file _; do fetched+=("$CACHE/debs/$file"); done < "$list"
}
# fetch_only SUITE PACKAGE...: the packages alone.
fetch_only() {
    local suite=$1 p uri file; shift
    fetched=()
    for p in "$@"; do
        read -r uri file _ < <(apt-get "${apt_opts[@]}" -t "$suite" download --print-uris "$p")
        [ -n "$file" ] || die "package $p not found in $suite"
        [ -s "$CACHE/debs/$file" ] || (cd "$CACHE/debs" && apt-get "${apt_opts[@]}" -t "$suite" download "$p" >&2)
        fetched+=("$CACHE/debs/$file")
    done
}
unpack() {   # unpack DIR DEB...
    local dir=$1 deb; shift
    for deb in "$@"; do
        dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$dir" --keep-directory-symlink --no-same-owner
        printf '%s %s\n' "$(dpkg-deb -W --showformat='${Package} ${Version}' "$deb")" \
            "$(sha256sum "$deb" | cut -d' ' -f1)" >> "$work/manifest"
    done
}

# --------------------------------------------------------------------- kernel
meta=linux-image-$KERNEL_FLAVOUR
meta_version=$(apt-cache "${apt_opts[@]}" -t "$KERNEL_SUITE" policy "$meta" | awk '/Candidate:/ {print $2}')
kernel_pkg=$(apt-cache "${apt_opts[@]}" show "$meta=$meta_version" | sed -n 's/^Depends: \([^ ,]*\).*/\1/p')
[ -n "$kernel_pkg" ] || die "cannot find linux-image-$KERNEL_FLAVOUR in $KERNEL_SUITE"
log "kernel package $kernel_pkg"
fetch_only "$KERNEL_SUITE" "$kernel_pkg"
mkdir "$work/kernel"
unpack "$work/kernel" "${fetched[@]}"
kver=${kernel_pkg#linux-image-}
cp "$work/kernel/boot/vmlinuz-$kver" "$OUT/vmlinuz"
cp "$work/kernel/boot/config-$kver" "$OUT/config"
# The ELF kernel inside the zstd-compressed image: QEMU boots it directly (PVH),
# which saves decompressing it under emulation.  Optional.
if command -v zstd >/dev/null; then
    for off in $(LC_ALL=C grep -abo $'\x28\xb5\x2f\xfd' "$OUT/vmlinuz" | cut -d: -f1); do
        tail -c "+$((off + 1))" "$OUT/vmlinuz" | zstd -dcq 2>/dev/null > "$work/vmlinux" || true
        if [ "$(head -c 4 "$work/vmlinux" | od -An -tx1 | tr -d ' ')" = 7f454c46 ]; then
            mv "$work/vmlinux" "$OUT/vmlinux"; break
        fi
    done
fi
[ -f "$OUT/vmlinux" ] || log "no ELF kernel extracted; the guest will boot the compressed one"
modtree=$work/kernel/lib/modules/$kver
[ -d "$modtree" ] || { mkdir -p "$work/kernel/lib/modules"; mv "$work/kernel/usr/lib/modules/$kver" "$modtree"; }

# ------------------------------------------------------------------ initramfs
fetch_only "$SUITE" busybox-static kmod
mkdir "$work/tools"
unpack "$work/tools" "${fetched[@]}"
busybox=$work/tools/bin/busybox
for t in depmod modprobe; do ln -s kmod "$work/tools/bin/$t"; done

log "module dependencies"
"$work/tools/bin/depmod" -b "$work/kernel" "$kver"
ir=$work/initramfs
mkdir -p "$ir"/{bin,dev,proc,sys,newroot,lib/modules/"$kver"}
cp "$busybox" "$ir/bin/busybox"
cp "$here/init" "$ir/init"
chmod 755 "$ir/init"
missing=
: > "$work/deps"
for m in $GUEST_MODULES; do
    "$work/tools/bin/modprobe" -d "$work/kernel" -S "$kver" --show-depends "$m" >> "$work/deps" 2>/dev/null \
        || missing="$missing $m"
done
awk '$1 == "insmod" {print $2}' "$work/deps" | sort -u > "$work/modules"
while read -r ko; do
    rel=${ko#"$modtree"/}
    mkdir -p "$ir/lib/modules/$kver/$(dirname "$rel")"
    case $ko in     # decompressed here: xz is slow under emulation
        *.ko.xz) xz -dc "$ko" > "$ir/lib/modules/$kver/${rel%.xz}" ;;
        *)       cp "$ko" "$ir/lib/modules/$kver/$rel" ;;
    esac
done < "$work/modules"
cp "$modtree"/modules.{builtin,builtin.modinfo,order} "$ir/lib/modules/$kver/"
"$work/tools/bin/depmod" -b "$ir" "$kver"
(cd "$ir" && find . -mindepth 1 | LC_ALL=C sort | "$busybox" cpio -o -H newc -R 0:0) > "$OUT/initramfs.img" 2>/dev/null
cp "$busybox" "$OUT/busybox"

# ---------------------------------------------------------------- root image
log "root image packages"
# shellcheck disable=SC2086
fetch_closure "$SUITE" $GUEST_PACKAGES
rootfs=$work/rootfs
mkdir -p "$rootfs"/usr/{bin,sbin,lib,lib32,lib64,libx32}
for d in bin sbin lib lib32 lib64 libx32; do ln -s "usr/$d" "$rootfs/$d"; done
unpack "$rootfs" "${fetched[@]}"
mkdir -p "$rootfs"/{proc,sys,dev,run,tmp,mnt,root,etc,var,srv,host,lib/modules}
rm -rf "$rootfs"/usr/share/{doc,man,locale,info,lintian,bash-completion,zoneinfo} "$rootfs"/var/{lib/dpkg,cache}
cp -a "$ir/lib/modules/$kver" "$rootfs/usr/lib/modules/"
cp "$busybox" "$rootfs/usr/bin/busybox"
ln -sf bash "$rootfs/usr/bin/sh"
[ -e "$rootfs/usr/bin/awk" ] || ln -s gawk "$rootfs/usr/bin/awk"
echo 'root:x:0:0:root:/root:/bin/bash' > "$rootfs/etc/passwd"
echo 'root:x:0:' > "$rootfs/etc/group"
echo '127.0.0.1 localhost' > "$rootfs/etc/hosts"
echo guest > "$rootfs/etc/hostname"
# ld.so.cache: what ldconfig would do at install time (ceph keeps libraries in
# a subdirectory, but finds them by RUNPATH).
ldconfig -r "$rootfs" 2>/dev/null || log "warning: no ldconfig, guest programs will start slower"
size=$(( $(du -sm --apparent-size "$rootfs" | cut -f1) * 11 / 10 + ROOTFS_SPARE_MB ))
mke2fs -q -t ext4 -O ^has_journal -m 0 -L guestroot -U 00000000-0000-0000-0000-000000000001 \
    -E root_owner=0:0,hash_seed=00000000-0000-0000-0000-000000000002 -d "$rootfs" "$OUT/rootfs.img" "${size}M"

# ----------------------------------------------------------------------- QEMU
if [ "$QEMU_SUITE" != host ]; then
    log "QEMU from $QEMU_SUITE"
    fetch_only "$QEMU_SUITE" qemu-system-x86 qemu-system-common qemu-system-data qemu-utils seabios
    mkdir "$OUT/qemu"
    unpack "$OUT/qemu" "${fetched[@]}"
    rm -rf "$OUT/qemu"/usr/share/{doc,man,locale,icons,applications}
    lacking=$(ldd "$OUT/qemu/usr/bin/qemu-system-x86_64" | awk '/not found/ {print $1}')
    # shellcheck disable=SC2086
    [ -z "$lacking" ] || log "warning: QEMU needs libraries this host lacks (apt-get install qemu-system-x86 brings them):" $lacking
fi

{ echo "# built by build-guest.sh; kernel $kver"; sort -u "$work/manifest"; } > "$OUT/manifest.txt"
[ -z "$missing" ] || log "not in this kernel as modules:$missing"
log "modules: $(wc -l < "$work/modules"); sizes: $(cd "$OUT" && du -h vmlinuz initramfs.img rootfs.img | tr '\t\n' ' ;')"
log "done in $((SECONDS - start)) s"
echo "$stamp" > "$OUT/.stamp"
