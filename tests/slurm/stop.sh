#!/usr/bin/env bash
# Ends what start.sh started, and nothing else; removes its files. Says so where nothing runs.
set -euo pipefail
source "$(dirname "$0")/common.sh"

[ -e "$STATE" ] || {
    echo "tests/slurm: nothing to stop"
    exit 0
}

if cluster_runs; then
    timeout 20 scancel --state=PENDING --user=root 2>/dev/null || true
    timeout 20 scancel --user=root 2>/dev/null || true
    for _ in $(seq 40); do # its jobs' processes end before the daemon that watches them
        [ -n "$(timeout 5 squeue -h 2>/dev/null)" ] || break
        sleep 0.5
    done
fi

for name in slurmd slurmctld munged; do
    if running "$STATE/$name.pid" "$name"; then
        pid=$(cat "$STATE/$name.pid")
        kill "$pid"
        for _ in $(seq 40); do # until its pid file is gone, or it is
            running "$STATE/$name.pid" "$name" || break
            sleep 0.25
        done
        ! running "$STATE/$name.pid" "$name" || kill -9 "$pid"
    fi
done

for file in "$CONF/slurm.conf" "$CONF/gres.conf"; do
    if grep -qsF "$MARK" "$file"; then rm "$file"; fi
done
if [ -e "$STATE/devices" ]; then xargs rm -f <"$STATE/devices"; fi
rm -rf "$STATE"
echo "tests/slurm: stopped"
