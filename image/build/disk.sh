# The whole disk of a box: GPT with loader, slot a holding the release, slot b empty, data partition.
# Sourced by scripts/image.
set -euo pipefail

# Builds disk.raw of the release in the folder $1.
build_disk() {
    local out=$1 work=$1/.work
    rm -rf "$work"
    mkdir -p "$work"
    stage_begin
    efi_partition "$work/esp" "$out/uki.efi"
    cp --reflink=auto "$out/root.img" "$out/verity.img" "$work"
    cp -r "$IMAGE/partitions" "$work/partitions"
    # The seed makes the identifiers of partitions and file systems; it belongs to the version. mke2fs draws the seed of
    # its directory hashes unless it is told one.
    in_tools "$work" env SYSTEMD_REPART_MKFS_OPTIONS_EXT4="-E hash_seed=$(uuid_of "data $VERSION")" \
        systemd-repart --offline=yes --empty=create --size=auto --dry-run=no --no-pager --json=off --root=/work \
        --definitions=/work/partitions --seed="$(uuid_of "disk $VERSION")" /work/disk.raw >"$work/repart.log" 2>&1 ||
        die "systemd-repart failed: $(tail -n 3 "$work/repart.log")"
    mv -f "$work/disk.raw" "$out/disk.raw"
    rm -rf "$work"
    stage_done "disk $VERSION" "$(size_of "$out/disk.raw"), of it written $(du -h "$out/disk.raw" | cut -f1)"
}

# Lays out the EFI system partition in $1 with the boot image $2. The first release needs no counter: there is nothing
# to fall back to.
efi_partition() {
    local loader=$TOOLS/usr/lib/systemd/boot/efi/systemd-bootx64.efi
    install -D -m 644 "$loader" "$1/EFI/BOOT/BOOTX64.EFI"
    install -D -m 644 "$loader" "$1/EFI/systemd/systemd-bootx64.efi"
    install -D -m 644 "$2" "$1/EFI/Linux/evenkeel_$VERSION.efi"
    install -D -m 644 "$IMAGE/loader.conf" "$1/loader/loader.conf"
    find "$1" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
}
