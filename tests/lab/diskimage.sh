#!/bin/bash
# The scenario `diskimage` of `make e2e`: installs diskimage-builder where it is missing, then runs the program of tests/diskimage
# that is given. Needs root; no lab: its cloud is served on loopback. Nothing stays mounted of what a broken build may leave.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
packages=(qemu-utils sudo e2fsprogs util-linux)
# One of another origin is as good.
command -v disk-image-create > /dev/null || packages+=(python3-diskimage-builder)
missing=()
for p in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
done
install_packages() {
  echo "diskimage: installing ${missing[*]} and what they need" >&2
  # no service may be started by a package
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d
  fi
  apt-get update -q
  apt-get install -q -y --no-install-recommends "${missing[@]}"
}
[ ${#missing[@]} = 0 ] || install_packages
# Where namespaces are refused, mounts are too, and the program says so.
apart=()
! unshare --mount true 2> /dev/null || apart=(unshare --mount)
"${apart[@]}" "$@" --run
