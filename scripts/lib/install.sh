# Brings what a script needs onto a Debian 12 or 13: packages by apt, the Rust toolchain by rustup. To be sourced.
#
# Owns: who may install (root, or sudo), which toolchain (rust-toolchain.toml says it), and the sentence that tells
# what to do when something cannot be had. Leaves to the caller: which packages. Nothing is touched that is there.
set -euo pipefail

# Says on standard error what is wrong and how to mend it, and leaves.
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# Runs a command as root: directly, or by sudo.
as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "\`$*\` needs root, and there is no sudo; run this script as root, or install sudo"
    fi
}

have_package() {
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# Installs the named Debian packages that are not there yet; asks apt nothing when none is missing.
need_packages() {
    local package missing=()
    for package in "$@"; do
        have_package "$package" || missing+=("$package")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    command -v apt-get >/dev/null ||
        die "${missing[*]} missing and no apt-get here; install them by hand (Debian 12 and 13 are supported)"
    echo "installing ${missing[*]}"
    as_root apt-get update -q=2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q=2 -y --no-install-recommends "${missing[@]}" \
        >/dev/null
}

# The values of a key of rust-toolchain.toml, one a line.
toolchain_file() {
    sed -n "s/^$1 *= *//p" "$(dirname "${BASH_SOURCE[0]}")/../../rust-toolchain.toml" | tr -d '[]" ' | tr ',' '\n'
}

# Installs rustup itself: Debian's package where there is one, else the installer of the Rust project.
need_rustup() {
    PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    command -v rustup >/dev/null && return 0
    as_root apt-get update -q=2
    if [[ $(apt-cache policy rustup) == *"Candidate: "[0-9]* ]]; then
        need_packages rustup
        return 0
    fi
    need_packages ca-certificates curl
    local installer
    installer=$(mktemp -d)/rustup-init # It is a proxy for other tools under any other name.
    download_rustup "$installer" && "$installer" -y -q --profile minimal --default-toolchain none --no-modify-path ||
        die "no Rust toolchain, no rustup package in this Debian, and the installer cannot be had (see above);" \
            "install Rust $(toolchain_file channel) by hand and start again"
    rm -r "$(dirname "$installer")"
}

# Fetches the installer of the Rust project to the file `$1`, and checks its digest.
download_rustup() {
    local url digest
    url=https://static.rust-lang.org/rustup/dist/$(uname -m)-unknown-linux-gnu/rustup-init
    digest=$(fetch "$url.sha256" | cut -d ' ' -f 1) && fetch "$url" >"$1" &&
        sha256sum --check --quiet - <<<"$digest  $1" && chmod +x "$1"
}

fetch() { curl --proto '=https' --tlsv1.2 -sSf --max-time 120 "$1"; }

# Makes the toolchain of rust-toolchain.toml the one that `cargo` runs, with its components and targets.
need_rust() {
    need_packages build-essential ca-certificates git
    local channel
    channel=$(toolchain_file channel)
    PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    if ! command -v rustup >/dev/null && [[ $(cargo --version 2>/dev/null) == "cargo $channel "* ]]; then
        return 0 # Installed without rustup; a missing target shows in the stage that needs it.
    fi
    need_rustup
    rust_is_complete "$channel" || install_rust "$channel"
}

# Whether rustup has the toolchain `$1` with every component and target of rust-toolchain.toml.
rust_is_complete() {
    local wanted targets components
    rustup run "$1" cargo --version >/dev/null 2>&1 || return 1
    targets=$(rustup target list --installed --toolchain "$1") || return 1
    components=$(rustup component list --installed --toolchain "$1") || return 1
    for wanted in $(toolchain_file targets); do
        [[ $'\n'$targets$'\n' == *$'\n'"$wanted"$'\n'* ]] || return 1
    done
    for wanted in $(toolchain_file components); do
        [[ $'\n'$components == *$'\n'"$wanted"* ]] || return 1
    done
}

install_rust() {
    local components targets
    mapfile -t components < <(toolchain_file components | sed 's/^/--component=/')
    mapfile -t targets < <(toolchain_file targets | sed 's/^/--target=/')
    echo "installing Rust $1"
    rustup toolchain install "$1" --profile minimal "${components[@]}" "${targets[@]}" ||
        die "rustup could not install Rust $1 (see above); is the network reachable?"
}
