# Sourced by `lab`: writes each service's configuration below $ETC. Only what is not the default; the reasons stand in docs/lab.md.
# shellcheck shell=bash

config() {
  mkdir -p "$ETC" "$DATA" "$RUN" "$LOG" "$RUN/lock"
  for d in keystone glance placement nova neutron libvirt; do mkdir -p "$ETC/$d"; cp -a "/etc/$d/." "$ETC/$d/"; done
  # keystone_authtoken for every API
  authtoken() { cat <<EOF
[keystone_authtoken]
www_authenticate_uri = http://$IP:5000
auth_url = http://$IP:5000
auth_type = password
username = service
password = $PW
project_name = service
user_domain_name = Default
project_domain_name = Default
memcached_servers = $IP:11211
service_token_roles_required = true
service_token_roles = service
EOF
  }
  auth() { cat <<EOF
[$1]
auth_url = http://$IP:5000
auth_type = password
username = service
password = $PW
project_name = service
user_domain_name = Default
project_domain_name = Default
region_name = RegionOne
${2:-}
EOF
  }
  db() { cat <<EOF
[$1]
connection = mysql+pymysql://os:$PW@$IP/$2?charset=utf8
max_retries = -1
retry_interval = 1
max_pool_size = 10
EOF
  }
  rabbit() { cat <<EOF
[oslo_messaging_rabbit]
kombu_reconnect_delay = 0.2
rabbit_retry_interval = 1
rabbit_retry_backoff = 0
rabbit_interval_max = 1
heartbeat_timeout_threshold = 0
[oslo_messaging_notifications]
driver = noop
[oslo_concurrency]
lock_path = $RUN/lock
[oslo_policy]
enforce_scope = false
enforce_new_defaults = false
EOF
  }
  TRANSPORT="transport_url = rabbit://guest:guest@$IP:5672/"

  cat > "$ETC/keystone/keystone.conf" <<EOF
[DEFAULT]
public_endpoint = http://$IP:5000
log_dir =
use_stderr = true
$(db database keystone)
[token]
provider = fernet
expiration = ${LAB_TOKEN_TTL:-3600}
[fernet_tokens]
key_repository = $DATA/fernet
[fernet_receipts]
key_repository = $DATA/fernet
[credential]
key_repository = $DATA/credential
[identity]
password_hash_rounds = 4
[cache]
enabled = true
backend = dogpile.cache.memcached
memcache_servers = $IP:11211
EOF

  cat > "$ETC/placement/placement.conf" <<EOF
[DEFAULT]
use_stderr = true
log_file =
$(db placement_database placement)
[api]
auth_strategy = keystone
$(authtoken)
EOF

  cat > "$ETC/glance/glance-api.conf" <<EOF
[DEFAULT]
bind_host = $IP
bind_port = 9292
workers = 1
use_stderr = true
log_file =
public_endpoint = http://$IP:9292
limit_param_default = 25
api_limit_max = 1000
image_cache_dir = $DATA/glance/cache
node_staging_uri = file://$DATA/glance/staging
$TRANSPORT
$(db database glance)
[glance_store]
stores = file
default_store = file
filesystem_store_datadir = $DATA/glance/images
[paste_deploy]
flavor = keystone
config_file = /etc/glance/glance-api-paste.ini
$(authtoken)
$(rabbit)
EOF

  cat > "$ETC/nova/nova.conf" <<EOF
[DEFAULT]
my_ip = $IP
state_path = $DATA/nova
use_stderr = true
log_file =
log_dir =
$TRANSPORT
rpc_response_timeout = 60
enabled_apis = osapi_compute
osapi_compute_listen = $IP
osapi_compute_workers = 1
report_interval = 10
service_down_time = 60
force_config_drive = true
mkisofs_cmd = genisoimage
vif_plugging_timeout = 20
vif_plugging_is_fatal = false
cpu_allocation_ratio = 64.0
ram_allocation_ratio = 2.0
disk_allocation_ratio = 100.0
reserved_host_memory_mb = 0
default_access_ip_network_name =
allow_resize_to_same_host = true
block_device_allocate_retries = 3
sync_power_state_interval = 30
running_deleted_instance_action = reap
running_deleted_instance_poll_interval = 60
resume_guests_state_on_host_boot = false
shutdown_timeout = 3
heal_instance_info_cache_interval = 0
max_concurrent_builds = 10
max_concurrent_snapshots = 5
[api]
auth_strategy = keystone
max_limit = 1000
list_records_by_skipping_down_cells = true
$(db api_database nova_api)
$(db database nova)
$(authtoken)
$(auth service_user "send_service_user_token = true")
$(auth placement)
$(auth neutron "service_metadata_proxy = false
default_floating_pool = public")
$(auth cinder)
[glance]
api_servers = http://$IP:9292
num_retries = 1
[conductor]
workers = 1
[scheduler]
workers = 1
query_placement_for_availability_zone = true
[filter_scheduler]
enabled_filters = ComputeFilter,ComputeCapabilitiesFilter,ImagePropertiesFilter,AggregateInstanceExtraSpecsFilter
[libvirt]
virt_type = ${LAB_VIRT:-qemu}
cpu_mode = none
images_type = qcow2
snapshot_image_format = qcow2
inject_partition = -2
use_virtio_for_bridges = true
wait_soft_reboot_seconds = 3
live_migration_uri =
rng_dev_path = /dev/urandom
[vnc]
enabled = false
[spice]
enabled = false
[image_cache]
manager_interval = 2400
[os_vif_linux_bridge]
use_ipv6 = false
[cache]
enabled = true
backend = dogpile.cache.memcached
memcache_servers = $IP:11211
[workarounds]
disable_libvirt_livesnapshot = false
skip_cpu_compare_on_dest = true
skip_hypervisor_version_check_on_lm = true
[privsep]
helper_command = privsep-helper
$(rabbit)
EOF
  cat > "$ETC/nova/compute-real.conf" <<EOF
[DEFAULT]
host = lab-real
compute_driver = libvirt.LibvirtDriver
instances_path = $DATA/nova/instances
EOF
  cat > "$ETC/nova/compute-fake.conf" <<EOF
[DEFAULT]
host = lab-fake
compute_driver = labfake.LabFakeDriver
state_path = $DATA/nova-fake
instances_path = $DATA/nova-fake/instances
cpu_allocation_ratio = 16.0
sync_power_state_interval = -1
EOF
  : > "$ETC/nova/nova-compute.conf"

  cat > "$ETC/neutron/neutron.conf" <<EOF
[DEFAULT]
host = lab-real
state_path = $DATA/neutron
use_stderr = true
log_file =
log_dir =
$TRANSPORT
auth_strategy = keystone
core_plugin = ml2
service_plugins = router
bind_host = $IP
bind_port = 9696
api_workers = 2
rpc_workers = 1
rpc_state_report_workers = 0
metadata_workers = 0
notify_nova_on_port_status_changes = true
notify_nova_on_port_data_changes = true
send_events_interval = 0
agent_down_time = 75
dhcp_agents_per_network = 1
dhcp_lease_duration = 86400
allow_automatic_dhcp_failover = false
global_physnet_mtu = 1500
interface_driver = linuxbridge
max_fixed_ips_per_port = 5
dns_domain = lab.
[agent]
root_helper =
report_interval = 20
[experimental]
linuxbridge = true
[privsep]
helper_command = privsep-helper
$(db database neutron)
$(authtoken)
$(auth nova)
$(auth placement)
$(rabbit)
[quotas]
quota_driver = neutron.db.quota.driver_null.DbQuotaDriverNull
default_quota = -1
quota_network = -1
quota_subnet = -1
quota_port = -1
quota_router = -1
quota_floatingip = 50
quota_security_group = -1
quota_security_group_rule = -1
EOF
  cat > "$ETC/neutron/plugins/ml2/ml2_conf.ini" <<EOF
[ml2]
type_drivers = flat,vxlan,local
tenant_network_types = local
mechanism_drivers = linuxbridge
extension_drivers = port_security
[ml2_type_flat]
flat_networks = physnet1
[ml2_type_vxlan]
vni_ranges = 100:200
[securitygroup]
enable_security_group = true
EOF
  cat > "$ETC/neutron/plugins/ml2/linuxbridge_agent.ini" <<EOF
[linux_bridge]
physical_interface_mappings = physnet1:lab-phy0
[vxlan]
enable_vxlan = false
[agent]
polling_interval = 1
[securitygroup]
enable_security_group = ${LAB_FIREWALL:-false}
firewall_driver = $([ "${LAB_FIREWALL:-false}" = true ] && echo iptables || echo noop)
EOF
  cat > "$ETC/neutron/dhcp_agent.ini" <<EOF
[DEFAULT]
interface_driver = linuxbridge
enable_isolated_metadata = false
enable_metadata_network = false
resync_interval = 5
num_sync_threads = 4
resync_throttle = 1
bulk_reload_interval = 0
dnsmasq_local_resolv = false
EOF
  # libvirt: root, no security driver, no cgroups, no namespaces, no virtlogd
  cat > "$ETC/libvirt/qemu.conf" <<EOF
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
security_default_confined = 0
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
seccomp_sandbox = 0
EOF
  cat > "$ETC/libvirt/libvirtd.conf" <<EOF
unix_sock_group = "root"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_level = 3
log_outputs = "3:stderr"
host_uuid = "6d1f7a52-5b0e-4f64-9d0e-3b9f0a6f1c11"
EOF
  rm -f "$ETC"/libvirt/qemu/networks/autostart/* "$ETC"/libvirt/qemu/*.xml
  printf '127.0.0.1 localhost lab\n' > "$ETC/hosts"
  printf 'passwd: files\ngroup: files\nshadow: files\nhosts: files\nnetworks: files\nprotocols: files\nservices: files\n' > "$ETC/nsswitch.conf"
  : > "$ETC/resolv.conf"
  cat > "$ETC/clouds.yaml" <<EOF
clouds:
  lab:            # the unprivileged CI user
    region_name: RegionOne
    auth: {auth_url: "http://$IP:5000/v3", username: nodepoolmanager, password: $PW, project_name: contintcloud, user_domain_name: Default, project_domain_name: Default}
  lab-admin:
    region_name: RegionOne
    auth: {auth_url: "http://$IP:5000/v3", username: admin, password: $PW, project_name: admin, user_domain_name: Default, project_domain_name: Default}
EOF
  [ -s "$DATA/appcred.yaml" ] && cat "$DATA/appcred.yaml" >> "$ETC/clouds.yaml"
  cat > "$ETC/lab.env" <<EOF
export OS_CLIENT_CONFIG_FILE=$ETC/clouds.yaml OS_CLOUD=lab
export LAB_JENKINS_URL=$JURL LAB_JENKINS_USER=nodepool LAB_JENKINS_PASSWORD=$PW
EOF
}
