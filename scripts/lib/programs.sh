# Builds the programs that are shipped, and those of the story around them. To be sourced.
#
# Owns: which packages are built together. Always the same ones, for cargo builds what they share anew when the set
# changes, and with it what they ask of their dependencies.
set -euo pipefail

programs=(
    evenkeel-agent evenkeel-balancer evenkeel-cli evenkeel-update-server
    evenkeel-faulty evenkeel-hostbox evenkeel-story
)

# Where the built programs are.
programs_dir() { echo "${CARGO_TARGET_DIR:-target}/release"; }

build_programs() { cargo build --release --locked "${programs[@]/#/--package=}"; }
