#!/bin/sh
# User data for a server that Hudson's own SSH launcher is to reach: a second sshd, on port 2222, that speaks what SSH clients
# of 2010 speak (SHA-1, RSA). Replace @KEY@ by the public key in data/id_rsa_ci.pub.
ssh-keygen -q -t rsa -b 2048 -N '' -f /etc/ssh/legacy_rsa
cat > /etc/ssh/sshd_legacy <<X
Port 2222
HostKey /etc/ssh/legacy_rsa
PidFile none
UsePAM no
UseDNS no
PasswordAuthentication no
HostKeyAlgorithms +ssh-rsa
PubkeyAcceptedAlgorithms +ssh-rsa
KexAlgorithms +diffie-hellman-group14-sha1
MACs +hmac-sha1
Ciphers +aes128-cbc
Subsystem sftp /usr/lib/openssh/sftp-server
X
for home in /root /home/jenkins /home/debian; do echo "@KEY@" >> "$home/.ssh/authorized_keys"; done
exec setsid /usr/sbin/sshd -f /etc/ssh/sshd_legacy < /dev/null > /var/log/sshd-legacy.log 2>&1
