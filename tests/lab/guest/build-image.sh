#!/bin/bash
# rootfs.tar + the kernel's package -> ci-base.qcow2 (unpartitioned ext4 with extlinux in its boot sector)
set -euo pipefail
G=$(cd "${1:?folder that holds rootfs.tar}" && pwd); cd "$G"
# the kernel and busybox, unpacked from Debian's packages
if [ ! -d k ]; then
  kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
  apt-get download -q "$kernel" busybox-static
  dpkg-deb -x "$kernel"_*.deb k; dpkg-deb -x busybox-static_*.deb bb
fi
# a small Java run-time for agents: linked from Debian's JDK inside the root below (so the builder's own Java does not matter)
[ -d j ] || { apt-get download -q openjdk-17-jre-headless openjdk-17-jdk-headless; for d in openjdk-17-*.deb; do dpkg-deb -x "$d" j; done; }
K=$(ls k/boot/vmlinuz-* | sed 's/.*vmlinuz-//')
rm -rf root ird ci-base.raw; mkdir -p root ird
tar -C root -xpf rootfs.tar
# --- initramfs: busybox and the modules of these six, in the order in which they need one another
mkdir -p ird/bin ird/m ird/proc ird/sys ird/dev ird/r; cp bb/bin/busybox ird/bin/
depmod -b "$G/k" "$K"
: > ird/m/list
for m in virtio_pci virtio_blk virtio_net sr_mod ata_piix isofs; do
  modprobe -d "$G/k" -S "$K" --show-depends $m | awk '$1=="insmod"{print $2}'
done | awk '!s[$0]++' > mods.txt
while read -r f; do cp "$f" ird/m/; basename "$f" .ko >> ird/m/list; done < mods.txt
cat > ird/init <<'I'
#!/bin/busybox sh
B=/bin/busybox
$B mount -t devtmpfs dev /dev; $B mount -t proc proc /proc; $B mount -t sysfs sys /sys
for m in $($B cat /m/list); do $B insmod /m/$m.ko; done
n=0; while [ ! -b /dev/vda ] && [ $n -lt 100 ]; do $B usleep 20000; n=$((n+1)); done
$B mount -t ext4 -o rw,noatime /dev/vda /r || exec $B sh
$B mount --move /dev /r/dev; $B mount --move /proc /r/proc; $B mount --move /sys /r/sys
exec $B switch_root /r /sbin/init
I
chmod +x ird/init; (cd ird && find . | cpio -o -H newc --quiet | gzip -9 > ../initrd.gz)
# --- root
R=root
mkdir -p $R/boot/extlinux $R/var/lib/lab $R/etc/lab
cp k/boot/vmlinuz-$K $R/boot/vmlinuz; cp initrd.gz $R/boot/initrd
mkdir -p $R/lib/modules; 
cat > $R/boot/extlinux/extlinux.conf <<'X'
DEFAULT l
PROMPT 0
TIMEOUT 0
LABEL l
 LINUX /boot/vmlinuz
 INITRD /boot/initrd
 APPEND rw console=ttyS0 quiet mitigations=off nopti nokaslr no_timer_check audit=0 net.ifnames=0 random.trust_cpu=on panic=1 8250.nr_uarts=1 i8042.noaux i8042.nokbd
X
rm -f $R/sbin/init; ln -s /bin/busybox $R/sbin/init
for a in reboot poweroff halt shutdown; do rm -f $R/sbin/$a; ln -s /bin/busybox $R/sbin/$a; done; rm -f $R/sbin/shutdown; printf '#!/bin/sh\nexec /sbin/poweroff\n' > $R/sbin/shutdown; chmod +x $R/sbin/shutdown
cat > $R/etc/inittab <<'X'
::sysinit:/etc/lab/boot
::respawn:/usr/sbin/sshd -D -e
::once:/etc/lab/late
::ctrlaltdel:/sbin/reboot
::shutdown:/bin/busybox sync
X
cat > $R/etc/lab/boot <<'X'
#!/bin/busybox sh
# what cloud-init does, in thirty lines: network by DHCP, then host name, keys and user data from the config drive
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
b=/bin/busybox
$b mkdir -p /dev/pts /dev/shm; $b mount -t devpts devpts /dev/pts; $b mount -t tmpfs -o mode=755 tmpfs /run; $b mount -t tmpfs tmpfs /dev/shm
$b mkdir -p /run/sshd /run/lock /run/cd
$b ip link set lo up; $b ip link set eth0 up
$b udhcpc -i eth0 -f -q -n -t 20 -T 1 -A 1 -s /etc/lab/udhcpc >/run/udhcpc.log 2>&1 & dh=$!
for d in /dev/sr0 /dev/vdb /dev/sda; do [ -b $d ] && $b mount -t iso9660 -o ro $d /run/cd 2>/dev/null && break; done
M=/run/cd/openstack/latest/meta_data.json
if [ -r $M ]; then
  id=$($b sed -n 's/.*"uuid": *"\([^"]*\)".*/\1/p' $M); hn=$($b sed -n 's/.*"hostname": *"\([^"]*\)".*/\1/p' $M); hn=${hn%%.*}
  if [ "$id" != "$($b cat /var/lib/lab/instance-id 2>/dev/null)" ]; then
    echo "$hn" > /etc/hostname; printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$hn" > /etc/hosts
    for u in root debian jenkins; do h=$(eval echo ~$u); $b mkdir -p $h/.ssh
      $b grep -oE '(ssh-(rsa|ed25519|dss)|ecdsa-sha2-[a-z0-9-]+) [A-Za-z0-9+/=]+' $M | $b sort -u > $h/.ssh/authorized_keys
      $b chmod 700 $h/.ssh; $b chmod 600 $h/.ssh/authorized_keys; $b chown -R $u:$u $h/.ssh; done
    $b rm -f /etc/ssh/ssh_host_*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
    $b mkdir -p /var/lib/lab; echo "$id" > /var/lib/lab/instance-id; $b cp /run/cd/openstack/latest/user_data /var/lib/lab/user-data 2>/dev/null; : > /run/first-boot
  fi
fi
$b hostname -F /etc/hostname
wait $dh
{ echo "-----BEGIN SSH HOST KEY KEYS-----"; cat /etc/ssh/ssh_host_ed25519_key.pub; echo "-----END SSH HOST KEY KEYS-----"; } > /dev/ttyS0   # as cloud-init says it
$b read_uptime 2>/dev/null; echo "lab-boot done at $($b cut -d' ' -f1 /proc/uptime)" > /dev/ttyS0
X
cat > $R/etc/lab/late <<'X'
#!/bin/sh
resize2fs /dev/vda >/dev/null 2>&1
if [ -e /run/first-boot ] && head -c2 /var/lib/lab/user-data 2>/dev/null | grep -q '#!'; then
  chmod +x /var/lib/lab/user-data; /var/lib/lab/user-data > /var/log/user-data.log 2>&1; echo $? > /var/lib/lab/user-data.rc
fi
X
cat > $R/etc/lab/udhcpc <<'X'
#!/bin/busybox sh
b=/bin/busybox
case $1 in bound|renew) $b ip addr replace $ip/$mask dev $interface; [ -n "$router" ] && $b ip route replace default via ${router%% *} dev $interface
 [ -n "$dns" ] && { : > /etc/resolv.conf; for d in $dns; do echo "nameserver $d" >> /etc/resolv.conf; done; } ;; esac
X
chmod +x $R/etc/lab/*
chroot $R useradd -m -s /bin/bash debian; chroot $R useradd -m -s /bin/bash jenkins
for u in debian jenkins; do chroot $R usermod -p '*' $u; printf '%s ALL=(ALL) NOPASSWD:ALL\n' $u > $R/etc/sudoers.d/$u; chmod 440 $R/etc/sudoers.d/$u; done
chroot $R usermod -p '*' root
cat > $R/etc/ssh/sshd_config <<'X'
HostKey /etc/ssh/ssh_host_ed25519_key
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
X11Forwarding no
PrintMotd no
AcceptEnv LANG LC_*
Subsystem sftp /usr/lib/openssh/sftp-server
X
rm -f $R/etc/ssh/ssh_host_*; echo ci-base > $R/etc/hostname; : > $R/etc/resolv.conf; rm -f $R/etc/machine-id
# --- Java: /usr/lib/jvm/java-17-lab, the whole java.se with its class data archive (start time), half as large as the package
mkdir -p $R/jdk $R/usr/lib/jvm; ln -sfn /jdk/etc/java-17-openjdk $R/etc/java-17-openjdk
unshare --mount --propagation private bash -e <<X
mount --bind j $R/jdk; mount -t proc proc $R/proc
chroot $R /jdk/usr/lib/jvm/java-17-openjdk-amd64/bin/jlink --add-modules java.se,jdk.unsupported,jdk.crypto.ec,jdk.zipfs,jdk.management \
  --strip-java-debug-attributes --no-man-pages --no-header-files --output /usr/lib/jvm/java-17-lab
chroot $R /usr/lib/jvm/java-17-lab/bin/java -Xshare:dump > jsa.log 2>&1
ln -sf /usr/lib/jvm/java-17-lab/bin/java $R/usr/bin/java; chroot $R /usr/bin/java -version
X
rmdir $R/jdk; rm -f $R/etc/java-17-openjdk; rm -rf $R/usr/lib/jvm/java-17-lab/legal
# --- image
truncate -s 640M ci-base.raw
mke2fs -q -t ext4 -O ^64bit,^metadata_csum -J size=4 -m 0 -L root -F ci-base.raw
mkdir -p mnt
# in a mount namespace of its own: whatever goes wrong, nothing stays mounted
unshare --mount --propagation private bash -e <<'X'
mount -o loop ci-base.raw mnt
cp -a root/. mnt/; extlinux --install mnt/boot/extlinux; sync; umount mnt
X
qemu-img convert -f raw -O qcow2 ci-base.raw ci-base.qcow2.new
mv ci-base.qcow2.new ci-base.qcow2
# 1.5 GB that only the build needed
rm -rf root ird mnt k bb j ci-base.raw initrd.gz mods.txt jsa.log rootfs.tar ./*.deb
ls -l ci-base.qcow2
