#!/usr/bin/env bash
# How fast the word count is, beside a plain loop in Rust that does the same without host, sandbox or checkpoints. `make bench-word-count` builds all
# that it needs, and calls it. Prints one line a round and the medians; compares the results byte for byte in each round. Never fails for
# being slow: a figure is to be looked at, not to be tested.
#
# RUNS=<number>    rounds, 5 by default; the two take turns, so that a machine that slows down slows down both
# MB=<number>      input in million bytes, 250 by default
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly gregor=$PWD/target/debug/gregor
readonly reference=$PWD/target/guests/debug/examples/reference
readonly dir=$PWD/target/bench
export LC_ALL=C

rm -rf "$dir"
mkdir -p "$dir/in"
cat /usr/share/common-licenses/* >"$dir/text"
copies=$((${MB:-250} * 1000000 / 8 / $(stat -c %s "$dir/text") + 1))
for file in 1 2 3 4 5 6 7 8; do
    seq "$copies" | xargs -I{} cat -- "$dir/text" >"$dir/in/$file.txt"
done
sed "s|{plugins}|../plugins|; s|{interval}|1 s|" tests/demo/job.toml >"$dir/job.toml"

# Runs a command; leaves wall seconds and CPU seconds in `wall` and `cpu`.
timed() {
    local out
    out=$({ TIMEFORMAT='%R %U %S'; time "$@" >"$dir/stdout" 2>"$dir/stderr"; } 2>&1)
    read -r wall user system <<<"$out"
    cpu=$(awk -v u="$user" -v s="$system" 'BEGIN { print u + s }')
}

median() {
    sort -n | awk '{ v[NR] = $1 } END { printf "%.7g\n", (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

echo "machine: $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1); commit $(git rev-parse --short HEAD 2>/dev/null || echo '?'); rustc $(rustc -V | cut -d' ' -f2)"
: >"$dir/figures"
for ((round = 1; round <= ${RUNS:-5}; round++)); do
    rm -rf "$dir/.gregor" "$dir/out"
    timed "$gregor" run "$dir/job.toml"
    ours=$wall ours_cpu=$cpu
    pauses=$(grep -o 'pause-p99=[^ ]*' "$dir/stderr")
    timed "$reference" "$dir/in/"*
    sort "$dir/stdout" >"$dir/plain.tsv"
    sort "$dir"/out/part-count-* | cmp - "$dir/plain.tsv"
    words=$(awk -F '\t' '{ n += $2 } END { printf "%d", n }' "$dir/plain.tsv")
    awk -v w="$words" -v a="$ours" -v ac="$ours_cpu" -v b="$wall" -v bc="$cpu" \
        'BEGIN { printf "%d %.2f %.0f %.3f %.2f %.0f %.3f %.2f\n", w, a, w / a, ac / w * 1e6, b, w / b, bc / w * 1e6, a / b }' >>"$dir/figures"
    tail -n 1 "$dir/figures" | awk -v p="$pauses" '{ printf "gregor %s s, %s words/s, %s CPU-s per M words, %s; plain loop %s s, %s words/s, %s CPU-s per M words; ratio %s\n", $2, $3, $4, p, $5, $6, $7, $8 }'
done
echo "median: gregor $(cut -d' ' -f3 "$dir/figures" | median) words/s, $(cut -d' ' -f4 "$dir/figures" | median) CPU-s per M words;" \
    "plain loop (one thread) $(cut -d' ' -f6 "$dir/figures" | median) words/s, $(cut -d' ' -f7 "$dir/figures" | median) CPU-s per M words;" \
    "time ratio $(cut -d' ' -f8 "$dir/figures" | median)"
