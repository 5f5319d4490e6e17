#!/bin/bash
# Runs a sweep as a SLURM job, and again in the same job when its time is up, until it is complete.
#
#     sbatch --nodes=4 --gpus-per-node=4 --cpus-per-task=32 --time=24:00:00 \
#         configs/slurm.sh configs/pacs.yaml --output "$SCRATCH/runs/pacs"
#
# Submit it from the checkout, in the environment that has Steppe's packages. All arguments are those
# of `launch`. The job is one Ray cluster: each of its nodes runs `ray start` with the CPUs, GPUs and
# memory that SLURM gave the job there; the first also runs the driver.
#SBATCH --job-name=steppe
#SBATCH --ntasks-per-node=1
#SBATCH --signal=B:USR1@120      # two minutes to save before time is up
#SBATCH --no-kill                # the sweep goes on without a node that fails
#SBATCH --requeue
#SBATCH --open-mode=append
set -uo pipefail
if [ -z "${SLURM_JOB_ID:-}" ]; then
    echo "error: this is a job's script: submit it with sbatch, as its first lines show" >&2
    exit 2
fi
cd "$SLURM_SUBMIT_DIR" || exit 2
nodes=$SLURM_JOB_NUM_NODES

# Only this job's nodes and driver have its token, so no job joins the cluster of another.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN STEPPE_PLACE
unset RAY_ADDRESS RAY_AUTH_TOKEN_PATH RAY_TMPDIR
RAY_AUTH_TOKEN=$(python -c "import secrets; print(secrets.token_hex(32))") || exit 2
# Short, as Ray keeps sockets there; and of this job, as nodes may be shared.
STEPPE_PLACE=/tmp/ray-$SLURM_JOB_ID

# on FIRST COUNT COMMAND...: one process on each of COUNT nodes of the job, counted from 0.
on() {
    srun --overlap --kill-on-bad-exit=0 --relative="$1" --nodes="$2" --ntasks="$2" "${@:3}"
}

# On a node: Ray with what the job has there; `ray start` itself would count all of the machine.
# shellcheck disable=SC2016
start='
trap "rm -rf $STEPPE_PLACE" EXIT
gpus=${SLURM_GPUS_ON_NODE:-0}
parts=$((${SLURM_MEM_PER_CPU:-0} * SLURM_CPUS_ON_NODE + ${SLURM_MEM_PER_GPU:-0} * gpus))
memory=$((${SLURM_MEM_PER_NODE:-$parts} * 1048576))
(( memory == 0 )) || set -- "$@" --memory="$memory"
python -m ray.scripts.scripts start --block --disable-usage-stats "$@" \
    --num-cpus="$SLURM_CPUS_ON_NODE" --num-gpus="$gpus" \
    --min-worker-port=0 --max-worker-port=0'

# The address at which the last node sees this one: names of nodes need not resolve.
here=$(on $((nodes - 1)) 1 printenv SLURM_LAUNCH_NODE_IPADDR) || exit 2
# Where Ray's client is installed, its server would take the same port in every job.
mapfile -t client < <(python -c "
import socket
from ray._private.utils import get_ray_client_dependency_error as lacks_client
if lacks_client() is None:
    print(f'--ray-client-server-port={socket.create_server((\"\", 0)).getsockname()[1]}')")
on 0 1 bash -c "$start" ray --head --port=0 --node-ip-address="$here" --include-dashboard=false \
    --temp-dir="$STEPPE_PLACE" "${client[@]}" &
head=$!
address=
until [ -n "$address" ] && python -c "
import socket, sys
host, _, port = sys.argv[1].rpartition(':')
socket.create_connection((host, int(port)), 5)" "$address" 2> /dev/null; do
    if ! kill -0 "$head" 2> /dev/null; then
        echo "error: Ray did not start on the first node of job $SLURM_JOB_ID; see above" >&2
        exit 2
    fi
    sleep 1
    address=$(cat "$STEPPE_PLACE/ray_current_cluster" 2> /dev/null)
done
if (( nodes > 1 )); then
    on 1 $((nodes - 1)) bash -c "$start" ray --address="$address" &
fi

# The same command starts the sweep and continues it.
python -m search launch "$@" --address "$address" &
driver=$!
over=
trap 'over=1; kill -TERM "$driver"' USR1
trap 'kill -TERM "$driver"' TERM
# A signal ends `wait` before the driver.
wait "$driver"
while kill -0 "$driver" 2> /dev/null; do wait "$driver"; done
wait "$driver"
status=$?
trap '' TERM
kill $(jobs -p) 2> /dev/null
wait
rm -rf "$STEPPE_PLACE"
# 130: the driver was stopped, and a resume goes on.
if (( status == 130 )) && [ -n "$over" ]; then
    scontrol requeue "$SLURM_JOB_ID" ||
        echo "Submit the same job again: it continues the sweep." >&2
fi
exit "$status"
