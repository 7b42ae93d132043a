#!/usr/bin/env bash
# Makes an empty folder for what tests write, and prints its path: in memory where there is enough of it, since two of three seconds of a test on a
# disk are spent waiting for that; otherwise where temporary files go. Processes that are killed leave the same in both: only a machine that loses its
# power tells them apart, and no test takes that away.
set -euo pipefail

readonly memory=/dev/shm
# What the tests have there at one time stays below 2 GiB; as much again for the tests themselves.
readonly least_kib=$((6 * 1024 * 1024))

# The free KiB of a file system in memory, and of memory itself: the lesser.
free_kib() {
    [[ -w $memory && $(stat -f -c %T "$memory") == tmpfs ]] || return 1
    { df --output=avail "$memory" | tail -n 1; sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo; } | sort -n | head -n 1
}

if free=$(free_kib 2>/dev/null) && ((free >= least_kib)); then
    mktemp -d -p "$memory" --suffix=-gregor
else
    mktemp -d --suffix=-gregor
fi
