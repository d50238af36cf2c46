# gRPC: grpcio on both sides, without TLS, every kind of call. To be sourced.
set -euo pipefail

readonly grpcio_version=1.85.3

prepare_grpc() {
    need_packages python3-venv
    grpcio=$cache/grpcio-$grpcio_version
    if [[ ! -x $grpcio/bin/python ]] || ! "$grpcio/bin/python" -c 'import grpc' 2>/dev/null; then
        rm -rf "$grpcio"
        echo "installing grpcio $grpcio_version"
        python3 -m venv "$grpcio"
        "$grpcio/bin/pip" install --quiet "grpcio==$grpcio_version" || die 'pip could not install grpcio (see above)'
    fi
    export grpcio
}

# Each in front of a server of gRPC on the port $1, which the check starts itself.
start_grpc_proxies() {
    cat >"$work/evenkeel.toml" <<END
[admin]
listen = "127.0.0.1:9900"
[[listener]]
name = "grpc"
bind = "127.0.0.1:${plain_port[evenkeel]}"
mode = "http"
pool = "grpc"
[[pool]]
name = "grpc"
protocol = "http2"
[[pool.server]]
name = "grpc"
address = "127.0.0.1:$1"
[pool.health_check]
kind = "tcp"
END
    start evenkeel "${plain_port[evenkeel]}" "$EVENKEEL_PROXY" --workers 1 \
        --control-socket "$work/control" --config "$work/evenkeel.toml"
    haproxy_file "frontend grpc
    bind 127.0.0.1:${plain_port[haproxy]} proto h2
    default_backend servers
backend servers
    server grpc 127.0.0.1:$1 proto h2"
    start haproxy "${plain_port[haproxy]}" "$EVENKEEL_HAPROXY" -db -f "$work/haproxy.cfg"
    nginx_file nginx "server {
        listen 127.0.0.1:${plain_port[nginx]} backlog=4096;
        http2 on;
        client_max_body_size 0;
        location / { grpc_pass grpc://127.0.0.1:$1; }
    }"
    start nginx "${plain_port[nginx]}" "$EVENKEEL_NGINX" -c "$work/nginx.conf"
}

run_grpc() {
    local proxy line ok=0
    start_grpc_proxies "$origin_port"
    echo '| proxy | checks passed | failed |'
    echo '|---|---|---|'
    for proxy in "${proxies[@]}"; do
        "$grpcio/bin/python" scripts/lib/conformance/calls.py "$origin_port" "${plain_port[$proxy]}" \
            >"$work/grpc-$proxy.txt" 2>&1 || [[ $proxy != evenkeel ]] || ok=1
        line=$(grep -E '^[0-9]+ of [0-9]+ passed' "$work/grpc-$proxy.txt") || line='0 of 13 passed'
        echo "| $(label "$proxy") | ${line% passed} | $(sed -n 's/^FAILED  //p' "$work/grpc-$proxy.txt" | paste -sd, | sed 's/,/, /g') |"
    done
    printf '\nmark: Evenkeel passes all\n'
    return $ok
}
