#!/usr/bin/env bash
# Makes sure that this machine has what a build needs: the pinned Rust toolchain with the target wasm32-wasip2, a C and C++ compiler, cmake,
# libclang; Node.js with npm, for tasks in JavaScript; and what the tests need: ZooKeeper's jar with a log, and a Java that runs it. Installs what
# is missing where that is possible; prints the command and fails where it is not. Does nothing, and needs no network, where nothing is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

run() {
    printf 'setup: %s\n' "$*" >&2
    "$@"
}

has_libclang() {
    local file
    for file in "${LIBCLANG_PATH:-/nowhere}"{,/libclang*.so*} /usr/{lib,lib64,local/lib}/{,*/,llvm*/lib/}libclang{,-[0-9]*}.so*; do
        if [[ -f "$file" ]]; then
            return 0
        fi
    done
    return 1
}

packages() {
    local missing=() install
    if ! command -v cc >/dev/null || ! command -v c++ >/dev/null; then
        missing+=(build-essential)
    fi
    if ! command -v cmake >/dev/null; then
        missing+=(cmake)
    fi
    if ! command -v clang >/dev/null; then
        missing+=(clang)
    fi
    if ! has_libclang; then
        missing+=(libclang-dev)
    fi
    if ! command -v node >/dev/null; then
        missing+=(nodejs)
    fi
    if ! command -v npm >/dev/null; then
        missing+=(npm)
    fi
    # The tests start a server of their own from this jar; none is installed as a service.
    if [[ ! -f /usr/share/java/zookeeper.jar ]]; then
        missing+=(libzookeeper-java)
    fi
    if [[ ! -f /usr/share/java/slf4j-simple.jar ]]; then
        missing+=(libslf4j-java)
    fi
    if ! command -v java >/dev/null; then
        missing+=(default-jre-headless)
    fi
    if ((${#missing[@]} == 0)); then
        return
    fi
    if ! command -v apt-get >/dev/null; then
        fail "missing: ${missing[*]} (names of Debian); install them with the package manager of this machine"
    fi
    install=(env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}")
    if ((EUID == 0)); then
        run apt-get update --quiet
        run "${install[@]}"
    elif command -v sudo >/dev/null && sudo --non-interactive true 2>/dev/null; then
        run sudo apt-get update --quiet
        run sudo "${install[@]}"
    else
        fail "missing: ${missing[*]}; install them with" "    sudo apt-get update && sudo apt-get install --yes ${missing[*]}"
    fi
}

# What apt-get has may be too old for the compiler of JavaScript.
node_version() {
    local least found
    least=$(sed -n 's/^ *"node": ">=\([0-9]*\)"$/\1/p' plugins/js/package.json)
    found=$(node --version)
    found=${found#v}
    if ((${found%%.*} < least)); then
        fail "node is $found, needed is $least or later; install it from https://nodejs.org/en/download"
    fi
}

rust() {
    local channel sysroot tool
    channel=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
    if ! command -v rustup >/dev/null; then
        fail "missing: rustup; install it with" \
            "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --default-toolchain none"
    fi
    if ! sysroot=$(RUSTUP_AUTO_INSTALL=0 rustc "+$channel" --print sysroot 2>/dev/null); then
        run rustup toolchain install "$channel" --profile minimal --component clippy --component rustfmt --target wasm32-wasip2
        sysroot=$(rustc "+$channel" --print sysroot)
    fi
    for tool in clippy:clippy-driver rustfmt:rustfmt; do
        if [[ ! -x "$sysroot/bin/${tool#*:}" ]]; then
            run rustup component add --toolchain "$channel" "${tool%:*}"
        fi
    done
    if [[ ! -d "$sysroot/lib/rustlib/wasm32-wasip2/lib" ]]; then
        run rustup target add --toolchain "$channel" wasm32-wasip2
    fi
}

packages
node_version
rust
