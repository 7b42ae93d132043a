#!/usr/bin/env bash
# Lets clones on one machine share what they build of the dependencies, and nothing else.
#
# usage: tests/setup/clone.sh FOLDER
#
# Prints the build folder for this clone: FOLDER, or target/ in the clone where FOLDER can't be written. Writes target/clone.toml, which
# goes with it: `cargo --config target/clone.toml`.
#
# Why that file: cargo names what it builds of a workspace's own crates by their place in the workspace, not on the machine. Two clones in
# one build folder would take each other's crates for their own, and run each other's tests. A profile is part of the name, so each clone
# builds its own crates with a number of codegen units that no other clone has. Above some hundred that number changes nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

clone_config() {
    local checksum _ manifest
    read -r checksum _ < <(pwd -P | cksum)
    echo "# Written by tests/setup/clone.sh, which says why."
    for manifest in host/*/Cargo.toml; do
        printf '[profile.dev.package.%s]\ncodegen-units = %d\n' "$(sed -n 's/^name = "\(gregor-.*\)"$/\1/p' "$manifest")" \
            "$((1000 + checksum % 1000000000))"
    done
}

mkdir -p target
config=$(clone_config)
if [[ ! -f target/clone.toml || "$config" != "$(<target/clone.toml)" ]]; then
    printf '%s\n' "$config" >target/clone.toml
fi

shared=${1:?usage: tests/setup/clone.sh FOLDER}
if mkdir -p "$shared" 2>/dev/null && [[ -w "$shared" && -x "$shared" ]]; then
    (cd "$shared" && pwd)
else
    echo "note: $shared can't be written; this clone builds its dependencies for itself, in target/" >&2
    echo "$PWD/target"
fi
