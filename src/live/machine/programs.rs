//! The programs of the remote commands, for any POSIX sh. Nothing is ever spliced into one.

/// `alive FILE`: a process of the session that FILE names is left.
macro_rules! alive {
    () => {
        r#"alive() {
    [ -s "$1" ] && read -r pk_boot pk_pid pk_began <"$1" || return 1
    read -r pk_now </proc/sys/kernel/random/boot_id && [ "$pk_boot" = "$pk_now" ] || return 1
    for pk_stat in /proc/[0-9]*/stat; do
        { read -r pk_line <"$pk_stat"; } 2>/dev/null || continue
        set -- ${pk_line##*) }
        [ "$1" != Z ] && [ "$1" != X ] && [ "$4" = "$pk_pid" ] && return 0
    done
    return 1
}
"#
    };
}

/// `started FILE`: this process leads a session, and FILE says so before anybody is told.
macro_rules! started {
    () => {
        r#"read -r pk_boot </proc/sys/kernel/random/boot_id
read -r pk_up pk_rest </proc/uptime
echo "$pk_boot $$ ${pk_up%.*}" >"$1/pid.new" && mv "$1/pid.new" "$1/pid" && echo poolkeeper:started || exit 1
"#
    };
}

/// Arguments: root, server, digest, seconds, bytes, and perhaps a directory. The status is looked for again after the last
/// process is gone: a script that ends in between has not vanished. A directory that cannot be read tells nothing, or each new
/// node would be taken for used.
pub(super) const LOOK: &str = concat!(
    alive!(),
    r#"run=$1/var/lib/poolkeeper/$2/$3
script() {
    [ -d "$run" ] || { echo not-started; return; }
    for turn in 1 2; do
        [ -s "$run/status" ] && { echo exited; return; }
        alive "$run/pid" && { read -r pk_up pk_rest </proc/uptime; echo "running $((${pk_up%.*} - ${pk_began:-0}))"; return; }
    done
    [ ! -e "$run/pid" ] && [ $(($(date +%s) - $(stat -c %Y "$run"))) -lt "$1" ] && { echo running 0; return; }
    echo vanished
}
state=$(script "$4")
seconds=${state#running }
[ "$state" = "$seconds" ] || { state=running; echo "poolkeeper:seconds=$seconds"; }
echo "poolkeeper:script=$state"
[ "$state" != exited ] || echo "poolkeeper:status=$(cat "$run/status")"
if alive "$1/var/lib/poolkeeper/$2/agent/pid"; then echo poolkeeper:agent=running; else echo poolkeeper:agent=none; fi
if [ $# -gt 5 ]; then
    if [ -n "$(ls -A "$1$6" 2>/dev/null)" ]; then echo poolkeeper:workspace=used; else echo poolkeeper:workspace=empty; fi
fi
case $state in running|exited|vanished) echo poolkeeper:tail; tail -c "$5" "$run/output" 2>/dev/null;; esac
exit 0
"#
);

/// Arguments: the program, root, then the program's. Whoever may write /etc is root.
pub(super) const AS_ROOT: &str = r#"program=$1
shift
set -- sh -c "$program" "$0" "$@" "$(id -u):$(id -g)"
[ -w "$5/etc" ] || set -- sudo -n "$@"
exec "$@"
"#;

/// Arguments: root, server, owner. The directory is unpacked beside and swapped as a whole; files of /etc/nodepool one by one.
/// Killed anywhere, the next push does all of it again.
pub(super) const PUSH: &str = r#"set -e
umask 022
state=$1/var/lib/poolkeeper/$2 etc=$1/etc/nodepool scripts=$1/opt/nodepool-scripts
new=$1/opt/.nodepool-scripts.new old=$1/opt/.nodepool-scripts.old
mkdir -p "$state" "$etc" "$1/opt"
chown "$3" "$state"
chmod 0777 "$etc"
rm -rf "$new" "$old"
mkdir "$new"
tar -x -o -m -f - -C "$new"
[ -e "$new/poolkeeper-complete" ] || { echo "the files were cut off on their way" >&2; exit 1; }
if [ ! -e "$state/keys" ]; then
    ssh-keygen -q -t rsa -b 2048 -m PEM -N "" -C nodepool -f "$new/id_rsa" </dev/null
    chmod 0600 "$new/id_rsa"
    chown "$3" "$new/id_rsa" "$new/id_rsa.pub"
    mv -f "$new/id_rsa" "$new/id_rsa.pub" "$etc"
    : >"$state/keys"
fi
for file in "$new"/etc/nodepool/*; do
    [ -e "$file" ] || continue
    chown "$3" "$file"
    mv -f "$file" "$etc"
done
if [ -d "$new/opt/nodepool-scripts" ]; then
    chown -R "$3" "$new/opt/nodepool-scripts"
    chmod -R a+rx "$new/opt/nodepool-scripts"
    [ ! -e "$scripts" ] && [ ! -L "$scripts" ] || mv "$scripts" "$old"
    mv "$new/opt/nodepool-scripts" "$scripts"
fi
rm -rf "$new" "$old"
echo poolkeeper:started
"#;

/// Arguments: the session's program, root, server, digest, hostname, and the script. A newline in a value travels as the
/// character 1, for `read` cannot take NUL. Positional arguments alone after the environment: it may name any variable.
pub(super) const START: &str = r#"pk_run=$2/var/lib/poolkeeper/$3/$4
[ ! -d "$pk_run" ] || { cat >/dev/null; echo poolkeeper:already; exit 0; }
command -v setsid >/dev/null || { echo "setsid is missing on this machine" >&2; exit 1; }
tr "\n\000" "\001\n" | {
    pk_one=$(printf "\001") pk_whole= pk_line="
"
    while IFS= read -r pk_pair; do
        [ "$pk_pair" != poolkeeper-complete ] || { pk_whole=1; break; }
        pk_value=${pk_pair#*=}
        while :; do
            case $pk_value in *"$pk_one"*) ;; *) break;; esac
            pk_value=${pk_value%%"$pk_one"*}$pk_line${pk_value#*"$pk_one"}
        done
        export "${pk_pair%%=*}=$pk_value"
    done
    [ "$pk_whole" ] || { echo "the environment was cut off on its way" >&2; exit 1; }
    if ! mkdir -m 0700 "$pk_run"; then
        [ -d "$pk_run" ] && { echo poolkeeper:already; exit 0; }
        exit 1
    fi
    pk_answer=$(setsid sh -c "$1" poolkeeper-script "$pk_run" "$2/opt/nodepool-scripts" "$5" ${6+"$6"} </dev/null &)
    [ "$pk_answer" ] && echo "$pk_answer"
}
"#;

/// Arguments: the state directory, the scripts' directory, hostname, and the script.
pub(super) const START_SESSION: &str = concat!(
    started!(),
    r#"exec >"$1/output" 2>&1
pk_status=0
if [ "$#" -gt 3 ]; then
    (cd "$2" && exec "./$4" "$3")
    pk_status=$?
fi
echo "$pk_status" >"$1/status.new" && mv "$1/status.new" "$1/status"
"#
);

/// Arguments: the session's program, root, server, name, and the words.
pub(super) const START_AGENT: &str = concat!(
    alive!(),
    r#"umask 077
agent=$2/var/lib/poolkeeper/$3/agent
mkdir -p "$agent" || exit 1
if alive "$agent/pid"; then cat >/dev/null; echo poolkeeper:already; exit 0; fi
command -v setsid >/dev/null || { echo "setsid is missing on this machine" >&2; exit 1; }
rm -rf "$agent/new"
mkdir "$agent/new" && tar -x -o -m -f - -C "$agent/new" || exit 1
[ -e "$agent/new/poolkeeper-complete" ] || { echo "the files were cut off on their way" >&2; exit 1; }
rm "$agent/new/poolkeeper-complete"
mv -f "$agent"/new/* "$agent" && rmdir "$agent/new" || exit 1
session=$1
shift 4
answer=$(setsid sh -c "$session" poolkeeper-agent "$agent" "$@" </dev/null &)
[ "$answer" ] && echo "$answer"
"#
);

/// Arguments: the agent's directory, and the words.
pub(super) const START_AGENT_SESSION: &str = concat!(
    started!(),
    r#"cd "$1" && exec >>output 2>&1 || exit 1
shift
exec "$@"
"#
);

/// Arguments: root, server, what else is cleaned, owner. Cleaned first, so that a fault of it is said; then, detached, what
/// would shut us out if the machine stayed on, and power-off a moment after the answer. Killed anywhere, it is all done again.
///
/// Left alone: cloud-init's state, which is by instance, and leases below /run, which no disk keeps.
pub(super) const TURN_OFF: &str = r#"set -e
PATH=$PATH:/usr/sbin:/sbin
for needed in setsid poweroff; do
    command -v "$needed" >/dev/null || { echo "$needed is missing on this machine" >&2; exit 1; }
done
keys=
for what; do
    case $what in
    machine-id)
        [ ! -e "$1/etc/machine-id" ] || : >"$1/etc/machine-id"
        [ -L "$1/var/lib/dbus/machine-id" ] || rm -f "$1/var/lib/dbus/machine-id"
        ;;
    dhcp-leases)
        for folder in dhcp dhcp3 dhclient dhcpcd; do rm -rf "$1/var/lib/$folder"/*; done
        rm -f "$1"/var/lib/NetworkManager/*.lease "$1"/var/lib/wicked/lease-* "$1"/var/lib/dhcpcd5/*.lease
        ;;
    host-keys) keys=1;;
    esac
done
rm -f "$1/etc/nodepool/id_rsa" "$1/etc/nodepool/id_rsa.pub"
rm -rf "$1/var/lib/poolkeeper"
answer=$(setsid sh -c '
    echo poolkeeper:started
    exec >/dev/null 2>&1
    [ -z "$2" ] || rm -f "$1"/etc/ssh/ssh_host_*
    sync
    sleep 1
    poweroff || poweroff -f
' poolkeeper-off "$1" "$keys" </dev/null &)
[ "$answer" ] && echo "$answer"
"#;

/// Arguments: root, server, digest, bytes. As the script wrote it, its end when it is longer.
pub(super) const SCRIPT_LOG: &str = r#"run=$1/var/lib/poolkeeper/$2/$3
[ -d "$run" ] || { echo poolkeeper:not-started; exit 0; }
echo poolkeeper:log
[ ! -e "$run/output" ] || tail -c "$4" "$run/output"
"#;
