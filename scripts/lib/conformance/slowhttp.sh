# slowhttptest: clients that send or read slowly, in its four modes, while others want to be served. To be sourced.
set -euo pipefail

# Connections of the attacker, opened at that many a second, for so long.
readonly slow_connections=4000 slow_rate=800 slow_seconds=25

# Others are served if at least this share of their requests, in thousandths, is answered within a second.
readonly slow_mark=990

prepare_slowhttp() { need_packages slowhttptest curl; }

# Asks again and again from another address, until the file $2 appears, and writes how often and with what success.
probe() {
    local url=$1 stop=$2 asked=0 answered=0
    while [[ ! -e $stop ]]; do
        asked=$((asked + 1))
        if curl --silent --fail --output /dev/null --interface 127.0.0.2 --max-time 1 "$url"; then
            answered=$((answered + 1))
        fi
        sleep 0.1
    done
    echo "$asked $answered"
}

# Attacks a proxy in one mode; prints the share of the others' requests that were answered, in thousandths.
attack() {
    local proxy=$1 mode=$2 url="http://127.0.0.1:${plain_port[$1]}" counts asked answered
    local stop=$work/stop-$proxy-$mode arguments=()
    case $mode in
    H) arguments=(-H -i 10 -u "$url/") ;;
    B) arguments=(-B -i 10 -s 8192 -u "$url/") ;;
    R) arguments=(-R -a 10 -b 3000 -u "$url/large") ;;
    X) arguments=(-X -k 3 -w 512 -y 1024 -n 5 -z 32 -u "$url/large") ;;
    esac
    probe "$url/" "$stop" >"$work/probe-$proxy-$mode" &
    local prober=$!
    timeout $((slow_seconds + 15)) slowhttptest -c $slow_connections -r $slow_rate -l $slow_seconds -p 2 \
        "${arguments[@]}" >"$work/slowhttp-$proxy-$mode.txt" 2>&1 </dev/null || true
    touch "$stop"
    wait "$prober"
    read -r asked answered <"$work/probe-$proxy-$mode"
    echo $((asked > 0 ? answered * 1000 / asked : 0))
}

run_slowhttp() {
    local proxy mode share ok=0 row
    start_origin
    start_proxies "$origin_port"
    echo "answered within a second, of the requests of others during the attack by $slow_connections connections:"
    echo
    echo '| proxy | slow heads | slow bodies | ranges | slow reading |'
    echo '|---|---|---|---|---|'
    for proxy in "${proxies[@]}"; do
        row="| $(label "$proxy")"
        for mode in H B R X; do
            share=$(attack "$proxy" "$mode")
            row+=$(printf ' | %d.%d %%' $((share / 10)) $((share % 10)))
            [[ $proxy != evenkeel || $share -ge $slow_mark ]] || ok=1
        done
        echo "$row |"
    done
    printf '\nmark: at least %d.%d %% in each mode\n' $((slow_mark / 10)) $((slow_mark % 10))
    return $ok
}
