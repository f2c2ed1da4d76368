#!/bin/sh
# The last touch on a fresh node, run as its user with the node's name as the one argument. A node is given to Jenkins only
# when this exits 0, so test here what no build can do without. Keep it short: every node waits for it.
set -eu

echo "ready script on $1"

# The workspace must be there and writable before the first build.
mkdir -p "$HOME/workspace"

# A build that finds no disk fails in strange ways; a node that says so is replaced.
free_kib=$(df -Pk "$HOME" | awk 'NR == 2 { print $4 }')
if [ "$free_kib" -lt 1048576 ]; then
    echo "only $free_kib KiB free in $HOME" >&2
    exit 1
fi
