#!/usr/bin/env bash
# Refuse a compute node that lacks what its queue is for, before a job finds out: check_node.sh gpu|efa|plain
# ParallelCluster runs this on each node when it has started; a node that fails is replaced.
set -euo pipefail

fail() { echo "check_node: $*" >&2; exit 1; }

mountpoint -q /fsx || fail "/fsx is not mounted"
[[ -f /fsx/readclade/workflow/.installed ]] || fail "/fsx/readclade/workflow is not installed: see the head node's log"

case ${1:-} in
    gpu) nvidia-smi --list-gpus | grep -q '^GPU ' || fail "no GPU is to be seen" ;;
    efa) compgen -G '/sys/class/infiniband/*' > /dev/null || fail "no Elastic Fabric Adapter is to be seen" ;;
    plain) ;;
    *) fail "'${1:-}' is none of gpu, efa, plain" ;;
esac
