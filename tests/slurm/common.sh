# What start.sh and stop.sh agree on.
STATE=/run/varc-slurm                  # pid files, logs, spool, and notes of what start.sh made
CONF=/etc/slurm                        # no other folder: job steps lose SLURM_CONF, and look here
MARK="# varc's test cluster; tests/slurm/stop.sh removes this file"

# running FILE NAME: whether the process whose pid the file holds is that program, and no zombie.
running() {
    local pid
    pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] || return 1
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ] && ! grep -qs '^State:.*Z' "/proc/$pid/status"
}

cluster_runs() {
    running "$STATE/slurmctld.pid" slurmctld && running "$STATE/slurmd.pid" slurmd
}
