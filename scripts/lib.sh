# Sourced by the other scripts: where things are, and how Debian's packages are fetched.
# shellcheck shell=bash
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # used by the scripts that source this file
toolbox=$root/target/toolbox

export LC_ALL=C.UTF-8
export CARGO_TARGET_DIR=$root/target
# debootstrap is in an administrator's directory; rustup installs for one user.
export PATH=$PATH:/usr/sbin:/sbin:${HOME:-/root}/.cargo/bin
# A make or shim above this script must not lend its pool to what is measured here.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES LD_PRELOAD

# Nor descriptors that were left open above: by those that it has, a host is judged.
for fd in /proc/self/fd/*; do
    fd=${fd##*/}
    # 255 is where bash reads this script.
    [ "$fd" -lt 3 ] || [ "$fd" -eq 255 ] || eval "exec $fd>&-"
done

say() { echo "${0##*/}: $*" >&2; }
die() { say "$@"; exit 1; }

codename() { sed -nE 's/^VERSION_CODENAME="?([^"]*)"?$/\1/p' /etc/os-release; }

# The URL that this machine's own apt sources use for Debian: the mirror that works here.
# apt itself prints it, because sources come in two formats and from several files.
debian_mirror() {
    local urls
    urls=$(apt-get -o Debug::NoLocking=1 --print-uris update |
        sed -nE "s,^'(.*)/dists/($(codename)|stable|oldstable)/InRelease'.*,\1,p")
    [ -n "$urls" ] || die "no apt source for the suite '$(codename)' on this machine"
    echo "${urls%%$'\n'*}"
}

# The keyring named by the source entry of that mirror, as an option for a one-line entry.
# Where none is named, apt's default keys apply, and nothing is to be said.
signed_by() {
    local mirror=$1 files keyring=
    files=$(grep -rlF --include='*.list' --include='*.sources' "$mirror" /etc/apt || true)
    [ -z "$files" ] || keyring=$(xargs -d '\n' grep -ihoE '^Signed-By: */[^ ]+|signed-by=/[^] ]+' <<<"$files" || true)
    keyring=${keyring%%$'\n'*}
    [ -z "$keyring" ] || echo "[signed-by=/${keyring#*/}]"
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# install_packages PACKAGE...: those that are missing.
install_packages() {
    [ $# -gt 0 ] || return 0
    local out tries=0
    say "installing $*"
    # apt waits for another one's dpkg lock, but not for its package lists.
    until out=$(as_root apt-get -qq update 2>&1); do
        [[ $out = *"get lock"* && $((tries += 1)) -le 60 ]] || die "apt-get update failed: $out"
        sleep 5
    done
    out=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 install "$@" 2>&1) ||
        die "apt-get install failed: $out"
}

# need_packages PACKAGE...: installs those that are not.
need_packages() {
    local package missing=()
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    install_packages "${missing[@]}"
}

cargo_version() { cargo --version 2>/dev/null | cut -d' ' -f2; }

check_rust() {
    local need have
    need=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    have=$(cargo_version || true)
    dpkg --compare-versions "${have:-0}" ge "$need" || die "cargo $need or later is needed, found ${have:-none}.
    Debian 12 and 13 have it in their security updates: 'apt-get install cargo-web'. With rustup:
    'rustup update stable'; it is to be had by the installer from https://rustup.rs."
}

# private_apt DIR: a state of its own for apt in DIR, and DIR/apt.conf that names it: the machine's sources stay as they
# are, and no other apt-get is in the way. What is downloaded goes to DIR/source.
private_apt() {
    local tmp=$1
    rm -rf "$tmp"
    mkdir -p "$tmp"/state/lists/partial "$tmp"/cache/archives/partial "$tmp"/source
    # The hooks of the machine's apt would clean up behind an apt-get that runs elsewhere; and
    # apt's unprivileged user need not be able to read this directory.
    cat >"$tmp/apt.conf" <<-CONF
		Dir::State "$tmp/state";
		Dir::Cache "$tmp/cache";
		Acquire::Languages "none";
		Acquire::Retries "3";
		APT::Sandbox::User "root";
		#clear APT::Update::Pre-Invoke;
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
	CONF
}

# download_source SUITE PACKAGE DIR: puts the files of Debian's source package into DIR/source, and makes DIR.
# apt checks them against the suite's signature.
download_source() {
    local suite=$1 package=$2 tmp=$3 mirror
    mirror=$(debian_mirror)
    private_apt "$tmp"
    echo "deb-src $(signed_by "$mirror") $mirror $suite main" >"$tmp/sources.list"
    cat >>"$tmp/apt.conf" <<-CONF
		Dir::Etc::sourcelist "$tmp/sources.list";
		Dir::Etc::sourceparts "-";
	CONF
    say "fetching the source of $package ($suite)"
    (
        cd "$tmp/source"
        apt-get -qq -c="$tmp/apt.conf" update
        apt-get -qq -c="$tmp/apt.conf" --download-only source "$package"
    )
}

# fetch_source SUITE PACKAGE DIR: unpacks Debian's source package into DIR, which must not exist.
fetch_source() {
    local dir=$3 tmp=$3.fetch
    download_source "$1" "$2" "$tmp"
    # No second check: the uploader's key is not on every machine, the suite's is.
    (cd "$tmp/source" && dpkg-source --no-check -q -x ./*.dsc "$tmp/tree")
    mv "$tmp/tree" "$dir"
    rm -rf "$tmp"
}
