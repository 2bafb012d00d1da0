#!/usr/bin/env bash
# One sweep on nodes of Slurm: starts Ray on them with a token of this job's own, runs the sweep, and ends Ray with the job.
#   sbatch deploy/slurm.sh recipes/paper.yaml tracking.uri=http://HOST:5000      (in this checkout, on a file system that nodes share)
# Five minutes before its time is over the job is sent SIGTERM: the runs at work are saved, and the job is queued again and
# goes on. Its own exit code is that of the sweep. Set the lines of #SBATCH for your site (account, partition, GPUs).
#SBATCH --job-name=d2lora
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
umask 077
cd "${SLURM_SUBMIT_DIR:?start me with sbatch}"
if [ -f .venv/bin/activate ]; then
  # shellcheck disable=SC1091  # made by make
  . .venv/bin/activate
fi

token=$HOME/.ray/slurm-$SLURM_JOB_ID
mkdir -p "$HOME/.ray"
python -c 'import secrets; print(secrets.token_hex(32))' >"$token"
port=$((20000 + 2 * (SLURM_JOB_ID % 10000))) # two jobs may share a node
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$token MLFLOW_DISABLE_TELEMETRY=true
unset RAY_AUTH_TOKEN

steps=()
# shellcheck disable=SC2329  # the trap calls it
finish() {
  for step in "${steps[@]}"; do kill "$step" 2>/dev/null || true; done
  rm -f "$token"
}
trap finish EXIT

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | tr ' ' '\n' | { grep -v '^127\.' || true; } | head -n 1)
[ -n "$address" ] || { echo "the name of $head leads to no address that other nodes reach: set it in /etc/hosts" >&2; exit 2; }

# --num-cpus, because Ray would count every core of the machine, also those of other jobs
start=(ray start --block --disable-usage-stats "--num-cpus=${SLURM_CPUS_PER_TASK:?set --cpus-per-task}")
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK # srun does not take it from sbatch (since Slurm 22.05): Ray had one core
srun --nodes=1 --ntasks=1 --nodelist="$head" "${start[@]}" --head --node-ip-address="$address" --port="$port" \
  --dashboard-host=127.0.0.1 --dashboard-port="$((port + 1))" --temp-dir="/tmp/ray-$SLURM_JOB_ID" &
steps+=($!)
export RAY_ADDRESS=$address:$port
up() { ray status >/dev/null 2>&1; }
for _ in $(seq 60); do
  if up; then break; fi
  sleep 2
done
up || { echo "Ray did not start on $head within two minutes" >&2; exit 1; }
if [ "${#nodes[@]}" -gt 1 ]; then
  srun --nodes="$((${#nodes[@]} - 1))" --ntasks="$((${#nodes[@]} - 1))" --exclude="$head" "${start[@]}" --address="$RAY_ADDRESS" &
  steps+=($!)
fi

signals=0
# shellcheck disable=SC2329  # the trap calls it
stop() {
  signals=$((signals + 1))
  kill -TERM "$driver" 2>/dev/null || true
}
trap stop TERM
python jobs/sweep.py "$@" &
driver=$!
while :; do # a signal ends the wait, while the driver still saves its runs
  code=0 before=$signals
  wait "$driver" || code=$?
  if [ "$before" = "$signals" ]; then break; fi
done
if [ "$signals" -gt 0 ] && [ "$code" -eq 143 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
