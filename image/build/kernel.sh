# The kernel and its modules: those that the root keeps, and those that the initrd loads. Sourced by scripts/image.
set -euo pipefail

# Sets KERNEL to a cached folder with `vmlinuz`, `release` (the kernel's version), `modules.tar` (for the root) and
# `initrd/` (modules, decompressed, and the order to load them in).
prepare_kernel() {
    local key
    prepare_kernel_package
    key=$(RECIPE=$(basename "$KERNEL_TAR") recipe_key \
        "$IMAGE/kernel.modules" "$IMAGE/initrd.modules" "$IMAGE/build/kernel.sh")
    KERNEL=$CACHE/modules-$key
    cached "${KERNEL##*/}" make_kernel
}

# The package is unpacked and never installed, so that neither its hooks nor an initramfs generator come along.
prepare_kernel_package() {
    KERNEL_TAR=$CACHE/kernel-$(RECIPE=$SUITE recipe_key "$IMAGE/kernel.packages").tar
    cached "${KERNEL_TAR##*/}" make_kernel_package
}

make_kernel_package() {
    debian_tree extract "$1.tar" "$IMAGE/kernel.packages"
    mkdir -p "$1.d"
    tar -xf "$1.tar" -C "$1.d" ./boot ./usr/lib/modules
    pack "$1.d" . --owner=0 --group=0 >"$1"
    rm -rf "$1.d" "$1.tar"
}

make_kernel() {
    local out=$1 release
    mkdir -p "$out/all" "$out/kept" "$out/initrd"
    # depmod and modprobe look below lib/.
    ln -s usr/lib "$out/all/lib"
    ln -s usr/lib "$out/kept/lib"
    tar -xf "$KERNEL_TAR" -C "$out/all"
    release=$(basename "$out"/all/usr/lib/modules/*)
    echo "$release" >"$out/release"
    cp "$out/all/boot/vmlinuz-$release" "$out/vmlinuz"
    in_tools "$out" depmod -b all "$release"
    keep_modules "$out" "$release"
    in_tools "$out" depmod -b kept "$release"
    initrd_modules "$out" "$release"
    # Beside the compiled indexes the text they were made from is not read again.
    find "$out/kept/usr/lib/modules/$release" -maxdepth 1 -type f \
        ! -name '*.bin' ! -name modules.softdep ! -name modules.builtin.modinfo -delete
    pack "$out/kept" usr --owner=0 --group=0 >"$out/modules.tar"
    rm -rf "$out/all" "$out/kept"
}

# Copies the modules that match kernel.modules, and whatever they depend on, from all/ to kept/.
keep_modules() {
    local from=$1/all/usr/lib/modules/$2 to=$1/kept/usr/lib/modules/$2
    mkdir -p "$to"
    cp "$from"/modules.builtin "$from"/modules.builtin.modinfo "$from"/modules.order "$to"
    awk -v list="$IMAGE/kernel.modules" '
        BEGIN {
            while ((getline pattern < list) > 0) if (pattern !~ /^(#|$)/) patterns[++count] = expression(pattern)
        }
        function expression(pattern) {
            gsub(/[.+]/, "\\\\&", pattern)
            gsub(/\*/, ".*", pattern)
            return "^kernel/" pattern "$"
        }
        {
            module = $1
            sub(/:$/, "", module)
            for (i = 1; i <= count; i++) {
                if (module ~ patterns[i]) { used[i] = 1; print module; for (j = 2; j <= NF; j++) print $j; break }
            }
        }
        END {
            for (i = 1; i <= count; i++) if (!used[i]) unused = unused " " patterns[i]
            if (unused != "") {
                print "image: image/kernel.modules: nothing that an earlier line left matches" unused > "/dev/stderr"
                exit 1
            }
        }' "$from/modules.dep" | sort -u >"$1/kept.list"
    (cd "$from" && xargs -a "$1/kept.list" cp --parents -t "$to")
    rm "$1/kept.list"
}

# Puts the modules of initrd.modules and what they depend on into initrd/, with the order in which they load.
initrd_modules() {
    local out=$1 release=$2 name path
    cp "$IMAGE/initrd.modules" "$out/initrd.list"
    # shellcheck disable=SC2016 # the inner shell of the chroot expands its own arguments
    in_tools "$out" sh -euc 'for name in $(grep -v "^#" initrd.list); do
            modprobe --set-version "$1" --dirname kept --show-depends "$name"; done' sh "$release" \
        >"$out/depends" || die 'a module of image/initrd.modules is not among those that image/kernel.modules keeps'
    awk '$1 == "insmod" && !seen[$2]++ { print $2 }' "$out/depends" | while read -r path; do
        name=$(basename "$path" .xz)
        xz -dc "$out/${path#/work/}" >"$out/initrd/$name"
        echo "$name" >>"$out/initrd/order"
    done
    rm -f "$out/depends" "$out/initrd.list"
}
