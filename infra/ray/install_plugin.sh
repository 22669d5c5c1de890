#!/usr/bin/env bash
# Install the plugin by which `aws ssm start-session` opens sessions: install_plugin.sh VERSION SHA256
# Nothing is installed whose checksum is another one. Debian and Ubuntu on x86_64, as root.
set -euo pipefail

version=$1
sha256=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
url=https://s3.amazonaws.com/session-manager-downloads/plugin/$version/ubuntu_64bit/session-manager-plugin.deb
curl --fail --silent --show-error --location --proto '=https' --output "$work/plugin.deb" "$url"
if ! echo "$sha256  $work/plugin.deb" | sha256sum --check --status; then
    echo "install_plugin: $url does not have the SHA-256 $sha256; nothing was installed" >&2
    exit 1
fi
dpkg --install "$work/plugin.deb"
