#!/bin/sh
# Installs the Debian packages that the build and downloads need and that are missing: nothing if all are there. `sudo` only when not
# root, `apt-get update` only when an install fails without it. Elsewhere it says what is needed and goes on.
set -eu
packages="libopenblas-dev liblapacke-dev libomp-dev libcurl4 pkg-config git build-essential"

if ! command -v swift > /dev/null; then
    echo "swift is not installed: get 6.2 or newer from https://www.swift.org/install" >&2
    exit 1
fi
if ! command -v dpkg-query > /dev/null || ! command -v apt-get > /dev/null; then
    echo "no apt-get here: the build needs what Debian calls $packages" >&2
    exit 0
fi

missing=
for package in $packages; do
    case $package in
    # Whatever brings the programs will do.
    build-essential) command -v gcc > /dev/null && command -v g++ > /dev/null && continue ;;
    pkg-config | git) command -v "$package" > /dev/null && continue ;;
    esac
    dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
    command -v sudo > /dev/null || { echo "missing, and only root may install them:$missing" >&2; exit 1; }
    sudo=sudo
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get -q "$@" > "$log" 2>&1; }
echo "installing$missing"
# shellcheck disable=SC2086  # one word a package
apt install -y --no-install-recommends $missing || { apt update && apt install -y --no-install-recommends $missing; } || {
    cat "$log" >&2
    echo "could not install$missing" >&2
    exit 1
}
