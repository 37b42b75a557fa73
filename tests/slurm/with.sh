#!/usr/bin/env bash
# with.sh COMMAND...: runs a command on the test cluster. A cluster that runs already is used and left running.
set -euo pipefail
here=$(dirname "$0")
source "$here/common.sh"

if ! cluster_runs; then
    trap '"$here/stop.sh"' EXIT
    "$here/start.sh"
fi
"$@"
