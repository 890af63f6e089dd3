#!/bin/sh
# Installs Docker Engine (Longshore) on this machine and starts it, as https://get.docker.com does for Docker.
#
#   sh install.sh [--package FILE.deb] [--dry-run]
#
# Where a Debian package lies beside this script, or is named, it is installed; else the programs beside it (as in a release), or
# those of the checkout that it belongs to, are laid out below /usr/local. Nothing is downloaded.
set -eu

package=
dry_run=
while [ $# -gt 0 ]; do
    case "$1" in
        --package) package=${2:?--package needs a file}; shift ;;
        --dry-run) dry_run=1 ;;
        -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) echo "Illegal option $1" >&2; exit 1 ;;
    esac
    shift
done

say() { echo "# $*"; }
fail() { echo "Error: $*" >&2; exit 1; }
run() {
    if [ -n "$dry_run" ]; then echo "$*"; else $as_root "$@"; fi
}
has() { command -v "$1" >/dev/null 2>&1; }

[ "$(uname -s)" = Linux ] || fail "unsupported operating system '$(uname -s)'"
case "$(uname -m)" in
    x86_64 | amd64 | aarch64 | arm64) ;;
    *) fail "unsupported architecture '$(uname -m)'" ;;
esac
as_root=
if [ "$(id -u)" -ne 0 ]; then
    if has sudo; then as_root=sudo; elif has su; then as_root='su -c'; else
        fail "this installer needs the ability to run commands as root. We are unable to find either \"sudo\" or \"su\" available to make this happen."
    fi
fi
if has dockerd && ! dockerd --version 2>/dev/null | grep -q longshore && [ -z "$dry_run" ]; then
    say "Warning: the \"dockerd\" command appears to already exist on this system: $(command -v dockerd)"
    say "Its containers and images are not taken over; press Ctrl+C within 20 seconds to stop."
    sleep 20
fi

here=$(cd "$(dirname "$0")" && pwd)
[ -n "$package" ] || package=$(find "$here" -maxdepth 1 -name 'longshore_*.deb' | sort | tail -1)
if [ -n "$package" ]; then
    has dpkg || fail "$package is a Debian package, and there is no dpkg"
    say "Installing $package"
    case "$package" in /*) ;; *) package=$(pwd)/$package ;; esac
    if has apt-get; then
        run apt-get install -y --no-install-recommends "$package"
    else
        run dpkg -i "$package"
    fi
else
    if [ -x "$here/dockerd" ]; then
        programs=$here stage=$here/stage
    else
        stage=$here/stage
        programs=$(find "$here/../target" -maxdepth 3 -type f -name dockerd -path '*/release/*' 2>/dev/null | head -1)
        [ -n "$programs" ] || fail "no package and no programs to install: run 'make deb' or 'make build' first"
        programs=$(dirname "$programs")
    fi
    say "Installing the programs in $programs below /usr/local"
    getent group docker >/dev/null || run groupadd --system docker
    run env PROGRAMS="$programs" PREFIX=/usr/local "$stage"
    if [ -d /run/systemd/system ]; then
        run systemctl daemon-reload
        run systemctl enable --now docker.socket docker.service
    elif has update-rc.d; then
        run update-rc.d docker defaults
        run service docker start
    elif has chkconfig; then
        run chkconfig --add docker
        run service docker start
    else
        run /etc/init.d/docker start
    fi
fi

[ -n "$dry_run" ] || $as_root docker version || true
cat <<'TEXT'

================================================================================

To run Docker as a non-root user, add the user to the "docker" group:

    usermod -aG docker USER

WARNING: Access to the remote API on a privileged Docker daemon is equivalent
         to root access on the host. Refer to the 'Docker daemon attack surface'
         documentation for details: https://docs.docker.com/go/attack-surface/

================================================================================
TEXT
