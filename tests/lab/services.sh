# Sourced by `lab`: the daemons, the databases' first setting-up, and PID 1 of the namespaces. All of it runs inside.
# shellcheck shell=bash

svc() { # svc NAME cmd... : start a daemon, log to LOG/NAME.log
  local n=$1; shift
  if [ -f "$RUN/pids/$n" ] && kill -0 "$(cat "$RUN/pids/$n")" 2>/dev/null; then return 0; fi
  setsid "$@" < /dev/null > "$LOG/$n.log" 2>&1 &
  echo $! > "$RUN/pids/$n"
}
port() { (exec 3<>"/dev/tcp/$IP/$1") 2>/dev/null; }
waitport() { local n=${2:-300}; while ! port "$1"; do n=$((n-1)); [ $n -le 0 ] && return 1; sleep 0.1; done; }
uw() { # uw NAME PORT wsgi-file processes threads
  svc "$1" env OS_KEYSTONE_CONFIG_FILES=/etc/keystone/keystone.conf OS_PLACEMENT_CONFIG_DIR=/etc/placement uwsgi_python3 --http-socket "$IP:$2" --wsgi-file "$3" --master --processes "$4" --threads "$5" --enable-threads \
     --thunder-lock --buffer-size 65535 --rem-header Content-Length --add-header 'Connection: close' \
     --listen 100 --die-on-term --no-orphans --need-app --socket-timeout 30
}
mysqld() {
  svc mariadb mariadbd --no-defaults --user=root --datadir="$DATA/mysql" --socket="$RUN/mysql.sock" --pid-file="$RUN/mysqld.pid" \
    --bind-address=$IP --port=3306 --skip-name-resolve --skip-log-bin --innodb-flush-log-at-trx-commit=0 --innodb-flush-method=nosync \
    --innodb-doublewrite=0 --innodb-buffer-pool-size=256M --innodb-log-file-size=64M --max-connections=400 --character-set-server=utf8mb3 \
    --collation-server=utf8mb3_general_ci --skip-networking=0 --tmpdir="$RUN/tmp" --lc-messages-dir=/usr/share/mysql --innodb-fast-shutdown=1 \
    --innodb-stats-auto-recalc=0 --innodb-buffer-pool-dump-at-shutdown=0 --innodb-buffer-pool-load-at-startup=0
}
my() { mariadb --no-defaults -uroot --socket="$RUN/mysql.sock" "$@"; }
start_base() {
  mysqld
  rm -rf "$RUN/rabbit"; mkdir -p "$RUN/rabbit/mnesia" "$RUN/rabbit/log"
  printf 'listeners.tcp.1 = 127.0.0.1:5672\nlog.console = true\nlog.console.level = warning\nlog.file = false\nvm_memory_high_watermark.relative = 0.4\ndisk_free_limit.absolute = 50MB\nheartbeat = 0\n' > "$RUN/rabbit/rabbitmq.conf"
  : > "$RUN/rabbit/enabled_plugins"; printf '[].' > "$RUN/rabbit/enabled_plugins"
  svc rabbitmq nice -n -10 env HOME="$RUN/rabbit" RABBITMQ_NODENAME=rabbit@localhost RABBITMQ_MNESIA_BASE="$RUN/rabbit/mnesia" RABBITMQ_LOG_BASE="$RUN/rabbit/log" \
    RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_CONFIG_FILE="$RUN/rabbit/rabbitmq.conf" RABBITMQ_ENABLED_PLUGINS_FILE="$RUN/rabbit/enabled_plugins" \
    RABBITMQ_PID_FILE="$RUN/rabbit/pid" ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_DIST_PORT=25672 \
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}" \
    /usr/lib/rabbitmq/bin/rabbitmq-server
  svc memcached memcached -u root -l $IP -p 11211 -m 128
}
start_jenkins() { # nice: it needs few seconds of CPU, the rest needs many
  [ -e "$RUN/no-jenkins" ] && return 0
  if [ ! -d "$JHOME/jobs" ]; then
    mkdir -p "$JHOME/plugins"; cp -r "$CODE/jenkins/home/." "$JHOME/"; cp "$JDIR"/plugins/*.hpi "$JHOME/plugins/"
  fi
  # for its SSH launcher of 2010 (guest/legacy-sshd.sh lets it in)
  [ -s "$DATA/id_rsa_ci" ] || ssh-keygen -q -t rsa -b 2048 -m PEM -N '' -C ci -f "$DATA/id_rsa_ci"
  local o='' p
  for p in java.base/java.{lang,lang.reflect,lang.ref,util,util.concurrent,util.concurrent.atomic,util.concurrent.locks,io,net,text} \
           java.desktop/java.awt{,.font} java.xml/com.sun.org.apache.xerces.internal.jaxp; do o="$o --add-opens $p=ALL-UNNAMED"; done
  svc jenkins nice -n 5 env HUDSON_HOME="$JHOME" "$LAB_JAVA" -Djava.io.tmpdir="$RUN/tmp" -XX:-UsePerfData -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.awt.headless=true \
    -Dhudson.model.UpdateCenter.never=true -Dhudson.model.DownloadService.never=true -Dhudson.model.UsageStatistics.disabled=true \
    -Dhudson.DNSMultiCast.disabled=true $o -cp "$JDIR:$(echo "$JDIR"/libs/*.jar | tr ' ' :)" \
    Start "$JDIR/hudson.war" --httpPort=$JPORT --httpListenAddress=0.0.0.0 --skipInitSetup
}
start_apis() {
  uw keystone 5000 /usr/bin/keystone-wsgi-public 2 1
  uw placement 8778 /usr/bin/placement-api 1 4
  svc glance $PYS /usr/bin/glance-api --config-file /etc/glance/glance-api.conf
  svc neutron-server $PYS /usr/bin/neutron-server --config-file /etc/neutron/neutron.conf --config-file /etc/neutron/plugins/ml2/ml2_conf.ini
  svc nova-api $PYS /usr/bin/nova-api
  svc nova-conductor $PYS /usr/bin/nova-conductor
  svc nova-scheduler $PYS /usr/bin/nova-scheduler
}
start_agents() {
  svc nova-compute-fake $PYS "$CODE/py/compute-fake.py" --config-file /etc/nova/nova.conf --config-file /etc/nova/compute-fake.conf
  [ "${LAB_FAKE_ONLY:-0}" = 1 ] && return 0
  svc libvirtd libvirtd
  svc neutron-linuxbridge-agent $PYS "$CODE/py/gate.py" neutron.cmd.eventlet.plugins.linuxbridge_neutron_agent q-plugin neutron-linuxbridge-agent --config-file /etc/neutron/neutron.conf --config-file /etc/neutron/plugins/ml2/ml2_conf.ini --config-file /etc/neutron/plugins/ml2/linuxbridge_agent.ini
  svc neutron-dhcp-agent $PYS "$CODE/py/gate.py" neutron.cmd.eventlet.agents.dhcp q-plugin,q-reports-plugin neutron-dhcp-agent --config-file /etc/neutron/neutron.conf --config-file /etc/neutron/dhcp_agent.ini
  svc nova-compute-real $PYS "$CODE/py/gate.py" nova.cmd.compute conductor nova-compute --config-file /etc/nova/nova.conf --config-file /etc/nova/compute-real.conf
}

initdb() { # first time only
  say "init: databases"
  my -e "$(for d in keystone glance placement nova_api nova nova_cell0 neutron; do echo "CREATE DATABASE IF NOT EXISTS $d CHARACTER SET utf8mb3;"; done)
    CREATE OR REPLACE USER os@'$IP' IDENTIFIED BY '$PW'; GRANT ALL ON *.* TO os@'$IP';" || return 1
  mkdir -p "$DATA/glance/images" "$DATA/glance/cache" "$DATA/glance/staging" "$DATA/nova/instances" "$DATA/nova-fake/instances" "$DATA/neutron"
  t() { local n=$1 s=$EPOCHREALTIME; shift; "$@" > "$LOG/init-$n.log" 2>&1 || { say "init: $n FAILED (see $LOG/init-$n.log)"; touch "$RUN/failed"; return 1; }
        say "init: $n $(awk -v a=$s -v b=$EPOCHREALTIME 'BEGIN{printf "%.1f s", b-a}')"; }
  keystone_init() { keystone-manage db_sync && keystone-manage fernet_setup --keystone-user root --keystone-group root &&
    keystone-manage credential_setup --keystone-user root --keystone-group root &&
    keystone-manage bootstrap --bootstrap-password $PW --bootstrap-admin-url http://$IP:5000/v3 --bootstrap-internal-url http://$IP:5000/v3 \
      --bootstrap-public-url http://$IP:5000/v3 --bootstrap-region-id RegionOne; }
  nova_init() { nova-manage api_db sync && nova-manage cell_v2 map_cell0 --database_connection "mysql+pymysql://os:$PW@$IP/nova_cell0?charset=utf8" &&
    nova-manage cell_v2 create_cell --name cell1 && nova-manage db sync; }
  t neutron neutron-db-manage --config-file /etc/neutron/neutron.conf --config-file /etc/neutron/plugins/ml2/ml2_conf.ini upgrade heads & local a=$!
  t nova nova_init & local b=$!
  t keystone keystone_init & local c=$!
  t glance glance-manage db_sync & local d=$!
  t placement placement-manage db sync & local e=$!
  wait $c; [ -e "$RUN/failed" ] && return 1
  uw keystone 5000 /usr/bin/keystone-wsgi-public 2 1
  waitport 5000 && t identity env PYTHONPATH="$CODE/py" $PYS "$CODE/py/identity.py"
  wait $a $b $d $e
  [ ! -e "$RUN/failed" ]
}

__init() { # PID 1 of the namespaces
  trap : TERM INT HUP
  mount --make-rprivate /
  hostname lab
  mount -t sysfs sysfs /sys
  for d in keystone glance placement nova neutron libvirt; do mount --bind "$ETC/$d" "/etc/$d"; done
  for f in hosts resolv.conf nsswitch.conf; do mount --bind "$ETC/$f" "/etc/$f"; done
  # what daemons leave beside their state (sockets, pid files, neutron's namespaces, qemu's logs) stays in here
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir -p /run/libvirt /run/netns /run/lock "$RUN/pids" "$DATA/neutron" "$LOG/libvirt" "$DATA/libvirt/qemu" "$RUN/libvirt-cache"
  mkdir -p /var/log/libvirt /var/cache/libvirt /var/lib/libvirt
  mount --bind "$LOG/libvirt" /var/log/libvirt
  mount --bind "$RUN/libvirt-cache" /var/cache/libvirt
  mount --bind "$DATA/libvirt" /var/lib/libvirt
  rm -rf "$RUN/pids"/*
  sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.disable_ipv6=1 2>/dev/null
  ip link set lo up
  # the "physical" network: a veth pair; the linuxbridge agent puts lab-phy0 into its bridge, lab-gw holds the gateway's address
  ip link add lab-gw type veth peer name lab-phy0 2>/dev/null
  ip addr replace $NET.0.1/16 dev lab-gw; ip link set lab-gw up; ip link set lab-phy0 up
  start_jenkins
  if [ ! -d "$DATA/mysql/mysql" ]; then
    say "init: mariadb-install-db"
    mkdir -p "$DATA/mysql"; mariadb-install-db --no-defaults --user=root --datadir="$DATA/mysql" --auth-root-authentication-method=normal --skip-test-db --innodb-log-file-size=64M > "$LOG/init-mysql.log" 2>&1
    touch "$RUN/need-init"
  fi
  start_base
  for _ in $(seq 600); do [ -S "$RUN/mysql.sock" ] && my -e 'select 1' >/dev/null 2>&1 && break; sleep 0.1; done
  say "mariadb answers"
  if [ -e "$RUN/need-init" ]; then initdb || { touch "$RUN/failed"; }; fi
  [ -e "$RUN/failed" ] || { start_apis; start_agents; touch "$RUN/started"; }
  while :; do sleep 3600 & wait $!; done
}
