# What makes a release: root image, verity tree and unified kernel image, from the cached parts and our own programs.
# The same inputs give the same bytes: times, identifiers, salt and order are all fixed. Sourced by scripts/image.
set -euo pipefail

# Parameters of every kernel command line. The last console is the one that services write to, as plain text; a panic
# restarts after 5 s, for boot counting needs restarts and not halts; security modules are named so that those without a
# policy here stay off; the timer is not probed, for in an emulated machine on a busy host the probe can miss its ticks.
readonly KERNEL_PARAMETERS='console=tty0 console=ttyS0,115200 TERM=dumb panic=5 loglevel=4 no_timer_check
    lsm=lockdown,capability,landlock,yama,bpf'

# Builds release $VERSION into the folder $1: root.img, verity.img, uki.efi, root-hash.
build_release() {
    local out=$1 work=$1/.work
    rm -rf "$work"
    mkdir -p "$work/root"
    stage_begin
    root_image "$work"
    stage_done "root image $VERSION" "$(size_of "$work/root.img")"
    stage_begin
    verity_tree "$work"
    stage_done "verity tree $VERSION" "$(size_of "$work/verity.img"), root hash $(cut -c1-16 "$work/root-hash")…"
    stage_begin
    initrd "$work"
    kernel_image "$work"
    stage_done "kernel image $VERSION" "$(size_of "$work/uki.efi"), of it initrd $(size_of "$work/initrd.cpio.zst")"
    chmod 644 "$work"/{root.img,verity.img,uki.efi,root-hash}
    mv -f "$work"/{root.img,verity.img,uki.efi,root-hash} "$out"
    rm -rf "$work"
}

# The cached root with what this release is laid over it: programs, trusted root, name. Appended to the image, so that all
# else stays where it is: a box that has one release needs only the appended part of the next.
root_image() {
    mkdir -p "$1/root/usr/bin" "$1/root/usr/lib" "$1/root/usr/share/evenkeel"
    install -m 755 "$PROXY" "$1/root/usr/bin/evenkeel-proxy"
    install -m 755 "$BIN_DIR/evenkeel-agent" "$BIN_DIR/evenkeel" "$1/root/usr/bin"
    if [ -n "$TRUSTED_ROOT" ]; then
        install -m 644 "$TRUSTED_ROOT" "$1/root/usr/share/evenkeel/root.json"
    fi
    os_release >"$1/root/usr/lib/os-release"
    chmod -R u=rwX,go=rX "$1/root"
    pack "$1/root" . --owner=0 --group=0 >"$1/release.tar"
    cp "$ROOT_IMAGE" "$1/root.img"
    in_tools "$1" mkfs.erofs "${EROFS[@]}" -U "$(uuid_of root)" --incremental=data --tar=f root.img release.tar
    # dm-verity hashes whole blocks.
    truncate -s %4096 "$1/root.img"
}

# The name of the release as os-release(5); systemd-boot sorts boot entries by it.
os_release() {
    cat <<EOF
ID=evenkeel
ID_LIKE=debian
NAME=Evenkeel
PRETTY_NAME="Evenkeel $VERSION"
VERSION_ID=$VERSION
IMAGE_ID=evenkeel
IMAGE_VERSION=$VERSION
EOF
}

verity_tree() {
    local salt
    salt=$(printf 'evenkeel %s' "$VERSION" | sha256sum | cut -c1-64)
    rm -f "$1/verity.img"
    in_tools "$1" veritysetup format --salt "$salt" --uuid "$(uuid_of "verity $VERSION")" --root-hash-file root-hash \
        root.img verity.img >/dev/null
}

# init and its modules as a cpio archive; the folders that init mounts on, it makes itself.
initrd() {
    mkdir -p "$1/initrd"
    install -m 755 "$INIT" "$1/initrd/init"
    cp -r "$KERNEL/initrd" "$1/initrd/modules"
    find "$1/initrd" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    # shellcheck disable=SC2016 # the inner shell of the chroot expands its own arguments
    in_tools "$1" sh -euc 'cd initrd; find . -mindepth 1 | LC_ALL=C sort |
            cpio --quiet --create --format=newc --reproducible --owner=0:0 |
            zstd --quiet -12 --threads=1 >../initrd.cpio.zst'
}

kernel_image() {
    os_release >"$1/os-release"
    # shellcheck disable=SC2086 # the parameters are words
    echo $KERNEL_PARAMETERS "evenkeel.version=$VERSION" "evenkeel.root_hash=$(cat "$1/root-hash")" >"$1/cmdline"
    cp "$KERNEL/vmlinuz" "$1/vmlinuz"
    in_tools "$1" ukify build --linux=vmlinuz --initrd=initrd.cpio.zst --cmdline=@cmdline --os-release=@os-release \
        --uname="$(cat "$KERNEL/release")" --output=uki.efi >/dev/null 2>&1 ||
        die "ukify could not build the kernel image; run it by hand in $TOOLS to see why"
}

size_of() {
    numfmt --to=iec-i --suffix=B --format=%.1f "$(stat -c %s "$1")"
}
