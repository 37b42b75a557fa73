#!/usr/bin/env bash
# Starts a real Slurm of one node, with two fake GPUs, for tests: root on Debian, no systemd, loopback only.
#   start.sh          installs Debian's packages where they are missing; says so and does nothing where it runs already
#   start.sh --check  installs them, and exits with 0 where this machine can; else one line says why not, exit 1
# stop.sh ends it and takes its files away.
set -euo pipefail
source "$(dirname "$0")/common.sh"

fail() {
    echo "tests/slurm: $1" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || fail "a test cluster needs root; run it as root, in a container for instance"
command -v apt-get >/dev/null || fail "no apt-get: the test cluster is made of Debian's packages slurm-wlm and munge"
if [ -e "$CONF/slurm.conf" ] && ! grep -qF "$MARK" "$CONF/slurm.conf"; then
    fail "$CONF/slurm.conf belongs to another Slurm, which is left alone"
fi
probe=$(mktemp -u /dev/varc-probe-XXXX)
mknod "$probe" c 1 3 2>/dev/null || fail "no right to make devices (mknod), which the fake GPUs need"
rm "$probe"

if ! { command -v slurmctld && command -v slurmd && command -v munged; } >/dev/null; then
    log=$(mktemp /tmp/varc-slurm-apt-XXXX.log)
    policy=/usr/sbin/policy-rc.d # Debian's way to say that a package starts no daemons of its own
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update && apt-get install -y --no-install-recommends slurm-wlm munge; } >"$log" 2>&1 ||
        fail "apt-get could not install slurm-wlm and munge; see $log"
    rm "$log"
fi
[ "${1:-}" != --check ] || exit 0

if cluster_runs; then
    echo "tests/slurm: runs already"
    exit 0
fi
[ ! -e "$STATE" ] || "$(dirname "$0")/stop.sh" # what is left of one that died

mkdir -p "$STATE"/{ctld,slurmd} "$CONF" /run/munge
chown munge: /run/munge

if ! munge -n >/dev/null 2>&1; then
    [ -e /etc/munge/munge.key ] || (umask 077 && head -c 1024 /dev/urandom >/etc/munge/munge.key)
    chown -R munge: /etc/munge /var/lib/munge /var/log/munge
    chmod 0400 /etc/munge/munge.key
    setpriv --reuid munge --regid munge --clear-groups munged
    cp /run/munge/munged.pid "$STATE/munged.pid"
fi

for i in 0 1; do
    if [ ! -e "/dev/fakegpu$i" ]; then
        mknod "/dev/fakegpu$i" c 1 3
        echo "/dev/fakegpu$i" >>"$STATE/devices"
    fi
done

# Jobs of two threads must fit, so there are at least two CPUs; memory is said to be plenty, so that what the rules ask
# for is never what jobs wait for. OverMemoryKill does without cgroups what a cluster does to a job over its memory.
name=$(hostname -s)
cpus=$(nproc)
cat >"$CONF/slurm.conf" <<CONF
$MARK
ClusterName=varc
SlurmctldHost=$name(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation=$STATE/ctld
SlurmdSpoolDir=$STATE/slurmd
SlurmctldPidFile=$STATE/slurmctld.pid
SlurmdPidFile=$STATE/slurmd.pid
SlurmctldLogFile=$STATE/slurmctld.log
SlurmdLogFile=$STATE/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,batch_sched_delay=1
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
KillWait=5
MinJobAge=3600
GresTypes=gpu
NodeName=$name NodeAddr=127.0.0.1 CPUs=$((cpus > 2 ? cpus : 2)) RealMemory=1000000 Gres=gpu:2 State=UNKNOWN
PartitionName=test Nodes=$name Default=YES MaxTime=INFINITE State=UP
CONF
printf '%s\nName=gpu File=/dev/fakegpu[0-1]\n' "$MARK" >"$CONF/gres.conf"

slurmctld -f "$CONF/slurm.conf"
slurmd -f "$CONF/slurm.conf"
for _ in $(seq 240); do # seconds, but for a busy machine
    if cluster_runs && [ "$(timeout 5 sinfo -h -o %T 2>/dev/null)" = idle ]; then
        echo "tests/slurm: one node, two fake GPUs; logs in $STATE"
        exit 0
    fi
    sleep 0.5
done
tail -n 5 "$STATE"/slurmctld.log "$STATE"/slurmd.log >&2 || true
fail "the node did not become idle in 2 minutes; its last messages are above, the rest is in $STATE"
