#!/usr/bin/env bash
# data-made on Jean Zay (GENCI-IDRIS): read
#
# Written by `clapas data build --slurm`. It may be submitted again: what is done is not done again.
# Not verified at the site's own pages: account, partitions.cpu.qos.0, environment
#SBATCH --job-name=data-made-read
#SBATCH --account=xyz@cpu                      # who is charged
#SBATCH --partition=cpu_p1
#SBATCH --qos=qos_cpu-t3                       # at most 20 hours
#SBATCH --array=0-499                          # each does every so-many-th task
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1                      # one process
#SBATCH --hint=nomultithread
#SBATCH --time=20:00:00
#SBATCH --requeue                              # after preemption, or where its node failed
#SBATCH --kill-on-invalid-dep=yes              # what waits for a stage that failed does not wait for ever
#SBATCH --open-mode=append
#SBATCH --output=/scratch/data/made/launch/001/job-read-%a.log # one an element

# Compute nodes have no internet: nothing may reach for it.
export HF_HUB_OFFLINE=1
export HF_DATASETS_OFFLINE=1
export TRANSFORMERS_OFFLINE=1
export WANDB_MODE=offline
# The network between the nodes.
export NCCL_ASYNC_ERROR_HANDLING=1
export NCCL_SOCKET_IFNAME=ib0
export GLOO_SOCKET_IFNAME=ib0
umask 0002 # the run's folder is the whole group's
export OMP_NUM_THREADS=1 # a process a core
exec /project/clapas/.venv/bin/python -m clapas_data.element --out /scratch/data/made --stages read --elements 500 --workers 1
