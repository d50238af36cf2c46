# The tools chroot: every program that turns packages into an image comes from the image's own Debian release, so that a
# Debian 12 and a Debian 13 host build the same bytes. Sourced by scripts/image.
set -euo pipefail

# Where the chroot is, or would be.
tools_folder() {
    echo "$CACHE/tools-$(RECIPE=$SUITE recipe_key "$IMAGE/tools.packages")"
}

# Sets TOOLS to the chroot's folder, made by mmdebstrap where it is not cached yet.
prepare_tools() {
    TOOLS=$(tools_folder)
    cached "${TOOLS##*/}" make_tools
}

make_tools() {
    debian_tree apt "$1" "$IMAGE/tools.packages"
}

# Runs a command in the chroot with the folder $1 at /work; the mounts live in a namespace of their own and end with it.
in_tools() {
    local work=$1
    shift
    mkdir -p "$TOOLS/work"
    # shellcheck disable=SC2016 # the inner shell expands its own arguments
    unshare --mount --propagation private bash -euc '
        tools=$1 work=$2
        shift 2
        for name in proc sys dev; do mount --rbind "/$name" "$tools/$name"; done
        mount -t tmpfs tmpfs "$tools/tmp"
        mount --bind "$work" "$tools/work"
        exec chroot "$tools" /usr/bin/env -i -C /work PATH=/usr/sbin:/usr/bin LANG=C.UTF-8 TMPDIR=/work \
            SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" "$@"' bash "$TOOLS" "$work" "$@"
}

# Runs a program of the chroot in place of this shell and without privileges, on the host's own files: by its own
# loader, with its own libraries.
exec_tool() {
    local program=$1
    shift
    exec "$TOOLS/lib64/ld-linux-x86-64.so.2" --library-path "$TOOLS/usr/lib/x86_64-linux-gnu" \
        "$TOOLS/usr/bin/$program" "$@"
}
