#!/usr/bin/env bash
# test on Jean Zay (GENCI-IDRIS): 4 x 4 ranks
#
# Written by `clapas launch`. What it was derived from is beside it: the recipe with every value explicit, launch.json
# (site and choices), code.json (the version of the code). It can be submitted again as it is.
#
# Facts of jean-zay.yaml that nobody has read at the site's own pages:
#   account
#   partitions.h100
#   partitions.h100.qos.0
#   environment

#SBATCH --job-name=test-fce769
#SBATCH --account=xyz@h100                     # who is charged
#SBATCH --constraint=h100                      # the kind of node
#SBATCH --qos=qos_gpu_h100-t3                  # at most 20 hours
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=4                    # one rank a GPU
#SBATCH --gres=gpu:4                           # all of a node's
#SBATCH --cpus-per-task=24                     # cores of a rank
#SBATCH --hint=nomultithread                   # binds each rank to cores of its own
#SBATCH --time=20:00:00
#SBATCH --signal=B:USR1@300                    # seconds before the end; may come 60 s earlier
#SBATCH --requeue                              # after a node has failed
#SBATCH --chdir=/project/clapas
#SBATCH --open-mode=append                     # a requeued job goes on in the same log
#SBATCH --output=/scratch/runs/mine/launch/001/job-%j.log

launch=/scratch/runs/mine/launch/001
python=/project/clapas/.venv/bin/python
recipe=$launch/recipe.yaml
job=$SLURM_JOB_ID

# --- What the site asks for ------------------------------------------------------------------------------------------
module purge
module load arch/h100
# Compute nodes have no internet: nothing may reach for it.
export HF_HUB_OFFLINE=1
export HF_DATASETS_OFFLINE=1
export TRANSFORMERS_OFFLINE=1
export WANDB_MODE=offline
# The network between the nodes.
export NCCL_ASYNC_ERROR_HANDLING=1
export NCCL_SOCKET_IFNAME=ib0
export GLOO_SOCKET_IFNAME=ib0
# Compiled kernels are kept for all ranks and the next job.
export TRITON_CACHE_DIR="${WORK:-$HOME}/.cache/clapas/triton"
export TORCHINDUCTOR_CACHE_DIR="${WORK:-$HOME}/.cache/clapas/inductor"
umask 0002 # the run's folder is the whole group's
set -uo pipefail # only now: what `module` runs does not bear it

# Slurm sends USR1 to this script before the time limit (--signal), and so does `clapas cancel`. The ranks get it from
# here: they agree on a last step, save and end.
announced=no
ran=no
ranks=
announce() {
  announced=yes
  [ -z "$ranks" ] || kill -USR1 "$ranks"
  # Should that not be over in time, Slurm would end the job for good: rather begin again after the last checkpoint.
  (sleep 225; [ -e "$launch/cancelled" ] || until scontrol requeue "$job"; do sleep 10; done) &
}
trap announce USR1

# --- Before this attempt ---------------------------------------------------------------------------------------------
# Counts the attempts, finds the nodes that failed under the one before, and chooses a port that is free on this, the
# first node. Says "run PORT OUTCOME"; "requeue NODES" where this allocation holds a node that has failed twice; "done";
# or "stop".
decide() {
  "$python" -m clapas.launch.attempt "$1" --launch "$launch" --recipe "$recipe" --announced "$announced" --ran "$ran"
}
read -r what detail outcome < <(decide begin) || what=stop

# The last act: Slurm ends this script as it requeues the job. TERM is ignored, so that there is time to say which nodes
# the next attempt shall not have. A controller that is away for some minutes is waited for.
requeue() {
  trap '' TERM
  for _ in {1..10}; do
    if scontrol requeue "$job"; then
      [ -z "${1:-}" ] || scontrol update "JobId=$job" "ExcNodeList=$1"
      sleep infinity
    fi
    sleep 30
  done
  exit 1
}
case $what in
  run) ;;
  done) exit 0 ;;
  requeue) requeue "$detail" ;;
  *) exit 1 ;;
esac

# --- The ranks -------------------------------------------------------------------------------------------------------
# They meet at the job's first node.
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_ADDR MASTER_PORT=$detail

# Some Slurm versions (22.05 to 23.02) do not hand --cpus-per-task on to srun.
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
export OMP_NUM_THREADS=8

# One task for each rank. Where one dies the others could only wait for it: --kill-on-bad-exit ends them.
if [ $announced = no ]; then
  ran=yes
  srun --kill-on-bad-exit=1 --distribution=block \
    "$python" -m clapas train "$recipe" &
  ranks=$!
  # srun waits for ever for the tasks of a node that died and came back before Slurm missed it: once the run has said
  # how it ended, srun has little time left.
  (until [ -e "$outcome" ]; do sleep 5; done; sleep 60; kill -KILL "$ranks") &
  watch=$!
  while kill -0 "$ranks" 2>/dev/null; do # a signal interrupts `wait`
    wait "$ranks"
  done
  ranks=
  kill "$watch" 2>/dev/null
fi

# --- After this attempt ----------------------------------------------------------------------------------------------
# srun hides how the ranks ended: they have written it to RUN/outcome.json. Says "done", "requeue NODES", "next" (in a
# chain: the job that waits for this one's end goes on) or "stop".
read -r what detail < <(decide end) || what=stop
case $what in
  done | next) exit 0 ;;
  requeue) requeue "$detail" ;;
  *) exit 1 ;;
esac
