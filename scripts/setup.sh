#!/usr/bin/env bash
# Make .venv from constraints.txt, and the system libraries that mediapipe and OpenCV load.
# Done already? Then it only looks at one stamp file. PYTHON=... picks the interpreter.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."

venv=.venv
stamp=$venv/.lia-live-setup

# Library that is loaded -> Debian package that holds it.
libraries=(libGL.so.1:libgl1 libgthread-2.0.so.0:libglib2.0-0)

say() { printf 'set-up: %s\n' "$*"; }
fail() { printf 'set-up: %s\n' "$*" >&2; exit 1; }

# What the environment was made of: a change of any of it makes set-up run again.
fingerprint() { { cat pyproject.toml constraints.txt scripts/setup.sh; pwd; } | cksum; }

suits() { [[ $("$1" -c 'import sys; print("Python", *sys.version_info[:2])' 2>/dev/null) =~ ^Python\ 3\ 1[12]$ ]]; }

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3.12 python3 python; do
        if suits "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    fail "Python 3.11 or 3.12 is needed and neither was found; install one, or name it: PYTHON=/path make"
}

missing_packages() {
    local python=$1 entry
    for entry in "${libraries[@]}"; do
        "$python" -c "import ctypes; ctypes.CDLL('${entry%%:*}')" 2>/dev/null || echo "${entry##*:}"
    done
    # the tests open the page in a real browser
    command -v chromium chromium-browser google-chrome >/dev/null || echo chromium
    "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "$("$python" -c \
        'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
}

install_system_packages() {
    local python=$1 missing
    [ "$(uname -s)" = Linux ] || return 0
    missing=$(missing_packages "$python" | paste -sd ' ' -)
    [ -n "$missing" ] || return 0

    command -v apt-get >/dev/null || fail "system packages are missing, by Debian's names: $missing"
    local become=()
    if [ "$(id -u)" != 0 ]; then
        become=(sudo -n)
        sudo -n true 2>/dev/null || fail "system packages are missing; run: sudo apt-get install $missing"
    fi
    say "installing $missing"
    # shellcheck disable=SC2086  # one word a package
    { ${become[@]+"${become[@]}"} apt-get update -qq &&
        ${become[@]+"${become[@]}"} env DEBIAN_FRONTEND=noninteractive \
            apt-get install -qq -y --no-install-recommends $missing; } >/dev/null ||
        fail "apt-get could not install them; run: sudo apt-get install $missing"
}

make_environment() {
    local python=$1
    # One made by another Python, or moved here from elsewhere, is made anew.
    if ! suits "$venv/bin/python" ||
        [ "$("$venv/bin/python" -c 'import sys; print(sys.prefix)')" != "$PWD/$venv" ] ||
        ! grep -qsF "$PWD/$venv" "$venv/bin/pip"; then
        "$python" -m venv --clear "$venv"
    fi
    local pip=("$venv/bin/python" -m pip --disable-pip-version-check -qq install -c constraints.txt)
    "${pip[@]}" pip setuptools
    "${pip[@]}" --no-build-isolation -e ".[dev,openvino,train]"
    # server/ under the name it is imported by, where the type checker looks (pyproject, mypy_path).
    mkdir -p "$venv/mapped"
    ln -sfn ../../server "$venv/mapped/lia_live_server"
}

now=$(fingerprint)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$now" ] && [ -x "$venv/bin/python" ]; then
    exit 0
fi
began=$SECONDS
rm -f "$stamp"
python=$(find_python)
install_system_packages "$python"
say "making $venv with $("$python" --version); the first time takes some minutes"
make_environment "$python"
printf '%s\n' "$now" >"$stamp"
say "ready in $((SECONDS - began)) s"
