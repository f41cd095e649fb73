# What `up` and `test` share: finding Python, installing what is missing, the environment. Sourced, never run.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
LOCK=$ROOT/deploy/requirements.lock
export REMIT_HOME=${REMIT_HOME:-$ROOT/var}

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }

# One sentence of what is wrong, one of how to mend it.
fail() {
    printf '\nremit: %s\n' "$1" >&2
    [ -z "${2:-}" ] || printf '       %s\n' "$2" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "Installing needs root, and there is no sudo." "Run as root: $*"
    fi
}

# install DEBIAN-PACKAGE HOMEBREW-FORMULA
install_package() {
    if command -v apt-get >/dev/null; then
        say "Installing $1"
        apt_refresh
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$1" >"$LOG" 2>&1 ||
            fail "Debian's package $1 could not be installed: $(tail -n 1 "$LOG")" "Try 'apt-get install $1' by hand."
    elif command -v brew >/dev/null; then
        say "Installing $2"
        brew install -q "$2" >"$LOG" 2>&1 || fail "Homebrew could not install $2: $(tail -n 1 "$LOG")"
    else
        fail "$1 is missing, and neither apt-get nor brew is here to install it." "Install it and try again."
    fi
}

# The package lists are asked for once a run, and only when something is installed.
apt_refresh() {
    [ -z "${APT_IS_FRESH:-}" ] || return 0
    as_root apt-get update -q >"$LOG" 2>&1 || fail "The package lists could not be fetched: $(tail -n 1 "$LOG")"
    APT_IS_FRESH=1
}

# need COMMAND DEBIAN-PACKAGE HOMEBREW-FORMULA
need() { command -v "$1" >/dev/null || install_package "$2" "$3"; }

find_python() {
    local name
    for name in python3.13 python3.12 python3.11 python3; do
        if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            PYTHON=$(command -v "$name")
            return
        fi
    done
    fail "Python 3.11 or newer is needed and was not found." "Install it: 'apt-get install python3' or 'brew install python'."
}

has_softhsm() {
    PYTHONPATH=$ROOT "$PYTHON" -c 'from softhsm.locate import find_module; find_module()' 2>/dev/null
}

make_environment() {
    local stamp=$VENV/remit.stamp wanted
    wanted=$(cat "$LOCK" "$ROOT/pyproject.toml" | cksum)" $("$PYTHON" --version)"
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && return
    say "Making the environment in .venv (half a minute)"
    "$PYTHON" -c 'import ensurepip' 2>/dev/null || install_package python3-venv python
    "$PYTHON" -m venv --clear "$VENV" >"$LOG" 2>&1 || fail "The virtual environment could not be made: $(tail -n 1 "$LOG")"
    "$VENV/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r "$LOCK" >"$LOG" 2>&1 ||
        fail "The locked packages could not be installed: $(tail -n 1 "$LOG")" "Is the package index reachable?"
    "$VENV/bin/python" -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e "$ROOT" >"$LOG" 2>&1 ||
        fail "Remit itself could not be installed: $(tail -n 1 "$LOG")"
    printf '%s' "$wanted" >"$stamp"
}

set_up() {
    LOG=$(mktemp)
    trap 'rm -f "$LOG"' EXIT
    find_python
    need openssl openssl openssl@3
    has_softhsm || install_package softhsm2 softhsm
    make_environment
    PATH=$VENV/bin:$PATH
}
