# What `up` and `test` share: saying what happens, installing what is missing, the environment. Sourced, never run.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
LOCK=$ROOT/deploy/requirements.lock
LOG=$(mktemp)
TICKER=''

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }

# fail WHAT-IS-WRONG [THE-MEND]
fail() {
    printf '\nremit: %s\n' "$1" >&2
    [ -z "${2:-}" ] || printf '       %s\n' "$2" >&2
    exit 1
}

last_words() { grep -v '^ *$' "$LOG" | tail -n 1; }

tidy() {
    [ -z "$TICKER" ] || kill "$TICKER" 2>/dev/null || true
    TICKER=''
    rm -f "$LOG"
}
trap tidy EXIT

# under_way WORDS COMMAND...: runs the command, its output going to $LOG, and counts the seconds that it takes.
under_way() {
    local began=$SECONDS status=0
    say "$1"
    shift
    if [ -t 1 ]; then
        while sleep 1 && kill -0 $$ 2>/dev/null; do printf '\r    %d s' $((SECONDS - began)); done &
        TICKER=$!
    fi
    "$@" >"$LOG" 2>&1 </dev/null || status=$?
    if [ -n "$TICKER" ]; then
        kill "$TICKER" 2>/dev/null || true
        wait "$TICKER" 2>/dev/null || true
        TICKER=''
        printf '\r%12s\r' ''
    fi
    return "$status"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 "$@"; }

# A new machine has no package lists, and old ones name files that are gone: only then are they fetched.
apt_install() {
    apt_get install -y --no-install-recommends "$1" && return
    apt_get update && apt_get install -y --no-install-recommends "$1"
}

# install_package DEBIAN-PACKAGE HOMEBREW-FORMULA
install_package() {
    if command -v apt-get >/dev/null; then
        if [ "$(id -u)" -ne 0 ]; then
            command -v sudo >/dev/null || fail "Installing $1 needs root, and there is no sudo." "Run as root: apt-get install $1"
            say "Installing $1 needs root; sudo may ask for your password"
            sudo -v || fail "sudo refused." "Run as root: apt-get install $1"
        fi
        under_way "Installing Debian's package $1" apt_install "$1" ||
            fail "Debian's package $1 could not be installed: $(last_words)" "Run by hand: apt-get update && apt-get install $1"
    elif command -v brew >/dev/null; then
        under_way "Installing Homebrew's $2" brew install -q "$2" ||
            fail "Homebrew could not install $2: $(last_words)" "Run by hand: brew install $2"
    else
        fail "$1 is missing, and neither apt-get nor brew is here to install it." "Install it and try again."
    fi
    hash -r
}

find_python() {
    local name
    for name in python3.13 python3.12 python3.11 python3; do
        # A name alone proves nothing: version managers put up names of versions that are not there.
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            PYTHON=$(command -v "$name")
            return
        fi
    done
    fail "Python 3.11 or newer is needed and was not found." "Run: apt-get install python3 (Debian 12, Ubuntu 24.04 or later), or brew install python"
}

# What macOS calls openssl is LibreSSL, and Homebrew keeps the real one out of the way.
find_openssl() {
    local each
    for each in openssl /opt/homebrew/opt/openssl@3/bin/openssl /usr/local/opt/openssl@3/bin/openssl; do
        case $("$each" version 2>/dev/null) in
            'OpenSSL '[3-9]*)
                PATH=$(dirname "$(command -v "$each")"):$PATH
                return
                ;;
        esac
    done
    return 1
}

has_softhsm() { python -c 'from softhsm.locate import find_module; find_module()' 2>/dev/null; }

# What the environment is made from, and which Python it runs: another answer than the stamp's, and it is made anew.
environment_now() {
    cat "$LOCK" "$ROOT/pyproject.toml" | cksum
    echo "$ROOT"
    "$VENV/bin/python" --version
}

make_environment() {
    local stamp=$VENV/remit.stamp
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(environment_now 2>&1)" ] && return
    find_python
    # Debian ships the module without what it needs.
    "$PYTHON" -c 'import ensurepip' 2>/dev/null ||
        install_package "$("$PYTHON" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" python
    under_way "Making the environment in .venv" "$PYTHON" -m venv --clear "$VENV" ||
        fail "The virtual environment could not be made: $(last_words)" "Look at $VENV and at 'df -h'."
    # The lock is complete and has a hash for every file, so nothing is resolved; what is used is compiled at first use.
    under_way "Installing the locked packages (half a minute)" "$VENV/bin/python" -m pip install \
        --disable-pip-version-check --no-compile --no-deps --require-hashes -r "$LOCK" ||
        fail "The locked packages could not be installed: $(last_words)" "Is the package index that pip uses reachable?"
    under_way "Installing Remit from this checkout" "$VENV/bin/python" -m pip install \
        --disable-pip-version-check --no-deps --no-build-isolation -e "$ROOT" ||
        fail "Remit itself could not be installed: $(last_words)"
    environment_now >"$stamp"
}

set_up() {
    find_openssl || { install_package openssl openssl@3 && find_openssl; } ||
        fail "OpenSSL 3 is needed and was not found." "Run: apt-get install openssl, or brew install openssl@3"
    make_environment
    PATH=$VENV/bin:$PATH
    # Whoever named another module needs no SoftHSM.
    [ -n "${REMIT_PKCS11__MODULE:-}" ] || has_softhsm || { install_package softhsm2 softhsm && has_softhsm; } ||
        fail "SoftHSM was installed, but its module is not where it is looked for." "Name it with REMIT_PKCS11__MODULE."
}
