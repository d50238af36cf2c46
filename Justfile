# The scripts under shorter names. Everything works without `just`: each recipe is one line that can be typed.

# Lists the recipes.
default:
    @just --list --unsorted

# The story of a good and a bad release, with the real image in a virtual machine.
demo *arguments:
    scripts/demo {{ arguments }}

# The same story in seconds, with processes in place of the virtual machine.
demo-host *arguments:
    scripts/demo --host {{ arguments }}

# Everything that belongs in every run.
test *arguments:
    scripts/test {{ arguments }}

# What to run before each commit: formatting, lints, repository rules.
check:
    scripts/test fmt clippy no-std tidy

# The repository's rules alone.
tidy:
    scripts/test tidy

# Every parser of untrusted bytes against random bytes, other parsers and its own promises.
fuzz *arguments:
    scripts/fuzz {{ arguments }}

# CPU per request beside HAProxy and nginx, in every scenario or the named ones; writes docs/performance.md.
bench *arguments:
    scripts/bench {{ arguments }}

# Half an hour of mixed load with reloads, stops of servers and slow clients.
soak *arguments:
    scripts/soak {{ arguments }}

# Every conformance suite, or the named ones, with the peers' scores beside ours.
conformance *arguments:
    scripts/conformance {{ arguments }}

# HTTP/2 and HPACK, 147 cases.
conformance-h2spec:
    scripts/conformance h2spec

# gRPC by grpcio, every kind of call.
conformance-grpc:
    scripts/conformance grpc

# WebSocket through the proxy, 247 cases.
conformance-autobahn:
    scripts/conformance autobahn

# TLS against Mozilla's recommendation.
conformance-tls:
    scripts/conformance tls

# Slow clients, in four modes.
conformance-slowhttp:
    scripts/conformance slowhttp

# The page of metrics, by Prometheus' own promtool.
conformance-metrics:
    bash -c 'source scripts/lib/install.sh && need_packages prometheus'
    cargo nextest run --package evenkeel-proxy --test metrics

# The policies against each other in simulated time: the tables of docs/policies.md.
sim-balance seeds="10":
    cargo run --release --quiet --package evenkeel-balance --example policies -- {{ seeds }}

# The bootable disk image.
image *arguments:
    scripts/image {{ arguments }}

# Licences, sources and banned crates, with cargo-deny.
deny:
    cargo deny check licenses bans sources
