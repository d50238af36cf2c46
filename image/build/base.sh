# The root as Debian's packages make it, and the box's root made of it: pruned, with our files, units and modules, as an
# erofs image. Both are the same in every release built from them and are cached. Sourced by scripts/image.
set -euo pipefail

# Sets BASE_TAR: the root's packages, unpacked and configured.
prepare_base() {
    BASE_TAR=$CACHE/base-$(RECIPE=$SUITE recipe_key "$IMAGE/root.packages").tar
    cached "${BASE_TAR##*/}" make_base
}

make_base() {
    debian_tree essential "$1.tar" "$IMAGE/root.packages"
    mv "$1.tar" "$1"
}

# Options of every erofs image. zstd makes it a third smaller than lz4 at the same CPU time of a boot.
EROFS=(--quiet "-zzstd,3" -C65536 -T "$SOURCE_DATE_EPOCH")

# Sets ROOT_IMAGE: everything of a release's root but what names the release and our own programs.
prepare_root() {
    local key
    prepare_base
    key=$(RECIPE="$(basename "$BASE_TAR") $(basename "$KERNEL") $(overlay_digest)" recipe_key \
        "$IMAGE/root.prune" "$IMAGE/root.mask" "$IMAGE/build/base.sh")
    ROOT_IMAGE=$CACHE/root-$key.img
    cached "${ROOT_IMAGE##*/}" make_root
}

# A digest of all names, modes and contents of files below image/root.
overlay_digest() {
    (cd "$IMAGE/root" && find . -type f -printf '%p %m\n' -exec sha256sum {} \; | sort | sha256sum)
}

make_root() {
    local root=$1.d/root
    mkdir -p "$root"
    tar -xf "$BASE_TAR" -C "$root"
    record_packages "$root"
    prune "$root"
    tar -xf "$KERNEL/modules.tar" -C "$root"
    cp -r --no-preserve=all "$IMAGE/root/." "$root"
    mkdir -p "$root/efi" "$root/var"
    in_tools "$1.d" systemd-sysusers --root=/work/root 2>/dev/null
    rm -f "$root"/etc/*- "$root/etc/.pwd.lock"
    : >"$root/etc/machine-id"
    enable_units "$root"
    mask_units "$root"
    grep -qx ID=debian "$root/usr/lib/os-release" || die 'the base root has no usr/lib/os-release to be replaced'
    in_tools "$1.d" mkfs.erofs "${EROFS[@]}" -U "$(uuid_of root)" root.img root
    mv "$1.d/root.img" "$1"
    rm -rf "$1.d"
}

# Leaves the list of packages in the root, for whoever asks what a release contains.
record_packages() {
    mkdir -p "$1/usr/share/evenkeel"
    awk -F': ' '$1 == "Package" { name = $2 } $1 == "Version" { print name " " $2 }' "$1/var/lib/dpkg/status" \
        >"$1/usr/share/evenkeel/packages.txt"
}

# Removes what root.prune lists.
prune() {
    local root=$1 pattern matches stale=''
    while read -r pattern; do
        # shellcheck disable=SC2086 # the pattern is to be expanded
        mapfile -t matches < <(cd "$root" && compgen -G "$pattern")
        if [ "${#matches[@]}" -gt 0 ]; then
            (cd "$root" && rm -rf "${matches[@]}")
        else
            stale+=" $pattern"
        fi
    done < <(grep -v '^#' "$IMAGE/root.prune")
    [ -z "$stale" ] || die "image/root.prune: lines that match nothing in the base root; remove them:$stale"
}

# Links the units that start at boot: ours by their [Install] sections, Debian's by name.
enable_units() {
    local systemctl=(in_tools "$(dirname "$1")" systemctl --root=/work/root --quiet)
    "${systemctl[@]}" enable systemd-networkd.service systemd-resolved.service systemd-timesyncd.service
    "${systemctl[@]}" enable evenkeel-{provision,proxy,agent,gate}.service evenkeel-trial.timer
    "${systemctl[@]}" add-wants multi-user.target boot-complete.target
    "${systemctl[@]}" set-default multi-user.target
}

# Links what root.mask lists to /dev/null.
mask_units() {
    local root=$1 name
    mkdir -p "$root/etc/systemd/system-generators"
    while read -r name; do
        case $name in
            generators/*) ln -sfn /dev/null "$root/etc/systemd/system-generators/${name#generators/}" ;;
            *) ln -sfn /dev/null "$root/etc/systemd/system/$name" ;;
        esac
    done < <(grep -v '^#' "$IMAGE/root.mask")
}
