#!/usr/bin/env bash
# Lets clones on one machine share what they build of the dependencies, and nothing else.
#
# usage: tests/setup/clone.sh FOLDER
#
# Prints the build folder for this clone: FOLDER, or target/ in the clone where FOLDER can't be written. Writes target/clone/, which goes
# with it: `cargo --config target/clone/build.toml`, and for clippy `cargo --config target/clone/clippy.toml check`.
#
# Why: cargo names what it builds of a workspace's own crates by their place in the workspace, not on the machine. Two clones in one build
# folder would take each other's crates for their own, and run each other's tests. What is named, too, is the program that stands between
# cargo and the compiler for a workspace's own crates. So each clone has one of its own, which does nothing but call the compiler.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Writes standard input to a file, unless that is what it holds: cargo looks at times.
put() {
    local content
    content=$(cat)
    if [[ ! -f $1 || "$content" != "$(<"$1")" ]]; then
        printf '%s\n' "$content" >"$1"
    fi
}

# A program that calls the compiler $2, and the configuration $1 that names it.
wrapper() {
    put "target/clone/$1" <<<"#!/bin/sh
exec $2"
    chmod +x "target/clone/$1"
    put "target/clone/$1.toml" <<<"build.rustc-workspace-wrapper = '$PWD/target/clone/$1'"
}

mkdir -p target/clone
# shellcheck disable=SC2016 # The program is to expand it.
wrapper build '"$@"'
# What `cargo clippy` does, which would put a wrapper in place that all clones have in common.
# shellcheck disable=SC2016
wrapper clippy 'clippy-driver "$@" -Dwarnings'

shared=${1:?usage: tests/setup/clone.sh FOLDER}
if mkdir -p "$shared" 2>/dev/null && [[ -w "$shared" && -x "$shared" ]]; then
    (cd "$shared" && pwd)
else
    echo "note: $shared can't be written; this clone builds its dependencies for itself, in target/" >&2
    echo "$PWD/target"
fi
