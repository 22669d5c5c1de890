#!/usr/bin/env bash
# Start MPI ranks as the profile says, but rank 1 runs the program in the file $FAULT, if there is one:
#   FAULT=stuck.py tests/cluster/faulty_launcher.sh srun --mpi=pmi2 -n 4 python -m mpi4py scripts/cluster_fragments.py ...
set -euo pipefail

launcher=()
while [ "$1" != python ]; do
    launcher+=("$1")
    shift
done
exec "${launcher[@]}" bash -c '
if [ "$SLURM_PROCID" = 1 ] && [ -f "$0" ]; then exec python "$0"; fi
exec "$@"' "${FAULT:-}" "$@"
