#!/bin/bash
# Builds rootfs.tar: bookworm minbase with sshd and sudo; no kernel, no initramfs generator, no bootloader package.
set -euo pipefail
cd "${1:?folder to build in}"
export DEBIAN_FRONTEND=noninteractive
# where this machine's own packages come from, in either of Debian's two forms
sources=/etc/apt/sources.list.d/debian.sources; [ -e "$sources" ] || sources=/etc/apt/sources.list
apt-cache show linux-image-cloud-amd64 > /dev/null 2>&1 || apt-get update -q
mmdebstrap --variant=minbase --mode=root \
  --include=openssh-server,sudo,busybox-static,iproute2,procps,less,netbase \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/i18n/*' \
  --aptopt='APT::Install-Recommends "false"' \
  --customize-hook='rm -rf "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/* "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/etc/apt/apt.conf.d/99mmdebstrap' \
  bookworm rootfs.tar "$sources"
