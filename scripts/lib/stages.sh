# Runs stages one after another, times them, and counts what passed, failed and was skipped. To be sourced.
#
# Owns: the counting rules. A stage counts as one, a test runner's stage as its tests; a test that cannot run here
# prints a line `SKIPPED: reason` and counts as skipped. Leaves to the caller: which stages there are. A failing stage
# never stops the next one, and a stage that says nothing about its tests counts by its exit status.
set -euo pipefail

passed=0 failed=0 skipped=0
failures=()
logs=${CARGO_TARGET_DIR:-target}/test-logs

# Runs a command with its output on the screen and in a log, and prints its time. Sets `status`, `log`.
run_timed() {
    local name=$1 start=$EPOCHREALTIME
    shift
    mkdir -p "$logs"
    log=$logs/${name//[^a-z0-9]/-}.log
    printf '\n== %s\n' "$name"
    set +e
    "$@" </dev/null 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    set -e
    printf '== %s: %s after %s s\n' "$name" "$(verdict "$status")" "$(seconds_since "$start")"
}

verdict() {
    if [[ $1 -eq 0 ]]; then echo passed; else echo "FAILED (exit status $1)"; fi
}

seconds_since() {
    awk -v from="$1" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f", to - from }'
}

# Runs a command that passes or fails as a whole.
stage() {
    run_timed "$@"
    if [[ $status -eq 0 ]]; then
        passed=$((passed + 1))
    else
        fail "$1"
    fi
}

# Counts a stage that cannot run here, with the reason.
skip() {
    printf '\n== %s: skipped, %s\n' "$1" "$2"
    skipped=$((skipped + 1))
}

fail() {
    failed=$((failed + 1))
    failures+=("$1")
}

# Runs cargo-nextest, which leaves its figures and every test's output in a JUnit report.
nextest_stage() {
    local name=$1 report=${CARGO_TARGET_DIR:-target}/nextest/default/junit.xml
    shift
    rm -f "$report"
    run_timed "$name" cargo nextest run --no-fail-fast "$@"
    if [[ -f $report ]]; then
        count_junit "$report"
    else
        count 0 0 0 # It did not come as far as running a test.
    fi
    settle "$name"
}

# Runs libtest by way of cargo.
libtest_stage() {
    local name=$1
    shift
    run_timed "$name" cargo test --quiet --no-fail-fast "$@" -- --show-output
    count_libtest "$log"
    settle "$name"
}

# Adds the figures of one stage and remembers whether it blamed a test for its failure.
count() {
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
    blamed=$2
}

# A stage that failed without a failing test (it did not compile, say) is one failure of its own.
settle() {
    if [[ $blamed -gt 0 ]]; then
        failures+=("$1: $blamed tests")
    elif [[ $status -ne 0 ]]; then
        fail "$1"
    fi
}

count_junit() {
    local tests bad unable ignored unable_line='(^|<system-(out|err)>)SKIPPED: '
    tests=$(grep -c '<testcase ' "$1" || true)
    bad=$(grep -cE '<(failure|error)[ >]' "$1" || true)
    unable=$(grep -cE "$unable_line" "$1" || true)
    ignored=$(sed -nE 's/^ *Summary .* ([0-9]+) skipped.*/\1/p' "$log")
    grep -E "$unable_line" "$1" | sed -E 's/^.*SKIPPED: /SKIPPED: /' || true
    count $((tests - bad - unable)) "$bad" $((unable + ${ignored:-0}))
}

# Sums the lines `test result: ok. 5 passed; 0 failed; 1 ignored; …`, one per test binary.
count_libtest() {
    local good bad ignored unable
    read -r good bad ignored < <(awk '/^test result: / { good += $4; bad += $6; ignored += $8 }
        END { print good + 0, bad + 0, ignored + 0 }' "$1")
    unable=$(grep -cE '^SKIPPED: ' "$1" || true)
    count $((good - unable)) "$bad" $((ignored + unable))
}

# Prints what failed and the closing line; its status says whether all is well.
summary() {
    local failure
    echo
    for failure in "${failures[@]}"; do
        echo "failed: $failure"
    done
    echo "$passed passed, $failed failed, $skipped skipped"
    [[ $failed -eq 0 && $passed -gt 0 ]]
}
