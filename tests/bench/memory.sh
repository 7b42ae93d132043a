#!/usr/bin/env bash
# Whether a host's memory stays flat: runs the word count for a long time over more text than it can read, with the tasks in Rust and then with
# those in JavaScript, and prints the resident memory of each minute. `make bench-memory` builds all that it needs, and calls it. Fails where the
# last part of a run holds a tenth more than the part after its first fifth: by then its caches are full.
#
# SECONDS_EACH=<number>    for each of the two, 600 by default
# TASKS="rust js"          which tasks
# AT_ONCE=1                both at the same time: the figure is memory, not speed
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly gregor=$PWD/target/debug/gregor
readonly seconds=${SECONDS_EACH:-600}
readonly page_kib=$(($(getconf PAGESIZE) / 1024))
export LC_ALL=C

# Makes folder $1 with a job of the tasks of language $2.
prepare() {
    local dir=$1 language=$2 copy copies=4000
    # What is slower reads less; and each of fewer instances does more, so that it is replaced more often.
    [[ $language == rust ]] || copies=40
    rm -rf "$dir"
    mkdir -p "$dir/in"
    # 64 MB of text under so many names that no machine comes to their end.
    for ((copy = 0; copy < 200; copy++)); do
        cat /usr/share/common-licenses/*
    done | head -c 64000000 >"$dir/in/0000.txt"
    for ((copy = 1; copy < copies; copy++)); do
        printf '%s/in/%04d.txt\n' "$dir" "$copy"
    done | xargs -n 1 ln "$dir/in/0000.txt"
    sed "s|{plugins}/rust|../plugins/$language|; s|{interval}|1 s|" tests/demo/job.toml >"$dir/job.toml"
    # So little that instances of tasks whose memory grows a little with each call are replaced many times.
    [[ $language == rust ]] || printf '\n[limits]\nmemory = "12 MiB"\n' >>"$dir/job.toml"
}

# Runs the job in folder $1, language $2, for that time, and judges its memory.
watch() {
    local dir=$1 language=$2 pid second
    "$gregor" run "$dir/job.toml" 2>"$dir/stderr" &
    pid=$!
    for ((second = 0; second < seconds; second++)); do
        sleep 1
        awk -v kib="$page_kib" '{ print $2 * kib }' "/proc/$pid/statm" >>"$dir/memory" || {
            echo "$language: the host ended after $second s:" >&2
            tail "$dir/stderr" >&2
            return 1
        }
    done
    kill -TERM "$pid"
    wait "$pid" && return 1 || [[ $? == 143 ]]
    awk -v language="$language" -v step="$((seconds < 600 ? seconds / 10 : 60))" '
        function median(from, to,    at, n, i, j, sorted, t) {
            for (at = from; at <= to; at++) sorted[++n] = v[at]
            for (i = 2; i <= n; i++) for (j = i; j > 1 && sorted[j - 1] > sorted[j]; j--) { t = sorted[j]; sorted[j] = sorted[j - 1]; sorted[j - 1] = t }
            return sorted[int((n + 1) / 2)] / 1024
        }
        { v[NR] = $1 }
        END {
            printf "%s: MiB, median of each %d s:", language, step
            for (at = 1; at + step - 1 <= NR; at += step) printf " %.0f", median(at, at + step - 1)
            early = median(int(NR / 5) + 1, int(NR * 2 / 5)); late = median(NR - int(NR / 5) + 1, NR)
            printf "; second fifth %.0f, last fifth %.0f, ratio %.3f\n", early, late, late / early
            exit late > early * 1.1
        }' "$dir/memory" || {
        echo "$language: the memory of the host is not flat" >&2
        return 1
    }
    echo "$language: $(grep -E '^(stopped|pause)' "$dir/stderr" | tr '\n' ' ')"
}

pids=()
failed=0
for language in ${TASKS:-rust js}; do
    dir=$PWD/target/memory-$language
    prepare "$dir" "$language"
    watch "$dir" "$language" &
    pids+=($!)
    [[ -n ${AT_ONCE:-} ]] || wait "${pids[-1]}" || failed=1
done
[[ -z ${AT_ONCE:-} ]] || for pid in "${pids[@]}"; do
    wait "$pid" || failed=1
done
rm -rf "$PWD"/target/memory-*
exit "$failed"
