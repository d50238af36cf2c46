# The stand of a conformance run: Evenkeel, HAProxy and nginx side by side in front of one server, in a network namespace
# of their own. To be sourced after lib/install.sh.
#
# Owns: the configurations, each what its manual recommends for a site: HTTP/1.1 and HTTP/2, TLS as it comes, timeouts;
# starting, waiting, ending by process id. Leaves to the suites: what is asked. The namespace is new, so that the ports
# below are free whatever else runs on the machine.
set -euo pipefail

readonly proxies=(evenkeel haproxy nginx)
readonly -A plain_port=([evenkeel]=8001 [haproxy]=8002 [nginx]=8003)
readonly -A tls_port=([evenkeel]=8441 [haproxy]=8442 [nginx]=8443)
readonly origin_port=9000

started=()

# Ends what was started, newest first, and waits for it.
end_all() {
    local index
    for ((index = ${#started[@]} - 1; index >= 0; index--)); do
        kill -- "-${started[index]}" 2>/dev/null || true
    done
    for index in "${!started[@]}"; do
        wait "${started[index]}" 2>/dev/null || true
    done
    started=()
}

# Starts a command in the background, its output in $work/$1.log, and waits until it listens on the port $2. It has a
# process group of its own, so that what it starts itself ends with it.
start() {
    local name=$1 port=$2 pid deadline=$((SECONDS + 15))
    shift 2
    set -m
    "$@" </dev/null >"$work/$name.log" 2>&1 &
    pid=$!
    set +m
    started+=("$pid")
    until (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        if ! kill -0 "$pid" 2>/dev/null || ((SECONDS > deadline)); then
            printf '%s does not listen on port %s:\n' "$name" "$port" >&2
            tail -n 20 "$work/$name.log" >&2
            return 1
        fi
        sleep 0.05
    done
}

make_certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost \
        -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -keyout "$work/site.key" -out "$work/site.pem" 2>/dev/null
    cat "$work/site.pem" "$work/site.key" >"$work/site-and-key.pem"
}

# Starts the server behind the proxies: nginx with a small answer for every path and a file of 1 MiB. Like an
# application, it answers when it has the whole request: the first of its two servers reads it for the second.
start_origin() {
    mkdir -p "$work/files"
    head -c 1048576 /dev/zero | tr '\0' x >"$work/files/large"
    printf 'the server\n' >"$work/files/index.html"
    nginx_file origin "server {
        listen 127.0.0.1:$origin_port backlog=4096;
        root $work/files;
        location = /large { }
        location / { proxy_pass http://127.0.0.1:$((origin_port + 1)); }
    }
    server {
        listen 127.0.0.1:$((origin_port + 1)) backlog=4096;
        root $work/files;
        error_page 404 405 =200 /index.html;
        location / { rewrite ^ /index.html break; }
    }"
    start origin "$origin_port" "$EVENKEEL_NGINX" -c "$work/origin.conf"
}

# Writes $work/$1.conf for nginx around the `server` blocks in $2.
nginx_file() {
    local name=$1 kind user=''
    [[ $EUID -ne 0 ]] || user='user root;'
    {
        echo "$user daemon off; worker_processes 1; pid $work/$name.pid; error_log $work/$name-errors.log error;"
        echo "events { worker_connections 16384; }"
        echo 'http { access_log off;'
        for kind in client_body proxy fastcgi uwsgi scgi; do
            echo "${kind}_temp_path $work/$name-$kind;"
        done
        printf '%s\n}\n' "$2"
    } >"$work/$name.conf"
}

# Starts the three proxies in front of the server on the port $1.
start_proxies() {
    local server=127.0.0.1:$1
    evenkeel_file "$server"
    start evenkeel "${tls_port[evenkeel]}" "$EVENKEEL_PROXY" --workers 1 \
        --control-socket "$work/control" --config "$work/evenkeel.toml"
    haproxy_file "frontend site
    bind 127.0.0.1:${plain_port[haproxy]}
    bind 127.0.0.1:${tls_port[haproxy]} ssl crt $work/site-and-key.pem alpn h2,http/1.1
    default_backend origin
backend origin
    server origin $server"
    start haproxy "${tls_port[haproxy]}" "$EVENKEEL_HAPROXY" -db -f "$work/haproxy.cfg"
    nginx_file nginx "upstream origin { server $server; keepalive 64; }
    map \$http_upgrade \$connection_upgrade { default upgrade; '' ''; }
    server {
        listen 127.0.0.1:${plain_port[nginx]} backlog=4096;
        listen 127.0.0.1:${tls_port[nginx]} ssl backlog=4096;
        http2 on;
        ssl_certificate $work/site.pem;
        ssl_certificate_key $work/site.key;
        location / {
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Upgrade \$http_upgrade;
            proxy_set_header Connection \$connection_upgrade;
            proxy_read_timeout 10m;
        }
    }"
    start nginx "${tls_port[nginx]}" "$EVENKEEL_NGINX" -c "$work/nginx.conf"
}

evenkeel_file() {
    cat >"$work/evenkeel.toml" <<END
[admin]
listen = "127.0.0.1:9900"

[[listener]]
name = "plain"
bind = "127.0.0.1:${plain_port[evenkeel]}"
mode = "http"
pool = "origin"

[[listener]]
name = "tls"
bind = "127.0.0.1:${tls_port[evenkeel]}"
mode = "http"
pool = "origin"
[listener.tls]
certificate = "$work/site.pem"
key = "$work/site.key"

[[pool]]
name = "origin"
[[pool.server]]
name = "origin"
address = "$1"
END
}

# Writes $work/haproxy.cfg for HAProxy around the sections in $1.
haproxy_file() {
    cat >"$work/haproxy.cfg" <<END
global
    nbthread 1
    maxconn 8000
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout http-request 10s
    timeout http-keep-alive 60s
    timeout tunnel 10m
$1
END
}

# What each proxy is called in tables: its name and version.
label() {
    local version
    case $1 in
    evenkeel) version=$("$EVENKEEL_PROXY" --version) ;;
    haproxy) version=$("$EVENKEEL_HAPROXY" -v 2>&1) ;;
    nginx) version=$("$EVENKEEL_NGINX" -v 2>&1) ;;
    esac
    printf '%s %s' "$1" "$(grep -oE '[0-9]+\.[0-9]+\.[0-9]+' <<<"$version" | sed -n 1p)"
}
