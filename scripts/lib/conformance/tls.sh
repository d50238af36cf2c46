# sslyze: TLS against Mozilla's "intermediate" recommendation. To be sourced.
set -euo pipefail

readonly sslyze_version=6.3.1

prepare_tls() {
    need_packages python3-venv openssl
    sslyze=$cache/sslyze-$sslyze_version
    if [[ ! -x $sslyze/bin/sslyze ]]; then
        rm -rf "$sslyze"
        echo "installing sslyze $sslyze_version"
        python3 -m venv "$sslyze"
        "$sslyze/bin/pip" install --quiet "sslyze==$sslyze_version" || die 'pip could not install sslyze (see above)'
    fi
    export sslyze
}

# The complaints about the proxy $1, one a line, without those about the certificate, which is made for the run.
complaints() {
    sed -n '/COMPLIANCE AGAINST/,$p' "$work/sslyze-$1.txt" | sed -nE 's/^ *\* ([a-z_]+): *(.*)/\1: \2/p' |
        grep -vE '^(certificate|tls_certificate|certificate_|.*lifespan)' || true
}

run_tls() {
    local proxy ok=0 found version
    start_origin
    start_proxies "$origin_port"
    echo '| proxy | complaints beside the test certificate |'
    echo '|---|---|'
    for proxy in "${proxies[@]}"; do
        "$sslyze/bin/sslyze" --mozilla_config=intermediate "localhost:${tls_port[$proxy]}" \
            >"$work/sslyze-$proxy.txt" 2>&1 || true
        if grep -q 'COMPLIANCE AGAINST' "$work/sslyze-$proxy.txt"; then
            found=$(complaints "$proxy")
        else
            found="no scan: $(sed -nE 's/.*=> ERROR: //p' "$work/sslyze-$proxy.txt")"
        fi
        echo "| $(label "$proxy") | $(sed -E 's/:.*//' <<<"${found:-none}" | paste -sd, | sed 's/,/, /g') |"
        if [[ $proxy == evenkeel && -n $found ]]; then
            ok=1
            printf '%s\n' "$found" >"$work/complaints"
        fi
    done
    [[ ! -s $work/complaints ]] || { echo; cat "$work/complaints"; }
    printf '\nmark: nothing but the test certificate to complain about\n'
    return $ok
}
