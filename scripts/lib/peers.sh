# Brings the peers that Evenkeel is measured against, HAProxy and nginx, and says which ones. To be sourced after
# lib/install.sh.
#
# Owns: the choice. What EVENKEEL_HAPROXY and EVENKEEL_NGINX name is taken; else the newest that Debian has: the host's
# own packages on a Debian 13, and on an older one those of Debian 13, unpacked into a folder of the cache and run by
# their own loader with their own libraries. Leaves no service behind.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../../image/build/host.sh"

# Sets and exports EVENKEEL_HAPROXY, EVENKEEL_NGINX and, where it is needed, EVENKEEL_NGINX_MODULES.
need_peers() {
    if [[ -z ${EVENKEEL_HAPROXY:-} || -z ${EVENKEEL_NGINX:-} ]]; then
        if [[ $(. /etc/os-release && echo "${VERSION_CODENAME:-}") == "$SUITE" ]]; then
            need_host_peers
        else
            need_peer_tree
        fi
    fi
    export EVENKEEL_HAPROXY EVENKEEL_NGINX
}

# The host's packages, without the services: Debian starts what it installs, on port 80 at that.
need_host_peers() {
    local package new=()
    for package in haproxy nginx; do
        have_package "$package" || new+=("$package")
    done
    need_packages haproxy nginx libnginx-mod-stream
    if [[ ${#new[@]} -gt 0 && -d /run/systemd/system ]]; then
        as_root systemctl disable --quiet --now "${new[@]}"
    fi
    EVENKEEL_HAPROXY=${EVENKEEL_HAPROXY:-/usr/sbin/haproxy}
    EVENKEEL_NGINX=${EVENKEEL_NGINX:-/usr/sbin/nginx}
}

# The packages of Debian 13 in a folder, and a script beside each program that runs it there.
need_peer_tree() {
    local cache=${EVENKEEL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/evenkeel} tree
    tree=$cache/peers-$SUITE
    mkdir -p "$cache"
    if [[ ! -e $tree/evenkeel-nginx ]]; then
        make_peer_tree "$tree"
    fi
    EVENKEEL_HAPROXY=${EVENKEEL_HAPROXY:-$tree/evenkeel-haproxy}
    if [[ -z ${EVENKEEL_NGINX:-} ]]; then
        EVENKEEL_NGINX=$tree/evenkeel-nginx
        export EVENKEEL_NGINX_MODULES=$tree/usr/lib/nginx/modules
    fi
}

make_peer_tree() {
    local tree=$1 partial=$1.partial proxy='' program
    need_packages mmdebstrap debian-archive-keyring
    find_mirrors
    echo "unpacking HAProxy and nginx of Debian $SUITE"
    as_root rm -rf "$tree" "$partial"
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    printf '%s\n' "$MIRRORS" | as_root mmdebstrap --quiet --mode=root --variant=extract --format=directory \
        --include=haproxy,nginx,libnginx-mod-stream ${proxy:+--aptopt="Acquire::http::Proxy \"$proxy\""} \
        --aptopt='APT::Install-Recommends "false"' "$SUITE" "$partial" -
    for program in haproxy nginx; do
        printf '#!/bin/sh\nexec %q --library-path %q %q "$@"\n' "$tree/usr/lib64/ld-linux-x86-64.so.2" \
            "$tree/usr/lib/x86_64-linux-gnu" "$tree/usr/sbin/$program" |
            as_root tee "$partial/evenkeel-$program" >/dev/null
        as_root chmod 755 "$partial/evenkeel-$program"
    done
    as_root mv "$partial" "$tree"
}
