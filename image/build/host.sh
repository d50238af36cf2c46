# What the build asks of the machine it runs on: packages, the Debian archive it already uses, a cache and its lock. To
# be sourced after scripts/lib/install.sh. Leaves the image itself to the other files of this folder.
set -euo pipefail

# The Debian release of the image and of the tools that build it, whatever release the host runs.
readonly SUITE=trixie

# Every file of the image carries this time (2026-01-01T00:00:00Z). It is constant rather than the time of the commit,
# so that what did not change between two releases has the same bytes in both and need not be sent again.
export SOURCE_DATE_EPOCH=1767225600

STAGE_STARTED=0

# Begins a stage, for the line that `stage_done` prints.
stage_begin() {
    STAGE_STARTED=$(date +%s%N)
}

# Prints a stage's name, what it made, and how long it took.
stage_done() {
    local took=$((($(date +%s%N) - STAGE_STARTED) / 1000000))
    printf 'image: %-22s %4d.%03d s  %s\n' "$1" $((took / 1000)) $((took % 1000)) "${2:-}"
}

# Installs the host's few packages where they are missing, and newer archive keys where those of the image are.
host_packages() {
    need_packages mmdebstrap mount util-linux xz-utils debian-archive-keyring
    [ -e "/usr/share/keyrings/debian-archive-$SUITE-stable.gpg" ] && return
    as_root apt-get update -q=2
    as_root apt-get install -q=2 -y --only-upgrade debian-archive-keyring >/dev/null
}

# Where the host's own apt finds the archive that is labelled $1 (`Debian` or `Debian-Security`).
host_archive() {
    # shellcheck disable=SC2016 # apt-get expands these
    local query='$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)'
    apt-get indextargets --format "$query" | awk -F'|' -v label="$1" \
        '$1 == "Debian" && $2 == label && $3 == "main" { print $4; exit }'
}

# Sets MIRRORS: the sources of the image's packages, one apt line each.
find_mirrors() {
    local main=${EVENKEEL_MIRROR:-} security=${EVENKEEL_SECURITY_MIRROR:-}
    if [ -z "$main" ]; then
        main=$(host_archive Debian)
        [ -n "$main" ] || { apt-get update -qq; main=$(host_archive Debian); }
        security=${security:-$(host_archive Debian-Security)}
    fi
    [ -n "$main" ] || die "apt on this host knows no Debian archive; name one: EVENKEEL_MIRROR=URL scripts/image …"
    MIRRORS="deb $main $SUITE main"
    if [ -n "$security" ] && [ "$security" != none ]; then
        MIRRORS+=$'\n'"deb $security $SUITE-security main"
    fi
}

# Makes a Debian tree with the packages of the list file $3 as $2 (a folder or a tar file), of mmdebstrap's variant $1.
# Further arguments go to mmdebstrap.
debian_tree() {
    local variant=$1 target=$2 list=$3 include proxy=''
    shift 3
    include=$(grep -v '^#' "$list" | paste -sd,)
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    printf '%s\n' "$MIRRORS" | mmdebstrap --quiet --mode=root --variant="$variant" --include="$include" \
        --architectures=amd64 ${proxy:+--aptopt="Acquire::http::Proxy \"$proxy\""} \
        --aptopt='APT::Install-Recommends "false"' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        "$@" "$SUITE" "$target" -
}

# Writes the part $2 of the folder $1 to standard output as a tar with a fixed order and time; further arguments go to
# tar.
pack() {
    local folder=$1 part=$2
    shift 2
    tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --numeric-owner "$@" -cf - -C "$folder" "$part"
}

# A UUID that belongs to the text $1: the first 128 bits of its SHA-256 in the form of version 8 (RFC 9562 §5.8).
uuid_of() {
    local hex
    hex=$(printf 'evenkeel %s' "$1" | sha256sum | cut -c1-32)
    printf '%s-%s-8%s-a%s-%s\n' "${hex:0:8}" "${hex:8:4}" "${hex:13:3}" "${hex:17:3}" "${hex:20:12}"
}

# The first 16 digits of the SHA-256 over the given files and the text in $RECIPE: what a cached result was made from.
recipe_key() {
    { printf '%s' "${RECIPE:-}"; cat "$@"; } | sha256sum | cut -c1-16
}

# Runs `$2 TEMPORARY` to make $CACHE/$1 unless it is there, one process at a time; the result appears whole or not at
# all.
cached() {
    local name=$1 make=$2 path=$CACHE/$1
    [ -e "$path" ] && return
    exec {lock}>"$CACHE/.$name.lock"
    flock "$lock"
    if [ ! -e "$path" ]; then
        rm -rf "$path".partial*
        stage_begin
        "$make" "$path.partial"
        mv "$path.partial" "$path"
        stage_done "${name%%-*} (cached)" "$(du -sh "$path" | cut -f1)"
    fi
    exec {lock}>&-
}
