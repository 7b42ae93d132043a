#!/usr/bin/env bash
# How long a job with a large state takes to go on after its process was killed: with its local disk, and from the archive alone, beside what the
# disk itself takes to copy the archive's bytes and make them durable. `make bench-restart` builds all that it needs, and calls it. Prints one
# line a round and the medians. Goals: 2 s with the local disk, 80 % of the disk's speed from the archive. Never fails for missing them.
#
# MB=<number>      state in million bytes, about; 1000 by default, which takes three times as much of the disk
# RUNS=<number>    rounds, 3 by default
# INTERVAL=<time>  between checkpoints, "2 s" by default
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly gregor=$PWD/target/debug/gregor
readonly dir=$PWD/target/bench-restart
readonly tasks=4
export LC_ALL=C
pid=
trap '[[ -z $pid ]] || kill -KILL "$pid" 2>/dev/null || true' EXIT

rm -rf "$dir"
mkdir -p "$dir/in"
sed "s|{plugins}|../plugins|; s|{interval}|${INTERVAL:-2 s}|" tests/demo/job.toml >"$dir/job.toml"
printf 'base-rate = "1 GiB"\nthreshold = 0.2\n[limits]\nunpublished-bytes = "256 MiB"\n' >>"$dir/job.toml"
# Words that occur once, of 96 letters.
for file in 1 2 3 4 5 6 7 8; do
    head -c $((${MB:-1000} * 1000000 / 8 * 3 / 4)) /dev/urandom | base64 -w 96 >"$dir/in/$file.txt"
done

# Starts the job; it tells what it does with each task's store.
start() {
    began=$(date +%s%N)
    "$gregor" run "$dir/job.toml" --data "$dir/data" --log gregor_runtime=info >"$dir/stdout" 2>"$dir/stderr" &
    pid=$!
}

# Kills it, and hides what the shell says of that.
end() {
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    pid=
}

# Waits until a command succeeds; a job that ends meanwhile ends this too.
until_true() {
    until "$@"; do
        kill -0 "$pid" 2>/dev/null || { echo "the job ended too soon:"; tail -n 5 "$dir/stderr"; exit 1; } >&2
        sleep 0.02
    done
}

read_all() { grep -q 'input-share=1.00' "$dir/stderr"; }
based() { (($(find "$dir/data/archive" -path '*/bases/*' -type f -printf '%s\n' | awk '{ n += $1 } END { printf "%d", n / 1e6 }') * 2 > ${MB:-1000})); }
ready() { (($(grep -c 'the state is.*task="count/' "$dir/stderr" || true) >= tasks)); }

# Seconds from the start until the last task had its state, by the log's own times.
seconds() {
    local last
    last=$(grep 'the state is.*task="count/' "$dir/stderr" | cut -d' ' -f1 | sort | tail -n 1)
    awk -v a="$(date -d "$last" +%s%N)" -v b="$began" 'BEGIN { printf "%.3f", (a - b) / 1e9 }'
}

cold() { sync && { echo 3 >/proc/sys/vm/drop_caches; } 2>/dev/null || true; }
median() { sort -n | awk '{ v[NR] = $1 } END { printf "%.4g", (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

start
until_true read_all
until_true based
end
mv "$dir/data" "$dir/then"
mv "$dir/out" "$dir/out-then"

# The data of the killed job; $1 says whether with its local store.
prepare() {
    rm -rf "$dir/data" "$dir/copy" "$dir/out"
    mkdir "$dir/data"
    cp -a "$dir/out-then" "$dir/out"
    cp -al "$dir/then/archive" "$dir/data/archive"
    for name in "$dir"/then/*; do
        case ${name##*/} in
        archive) ;;
        state) if [[ $1 == local ]]; then cp -a "$name" "$dir/data/"; else mkdir "$dir/data/state"; fi ;;
        *) cp -a "$name" "$dir/data/" ;;
        esac
    done
    cold
}

bytes=$(du -sb "$dir/then/archive" | cut -f1)
echo "machine: $(nproc) cores; commit $(git rev-parse --short HEAD 2>/dev/null || echo '?'); archive $((bytes / 1000000)) MB; caches are $([[ -w /proc/sys/vm/drop_caches ]] && echo cold || echo warm)"
for ((round = 1; round <= ${RUNS:-3}; round++)); do
    for from in local archive; do
        prepare $from
        start
        until_true ready
        end
        seconds >>"$dir/$from"
        echo >>"$dir/$from"
    done
    grep -oE '(base|delta)_bytes=[0-9]+' "$dir/stderr" | awk -F= '{ n += $2 } END { printf "%d\n", n }' >"$dir/bases"
    rm -rf "$dir/data"
    cold
    # What a restore does to the disk, with nothing else: large objects are read, written and made durable.
    began=$(date +%s%N)
    mkdir "$dir/copy"
    find "$dir/then/archive" -path '*/bases/*' -type f -size +1M | awk '{ print NR, $0 }' | while read -r number file; do
        dd if="$file" of="$dir/copy/$number" bs=8M conv=fsync status=none
    done
    copied=$(du -sb "$dir/copy" | cut -f1)
    awk -v b="$copied" -v s="$began" -v e="$(date +%s%N)" 'BEGIN { printf "%.1f\n", b / 1e6 / ((e - s) / 1e9) }' >>"$dir/disk"
    awk -v l="$(tail -n 1 "$dir/local")" -v a="$(tail -n 1 "$dir/archive")" -v d="$(tail -n 1 "$dir/disk")" -v b="$(cat "$dir/bases")" \
        'BEGIN { printf "local disk %s s; archive %s s, %.0f MB of bases and deltas, %.1f MB/s, %.1f MB/s beyond what a start takes anyway; the disk itself %s MB/s\n", l, a, b / 1e6, b / 1e6 / a, b / 1e6 / (a - l), d }'
done
awk -v l="$(median <"$dir/local")" -v a="$(median <"$dir/archive")" -v d="$(median <"$dir/disk")" -v b="$(cat "$dir/bases")" \
    'BEGIN { printf "median: local disk %s s (goal 2 s); archive %s s, %.1f MB/s, %.0f %% of the disk with its %s MB/s; beyond what a start takes anyway %.1f MB/s, %.0f %% (goal 80 %%)\n", l, a, b / 1e6 / a, b / 1e6 / a / d * 100, d, b / 1e6 / (a - l), b / 1e6 / (a - l) / d * 100 }'
rm -rf "$dir"
