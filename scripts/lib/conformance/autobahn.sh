# Autobahn: WebSocket (RFC 6455) through each proxy, compared with the same server asked directly. To be sourced after
# image/build/host.sh.
#
# The suite needs Python 2, which Debian 11 was the last to have: it lives in a tree of that release. Its cases about
# performance (9) and compression (12, 13) say nothing about a proxy that passes bytes on.
set -euo pipefail

readonly autobahn_version=0.8.2 autobahn_port=9010

prepare_autobahn() {
    need_packages mmdebstrap mount util-linux debian-archive-keyring python3
    autobahn=$cache/autobahn-$autobahn_version
    export autobahn
    [[ ! -x $autobahn/usr/local/bin/wstest ]] || return 0
    local partial=$autobahn.partial main
    main=$(host_archive Debian)
    [[ -n $main ]] || die 'apt on this host knows no Debian archive; run `apt-get update` first'
    echo "making a Debian 11 with Autobahn's test suite $autobahn_version"
    as_root rm -rf "$partial" "$autobahn"
    local packages=python2,python2-dev,python-pip-whl,gcc,libc6-dev,libssl-dev,libffi-dev,ca-certificates
    echo "deb ${EVENKEEL_MIRROR:-$main} bullseye main" | as_root mmdebstrap --quiet --mode=root --variant=apt \
        --include=$packages --aptopt='APT::Install-Recommends "false"' bullseye "$partial" -
    install_autobahn "$partial" >"$cache/autobahn.log" 2>&1 ||
        { tail -n 20 "$cache/autobahn.log" >&2; die 'pip could not install the suite (see above)'; }
    as_root mv "$partial" "$autobahn"
}

# Installs the suite by the last pip that knows Python 2, with the host's name servers and certificates.
install_autobahn() {
    local tree=$1 pip=20.3.4
    as_root cp --dereference /etc/resolv.conf "$tree/etc/resolv.conf"
    as_root cp --dereference /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/ca-certificates.crt"
    [[ ! -e /etc/pip.conf ]] || as_root cp /etc/pip.conf "$tree/etc/pip.conf"
    in_tree "$tree" "$cache" python2 "/usr/share/python-wheels/pip-$pip-py2.py3-none-any.whl/pip" \
        install --no-input pip==$pip setuptools==44.1.1 wheel==0.37.1
    in_tree "$tree" "$cache" python2 -m pip install --no-input "autobahntestsuite==$autobahn_version"
}

# Runs a command in the tree $1 with the folder $2 at /mnt; the mounts end with it.
in_tree() {
    local tree=$1 folder=$2
    shift 2
    # shellcheck disable=SC2016 # the inner shell expands its own arguments
    as_root unshare --mount --propagation private bash -euc '
        tree=$1 folder=$2
        shift 2
        mount --rbind /dev "$tree/dev"
        mount --rbind /proc "$tree/proc"
        mount --bind "$folder" "$tree/mnt"
        exec chroot "$tree" /usr/bin/env -u PIP_FIND_LINKS HOME=/root LC_ALL=C.UTF-8 PYTHONWARNINGS=ignore \
            PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"' bash "$tree" "$folder" "$@"
}

# The suite's own server, which takes requests for other ports too: a proxy's port is in their Host.
readonly autobahn_server="
from autobahntestsuite.testee import TesteeServerFactory
from twisted.internet import reactor
factory = TesteeServerFactory('ws://127.0.0.1:$autobahn_port')
factory.externalPort = None
reactor.listenTCP($autobahn_port, factory, interface='127.0.0.1')
reactor.run()
"

run_autobahn() {
    start autobahn "$autobahn_port" in_tree "$autobahn" "$work" python2 -c "$autobahn_server"
    start_proxies "$autobahn_port"
    autobahn_spec >"$work/spec.json"
    in_tree "$autobahn" "$work" wstest --mode fuzzingclient --spec /mnt/spec.json >"$work/fuzzing.txt" 2>&1 ||
        { tail -n 20 "$work/fuzzing.txt" >&2; die "Autobahn's client failed (see above)"; }
    python3 scripts/lib/conformance/autobahn.py "$work/reports/index.json"
}

autobahn_spec() {
    local proxy servers="{\"agent\": \"direct\", \"url\": \"ws://127.0.0.1:$autobahn_port\"}"
    for proxy in "${proxies[@]}"; do
        servers+=", {\"agent\": \"$(label "$proxy")\", \"url\": \"ws://127.0.0.1:${plain_port[$proxy]}\"}"
    done
    printf '{"outdir": "/mnt/reports", "servers": [%s], "cases": ["*"], "exclude-cases": ["9.*", "12.*", "13.*"], "exclude-agent-cases": {}}\n' \
        "$servers"
}
