#!/bin/bash
# `make e2e`: the real binary against the lab. Installs the lab where it is missing, brings it up from nothing whatever was
# left there, runs tests/e2e inside, and leaves nothing behind. Arguments: parts of scenarios' names, to run those alone;
# `diskimage` is the one that needs no lab. Root is needed to run them alone: called by anybody else, it builds first and then
# asks sudo.
set -euo pipefail
HERE=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
export LAB_DIR=${LAB_DIR:-/var/lib/poolkeeper-lab}
lab=$HERE/lab
say() { printf '\n== %s\n' "$*"; }
# step NAME CMD...: its time, and its failure, are printed
step() {
  local name=$1 t0=$EPOCHREALTIME rc=0; shift
  "$@" || rc=$?
  printf '%-72s %7.1f s\n' "$name" "$(awk -v a="$t0" -v b="$EPOCHREALTIME" 'BEGIN{print b-a}')"
  return $rc
}

build() { # TEST [FLAGS...]: outside the lab, which has no way out; leaves the test program's path in $test_program
  local log
  log=$(mktemp)
  if ! cargo test --manifest-path "$ROOT/Cargo.toml" --locked --test "$@" --no-run --message-format=json-render-diagnostics > "$log"; then
    rm -f "$log"; return 1
  fi
  test_program=$(grep -o "\"executable\":\"[^\"]*/$1-[^\"]*\"" "$log" | tail -n 1 | cut -d'"' -f4)
  rm -f "$log"
  [ -x "$test_program" ]
}

keep_logs() { # $1: what they are of
  local kept
  kept=$LAB_DIR/failed/$(date -u +%Y%m%dT%H%M%SZ)-$1
  mkdir -p "$kept"
  [ ! -d "$LAB_DIR/log" ] || cp -r "$LAB_DIR/log/." "$kept/"
  say "the logs of the services and of each poolkeeper run are in $kept"
}

bring_up() { "$lab" up --fresh; }
# Tried twice: what fails here is the services' start on a busy machine, and says nothing about poolkeeper.
bring_up_twice() {
  bring_up && return 0
  keep_logs bring-up
  say "bring-up failed; tried once more"
  bring_up && return 0
  return 1
}

# Whatever still runs in the namespaces of the lab that was up. Nothing can, once its PID 1 is gone: seen, not believed.
left_behind() { # $1: the pid namespace
  local p
  for p in /proc/[0-9]*; do
    [ "$(readlink "$p/ns/pid" 2>/dev/null)" != "$1" ] || { echo "${p#/proc/}"; return 0; }
  done
}

finish() {
  local rc=$? namespace='' init left
  trap - EXIT INT TERM HUP
  set +e
  [ $rc = 0 ] || keep_logs "$stage"
  init=$(cat "$LAB_DIR/run/init.pid" 2>/dev/null) && namespace=$(readlink "/proc/$init/ns/pid" 2>/dev/null)
  "$lab" purge
  if [ -n "$namespace" ] && [ "$namespace" != "$(readlink /proc/self/ns/pid)" ]; then
    left=$(left_behind "$namespace")
    [ -z "$left" ] || { say "left behind: process $left"; rc=1; }
  fi
  [ ! -e "/run/netns/${LAB_DIR##*/}" ] || { say "left behind: the network namespace"; rc=1; }
  exit $rc
}

run_inside() { # as root
  mkdir -p "$LAB_DIR"
  exec 9> "$LAB_DIR/e2e.lock"
  flock -n 9 || { say "another make e2e is running on this machine"; exit 1; }
  stage=install
  trap finish EXIT
  trap 'exit 130' INT TERM HUP
  say "the lab's packages and its CI server (nothing is done when they are there)"
  step "installed" "$lab" install
  if [ ! -e "$LAB_DIR/guest/ci-base.qcow2" ]; then
    say "the image of the lab's servers is missing: it is made now"
    step "image made" "$lab" guest
  fi
  stage=bring-up
  say "the lab, from nothing"
  step "up" bring_up_twice
  stage=scenarios
  say "scenarios"
  "$lab" exec "$@"
  stage=end
}

if [ "${1:-}" = --inside ]; then
  shift
  test_program=$1; shift
  run_inside "$test_program" --lab "$lab" "$LAB_DIR" "$@"
else
  command -v cargo > /dev/null || { say "make e2e needs a Rust toolchain (cargo)"; exit 1; }
  as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo "--preserve-env=LAB_DIR,LAB_JAVA,LAB_MVN")
  wanted=() diskimage=no
  for part in "$@"; do
    [ "$part" = diskimage ] && diskimage=yes || wanted+=("$part")
  done
  if [ $# = 0 ] || [ $diskimage = yes ]; then
    say "diskimage: a base image by the real disk-image-create, published"
    # before the lab's own build: its binary has no sandbox, and both are called target/debug/poolkeeper
    step "built" build diskimage --features sandbox
    step "diskimage" "${as_root[@]}" "$HERE/diskimage.sh" "$test_program"
    [ $# = 0 ] || [ ${#wanted[@]} != 0 ] || exit 0
  fi
  set -- "${wanted[@]}"
  say "build"
  step "built" build e2e
  exec "${as_root[@]}" "$HERE/e2e.sh" --inside "$test_program" "$@"
fi
