#!/bin/bash
# Installs Debian's packages that the lab is made of, and fetches the CI server's war by Maven. Needs root; starts no service;
# does nothing when all of it is there.
set -euo pipefail
HERE=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
J=${LAB_DIR:-/var/lib/poolkeeper-lab}/jenkins
java=${LAB_JAVA:-$(command -v java || echo /usr/bin/java)} mvn=${LAB_MVN:-$(command -v mvn || echo /usr/bin/mvn)}
export DEBIAN_FRONTEND=noninteractive

packages=(mariadb-server rabbitmq-server memcached
  keystone glance placement-api
  nova-api nova-conductor nova-scheduler nova-compute nova-compute-kvm
  neutron-server neutron-linuxbridge-agent neutron-dhcp-agent neutron-metadata-agent
  python3-openstackclient libvirt-daemon-system libvirt-clients
  qemu-system-x86 qemu-utils uwsgi-core uwsgi-plugin-python3
  mmdebstrap genisoimage extlinux e2fsprogs kmod cpio iproute2 procps)
# A Java, Maven, curl and ssh of another origin are as good.
[ -x "$java" ] || packages+=(openjdk-17-jre-headless)
[ -x "$mvn" ] || packages+=(maven)
command -v curl > /dev/null || packages+=(curl)
command -v ssh > /dev/null || packages+=(openssh-client)
missing=()
for p in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
done

install_packages() {
  # linuxbridge, which needs no kernel module, left Neutron after Zed: Debian 12 has the last that fits
  grep -q '^VERSION_CODENAME=bookworm' /etc/os-release || { echo "lab install: needs Debian 12 (bookworm)" >&2; exit 1; }
  echo "lab install: installing ${#missing[@]} packages and what they need (about 1.5 GB): ${missing[*]}" >&2
  # no service may be started by a package
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d
  fi
  debconf-set-selections <<'D'
keystone keystone/configure_db boolean false
keystone keystone/create-admin-tenant boolean false
keystone keystone/register-endpoint boolean false
keystone keystone/dbconfig-install boolean false
glance-common glance/configure_db boolean false
glance-api glance/register-endpoint boolean false
glance-common glance-common/dbconfig-install boolean false
placement-api placement/register-endpoint boolean false
placement-common placement/configure_db boolean false
placement-common placement-common/dbconfig-install boolean false
nova-common nova/configure_db boolean false
nova-common nova-common/dbconfig-install boolean false
nova-api nova/register-endpoint boolean false
neutron-common neutron/configure_db boolean false
neutron-common neutron-common/dbconfig-install boolean false
neutron-api neutron/register-endpoint boolean false
dbconfig-common dbconfig-common/dbconfig-install boolean false
D
  apt-get update -q
  apt-get install -q -y --no-install-recommends "${missing[@]}"
}
[ ${#missing[@]} = 0 ] || install_packages

# the CI server: Hudson 3.3.2, the last release of the code base that Jenkins was forked from, and its SSH launcher
mkdir -p "$J/plugins"
artifact() { # coordinates, file
  [ -s "$2" ] && return 0
  rm -rf "$J/get"; mkdir -p "$J/get"
  "$mvn" -q -B -Dstyle.color=never org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy -Dartifact="$1" -DoutputDirectory="$J/get" -Dmdep.overWriteReleases=true
  mv "$J"/get/* "$2"; rmdir "$J/get"
}
artifact org.eclipse.hudson:hudson-war:3.3.2:war "$J/original.war"
artifact org.jvnet.hudson.plugins:ssh-slaves:0.14:hpi "$J/ssh-slaves.hpi"
# two libraries that were in the core when the plugin was made, and are not any more
artifact org.jvnet.hudson:trilead-ssh2:build212-hudson-6:jar "$J/trilead-ssh2.jar"
artifact org.kohsuke:trilead-putty-extension:1.0:jar "$J/trilead-putty-extension.jar"
if [ ! -s "$J/plugins/ssh-slaves.hpi" ]; then
  /usr/bin/python3 - "$J" <<'P'
import shutil, sys, zipfile
j = sys.argv[1]; n = f'{j}/plugins/ssh-slaves.hpi'
shutil.copy(f'{j}/ssh-slaves.hpi', n + '.new')
with zipfile.ZipFile(n + '.new', 'a') as z:
    for f in ('trilead-ssh2.jar', 'trilead-putty-extension.jar'): z.write(f'{j}/{f}', 'WEB-INF/lib/' + f)
shutil.move(n + '.new', n)
P
fi
# started by our own class (its Main refuses Java 9 and newer), with its crumb filter switched on
made_from=$(cat "$HERE"/jenkins/*.java "$HERE/jenkins/war.py" | sha256sum)
if [ "$(cat "$J/made-from" 2>/dev/null)" != "$made_from" ] || [ ! -s "$J/hudson.war" ]; then
  /usr/bin/python3 "$HERE/jenkins/war.py" unpack "$J"
  # the compiler is a module of Debian's run-time too: no JDK needed
  "$java" -m jdk.compiler/com.sun.tools.javac.Main -nowarn -cp "$(echo "$J"/libs/*.jar | tr ' ' :)" -d "$J/classes" "$HERE"/jenkins/*.java
  /usr/bin/python3 "$HERE/jenkins/war.py" pack "$J"
  mv "$J/classes/Start.class" "$J/"
  echo "$made_from" > "$J/made-from"
fi
