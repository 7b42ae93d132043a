#!/usr/bin/env bash
# The demo: counts the words of a text, kills the host half-way with SIGKILL, starts it again, and compares the result with that of a plain
# sequential program. `make demo` builds all that it needs, and calls it.
#
# TEXT=<folder or files>   what to count; by default the licence texts that every Debian has
# REPEAT=<number>          how many times over; by default so that there are some 250 MB to read
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly gregor=$PWD/target/debug/gregor
readonly reference=$PWD/target/guests/debug/examples/reference
readonly dir=$PWD/target/demo
readonly input_bytes=250000000
readonly input_files=8
# Seconds without a word from the host after which it hangs: it says something every second.
readonly silence_max=60
# Seconds for everything: some ten times what a slow machine takes.
readonly seconds_max=900
export LC_ALL=C

fail() {
    if [[ -t 1 ]]; then
        printf '\r\e[K'
    fi
    printf 'demo: %s\n' "$@" >&2
    exit 1
}

# Prints a line, over what `progress` may have left there.
say() {
    if [[ -t 1 ]]; then
        printf '\r\e[K'
    fi
    printf '%s\n' "$*"
}

# Shows a line that the next one replaces; nothing where there is no terminal.
progress() {
    if [[ -t 1 ]]; then
        printf '\r\e[K  %s' "$*"
    fi
}

# The value of `name=value` in a line; nothing where it has none.
field() {
    local word
    for word in $2; do
        if [[ $word == "$1="* ]]; then
            printf '%s' "${word#*=}"
            return
        fi
    done
}

# Makes the input and an empty folder for everything else. Leaves `copies`.
prepare() {
    local files=() bytes one file
    # Several paths are one word each: TEXT="a.txt b.txt".
    read -r -a files <<<"${TEXT:-/usr/share/common-licenses}"
    mapfile -d '' -t files < <(find -L "${files[@]}" -type f -print0 | sort -z)
    if ((${#files[@]} == 0)); then
        fail "there is no file in TEXT=${TEXT:-/usr/share/common-licenses}; name a folder or files with text"
    fi
    rm -rf "$dir"
    mkdir -p "$dir/in"
    : >"$dir/log"
    one=$dir/text
    cat -- "${files[@]}" >"$one"
    bytes=$(stat -c %s "$one")
    if ((bytes == 0)); then
        fail "the files in TEXT=${TEXT:-/usr/share/common-licenses} are empty; name a folder or files with text"
    fi
    copies=${REPEAT:-$((input_bytes / bytes + 1))}
    for ((file = 0; file < input_files && file < copies; file++)); do
        repeated "$one" $(((copies + input_files - 1 - file) / input_files)) >"$dir/in/$file.txt"
    done
    bytes=$(cat "$dir"/in/* | wc -c)
    say "text      ${#files[@]} files, ${copies} times over: $((bytes / 1000000)) MB"
}

# Prints a file several times over.
repeated() {
    local names=() i
    for ((i = 0; i < $2; i++)); do
        names+=("$1")
    done
    printf '%s\0' "${names[@]}" | xargs -0 cat --
}

# The job, of which the benchmark and the tests of the system take copies as well.
write_job() {
    sed "s|{plugins}|../plugins|; s|{interval}|500 ms|" tests/demo/job.toml >"$dir/job.toml"
}

# Starts the host; what it says can be read from file descriptor 3.
start() {
    rm -f "$dir/says"
    mkfifo "$dir/says"
    "$gregor" run "$dir/job.toml" </dev/null 2>"$dir/says" &
    host=$!
    exec 3<"$dir/says"
}

# Reads the next line that the host says into `line`; fails at its end.
listen() {
    local status=0
    IFS= read -r -t "$silence_max" line <&3 || status=$?
    if ((status > 128)); then
        fail "the host said nothing for $silence_max seconds; what it said before is in $dir/log"
    fi
    ((status == 0)) || return 1
    if ((SECONDS > seconds_max)); then
        fail "the host is not done after $SECONDS seconds; what it said is in $dir/log"
    fi
    printf '%s\n' "$line" >>"$dir/log"
    progress "$line"
}

# Runs the host until it has read a good part of the input, and kills it. Leaves `seen` and `confirmed`: records and last checkpoint of which
# it said so.
run_and_kill() {
    local share='' at status=0
    seen=0 confirmed=0
    start
    while listen; do
        share=$(field input-share "$line") at=$(field checkpoint "$line")
        # Before the first checkpoint, its number is `none`.
        if [[ -n $share && $at =~ ^[0-9]+$ ]]; then
            seen=$(field records "$line") confirmed=$at
            if [[ $share == 0.[4-9]* || $share == 1* ]]; then
                kill -KILL "$host" 2>/dev/null || true
                break
            fi
        fi
    done
    exec 3<&-
    wait "$host" 2>/dev/null || status=$?
    host=''
    if ((status == 0)) || [[ -e $dir/out/_SUCCESS ]]; then
        fail "the host was done before it could be killed; give it more to do: make demo REPEAT=$((copies * 4))"
    fi
    if ((status != 137)); then
        tail -n 5 "$dir/log" >&2
        fail "the host ended by itself, status $status; all that it said is in $dir/log"
    fi
    say "killed    at checkpoint $confirmed, $seen records read, $share of the input"
}

# Runs the host to the end, and says what it did again.
run_to_the_end() {
    local status=0 resumed='' from='' last='' total='' pause=''
    start
    while listen; do
        case $line in
        resumed\ *) resumed=$(field checkpoint "$line") from=$(field records "$line") ;;
        finished\ *) last=$(field checkpoint "$line") total=$(field records "$line") ;;
        pause-*) pause=$(field pause-p99 "$line") ;;
        esac
    done
    exec 3<&-
    wait "$host" || status=$?
    host=''
    if ((status != 0)); then
        tail -n 5 "$dir/log" >&2
        fail "the host failed, status $status; all that it said is in $dir/log"
    fi
    if [[ -z $resumed || -z $last ]]; then
        fail "the host did not say where it resumed and where it finished; all that it said is in $dir/log"
    fi
    say "resumed   from checkpoint $resumed, at $from records; at least $((seen > from ? seen - from : 0)) were processed a second time"
    say "finished  at checkpoint $last, $total records"
    say "pauses    99 in 100 freezes held their task up for at most ${pause:-(not said)}"
}

# Shows the checkpoints that are still on record, newest last.
list_checkpoints() {
    say "checkpoints, bytes"
    "$gregor" checkpoint list "$dir/job.toml" | while read -r number time status _ bytes _; do
        if [[ $number =~ ^[0-9]+$ ]]; then
            printf '%12d  %s  %s  %s\n' "$number" "$time" "$status" "$bytes"
        fi
    done
}

compare() {
    local words
    progress "counting again, plainly"
    cat "$dir"/out/part-count-* | sort >"$dir/result.tsv"
    words=$("$reference" "$dir"/in/* 2>&1 >"$dir/plain.tsv")
    sort -o "$dir/plain.tsv" "$dir/plain.tsv"
    say "top ten"
    sort -t $'\t' -k 2,2nr -k 1,1 "$dir/result.tsv" | sed -n '1,10p' | while IFS=$'\t' read -r word count; do
        printf '%12d  %s\n' "$count" "$word"
    done
    if ! cmp -s "$dir/result.tsv" "$dir/plain.tsv"; then
        diff "$dir/result.tsv" "$dir/plain.tsv" | head -n 10 >&2 || true
        fail "the result differs from that of a plain sequential count: compare $dir/result.tsv with $dir/plain.tsv"
    fi
    say "compared with a plain sequential count: identical, $words"
}

host=''
trap 'if [[ -n $host ]]; then kill -KILL "$host" 2>/dev/null; fi' EXIT
prepare
write_job
run_and_kill
run_to_the_end
list_checkpoints
compare
