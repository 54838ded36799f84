#!/usr/bin/env bash
# tests/slurm/cluster.sh COMMAND...: start a Slurm cluster whose only node is this machine, run COMMAND, and exit with its
# status. Needs root and Debian packages, which it installs if they are missing; exits with 75 if that is not possible.
# Every wait has a time limit.
set -euo pipefail

if ! command -v slurmctld >/dev/null || ! command -v munged >/dev/null; then
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "Slurm is not installed; installing it needs root and Debian" >&2; exit 75; }
  export DEBIAN_FRONTEND=noninteractive
  timeout 120 apt-get -qq update && timeout 180 apt-get -qq install -y --no-install-recommends \
    slurmctld slurmd slurm-client munge >/dev/null || { echo "the packages of Slurm cannot be installed" >&2; exit 75; }
fi

workdir=$(mktemp -d)
node=$(hostname -s)
grep -qw "$node" /etc/hosts || echo "127.0.0.1 $node" >>/etc/hosts
mkdir -p "$workdir"/{state,spool,log} /run/munge /var/log/munge /var/lib/munge
[ -s /etc/munge/munge.key ] || dd if=/dev/urandom of=/etc/munge/munge.key bs=1 count=1024 status=none
chown -R munge: /run/munge /var/log/munge /var/lib/munge /etc/munge/munge.key
chmod 400 /etc/munge/munge.key
pgrep -x munged >/dev/null || runuser -u munge -- munged

cat >"$workdir/slurm.conf" <<END
ClusterName=mammoseg
SlurmctldHost=$node(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$workdir/state
SlurmdSpoolDir=$workdir/spool
SlurmctldPidFile=$workdir/slurmctld.pid
SlurmdPidFile=$workdir/slurmd.pid
SlurmctldLogFile=$workdir/log/slurmctld.log
SlurmdLogFile=$workdir/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=10
MinJobAge=600
InactiveLimit=0
NodeName=$node NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=1000 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
END
export SLURM_CONF=$workdir/slurm.conf

stop() {
  timeout 20 scancel --user=root 2>/dev/null || true
  for _ in $(seq 20); do [ -n "$(timeout 5 squeue -h 2>/dev/null)" ] || break; sleep 0.5; done
  for daemon in slurmd slurmctld; do [ ! -f "$workdir/$daemon.pid" ] || kill "$(cat "$workdir/$daemon.pid")" 2>/dev/null || true; done
  for _ in $(seq 20); do pgrep -x slurmctld >/dev/null || break; sleep 0.5; done  # it writes its state on exit
  pkill -x munged || true
  rm -rf "$workdir"
}
trap stop EXIT

slurmctld -c
slurmd -c
for _ in $(seq 60); do timeout 5 sinfo -h -o %T 2>/dev/null | grep -q idle && break; sleep 0.5; done
timeout 5 sinfo -h -o %T | grep -q idle || { echo "Slurm does not start:" >&2; tail "$workdir"/log/*.log >&2; exit 1; }
timeout 600 "$@"
