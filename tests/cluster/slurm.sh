#!/usr/bin/env bash
# A real Slurm on this machine, one node, for tests: munged, slurmctld and slurmd without systemd, as root.
#
#   tests/cluster/slurm.sh up DIR     starts it; everything it writes lies below DIR (short: sockets have 108 characters)
#   tests/cluster/slurm.sh down DIR   ends it
#
# Then SLURM_CONF=DIR/slurm.conf in the environment makes sbatch, srun and scontrol talk to it. Debian: slurm-wlm, munge.
set -euo pipefail

up() {
    local munge="$1/munge.socket" ctld slurmd
    mkdir -p "$1/ctld" "$1/slurmd"
    # Free ports: any that nobody listens to now.
    read -r ctld slurmd < <(python3 -c 'import socket
made = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(each.getsockname()[1] for each in made))')
    head -c 1024 /dev/urandom > "$1/munge.key"
    chmod 400 "$1/munge.key"
    munged --force --num-threads=2 --socket="$munge" --key-file="$1/munge.key" --pid-file="$1/munge.pid" \
        --seed-file="$1/munge.seed" --log-file="$1/munge.log" > "$1/munge.out" 2>&1
    cat > "$1/cgroup.conf" <<< "CgroupAutomount=no"
    cat > "$1/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$ctld
SlurmdPort=$slurmd
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$munge,cred_expire=5
CredType=cred/munge
StateSaveLocation=$1/ctld
SlurmdSpoolDir=$1/slurmd
SlurmctldPidFile=$1/slurmctld.pid
SlurmdPidFile=$1/slurmd.pid
SlurmctldLogFile=$1/slurmctld.log
SlurmdLogFile=$1/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,batch_sched_delay=0
SchedulerType=sched/builtin
MpiDefault=none
SwitchType=switch/none
JobRequeue=1
KillWait=2
MinJobAge=300
InactiveLimit=0
ReturnToService=2
MailProg=/bin/true
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
NodeName=localhost NodeAddr=127.0.0.1 NodeHostname=$(hostname -s) CPUs=2 RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
    export SLURM_CONF="$1/slurm.conf"
    slurmctld -c
    slurmd -N localhost -c
    for _ in $(seq 100); do
        if sinfo -h -o %T 2> /dev/null | grep -q idle; then return; fi
        sleep 0.2
    done
    echo "Slurm did not come up; the ends of its logs:" >&2
    tail -n 5 "$1"/*.log >&2
    return 1
}

down() {
    local name pid
    export SLURM_CONF="$1/slurm.conf"
    scancel --full --signal=KILL --user=root 2> /dev/null || true
    for name in slurmd slurmctld munge; do
        pid=$(cat "$1/$name.pid" 2> /dev/null) || continue
        kill "$pid" 2> /dev/null || continue
        for _ in $(seq 50); do
            kill -0 "$pid" 2> /dev/null || continue 2
            sleep 0.1
        done
        kill -9 "$pid" 2> /dev/null || true
    done
}

case "${1:-} ${2:+dir}" in
    "up dir" | "down dir") "$1" "$(realpath -m "$2")" ;;
    *) sed -n 's/^#   //p' "$0" >&2; exit 2 ;;
esac
