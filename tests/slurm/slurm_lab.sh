#!/usr/bin/env bash
# A real Slurm with virtual nodes on this machine: munged, slurmctld, and for each node a slurmd in its own namespaces,
# so that it has a host name and processes of its own. Loopback only; every file under FOLDER. Needs root, no systemd.
# Usage: slurm_lab.sh FOLDER PORT. Prints "ready", then runs until its standard input ends: it outlives nobody.
# Until then it takes orders there, a line each, and answers "done": `crash N`, as a power cut of nodeN; `boot N`.
# Takes the ports PORT to PORT+NODES. Then, anywhere: SLURM_CONF=FOLDER/slurm.conf srun -N2 hostname
set -euo pipefail
lab=$(realpath -m "$1")
port=$2
nodes=2
cpus=4 # of each node, whatever this machine has
gpus=4 # of each node: device files, which nothing computes on
seconds_to_start=30
pids=()
declare -A node_pids

write_configuration() {
  mkdir -p "$lab"/{state,spool,log,munge,dev}
  chmod 755 "$lab" "$lab/munge"
  (umask 077 && head -c 1024 /dev/urandom >"$lab/munge/key")
  { cat /etc/hosts; for n in $(seq "$nodes"); do echo "127.0.0.1 node$n"; done; } >"$lab/hosts"
  for g in $(seq 0 $((gpus - 1))); do mknod -m 666 "$lab/dev/gpu$g" c 1 3; done # Slurm wants devices: copies of /dev/null
  echo "NodeName=node[1-$nodes] Name=gpu File=$lab/dev/gpu[0-$((gpus - 1))]" >"$lab/gres.conf"
  cat >"$lab/slurm.conf" <<CONF
ClusterName=lab
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$lab/munge/socket,cred_expire=5
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPort=$port
SlurmctldPidFile=$lab/slurmctld.pid
SlurmdPidFile=$lab/slurmd.%n.pid
StateSaveLocation=$lab/state
SlurmdSpoolDir=$lab/spool/%n
FirstJobId=$((1 + RANDOM * 100))
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,sched_min_interval=0
SlurmdParameters=config_overrides
EnforcePartLimits=ALL
GresTypes=gpu
JobRequeue=1
ReturnToService=2
SlurmdTimeout=10
BatchStartTimeout=10
MessageTimeout=10
TCPTimeout=2
KillWait=2
UnkillableStepTimeout=20
NodeName=node[1-$nodes] NodeHostname=localhost NodeAddr=127.0.0.1 Port=$((port + 1))-$((port + nodes)) CPUs=$cpus \
  Feature=h100 Gres=gpu:$gpus
PartitionName=lab Nodes=ALL Default=YES DefaultTime=10 MaxTime=60
PartitionName=closed Nodes=ALL MaxTime=60 AllowAccounts=clapas@lab
CONF
}

# start NAME COMMAND...: in the background, its output in log/NAME
start() {
  setsid "${@:2}" </dev/null >>"$lab/log/$1" 2>&1 &
  pids+=($!)
}

# A command that sees the nodes' names in /etc/hosts, while the machine's own file stays as it is.
# shellcheck disable=SC2016 # the inner shell expands it
with_hosts='mount --bind "$0" /etc/hosts; exec "$@"'

start_node() {
  start "node$1" unshare --pid --fork --kill-child --mount-proc --uts \
    bash -c "hostname node$1; $with_hosts" "$lab/hosts" slurmd -D -N "node$1" -f "$lab/slurm.conf"
  node_pids[$1]=$!
}

wait_until_ready() {
  SECONDS=0
  until [ "$(SLURM_CONF=$lab/slurm.conf timeout 5 sinfo -h -N -p lab -t idle 2>>"$lab/log/sinfo" | wc -l)" = "$nodes" ]; do
    if [ $SECONDS -ge $seconds_to_start ]; then
      tail -n 20 "$lab"/log/* >&2
      return 1
    fi
    sleep 0.1
  done
}

stop() { # as a power cut: nothing here is worth keeping
  kill -KILL "${pids[@]}" 2>/dev/null || true
}

trap stop EXIT
write_configuration
start munged munged --foreground --force --num-threads=2 --key-file="$lab/munge/key" --socket="$lab/munge/socket" \
  --pid-file="$lab/munge/pid" --log-file="$lab/log/munged.log" --seed-file="$lab/munge/seed"
start slurmctld unshare --mount bash -c "$with_hosts" "$lab/hosts" slurmctld -D -f "$lab/slurm.conf"
for n in $(seq "$nodes"); do start_node "$n"; done
wait_until_ready
echo ready
while read -r order n; do
  case $order in
    crash) kill -KILL "${node_pids[$n]}" ;; # its slurmd, slurmstepd and tasks end at the same moment
    boot) start_node "$n" ;;
    *) exit 2 ;;
  esac
  echo done
done
