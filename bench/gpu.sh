#!/usr/bin/env bash
# The GPU rows in one go, in under nine minutes, offline: bash bench/gpu.sh [--dry-run] [--seconds N]
#
# Needs a Python with torch, transformers and peft (PYTHON, default python3). What else is missing there is taken from
# the wheels in bench/wheels (WHEELS), which `bash bench/gpu_wheels.sh` fetches beforehand on a machine with network.
# On a card it writes docs/results/gpu.md; with --dry-run it runs everything small on the CPU and prints the same table.
set -euo pipefail
cd "$(dirname "$0")/.."

python="${PYTHON:-python3}"
wheels="${WHEELS:-bench/wheels}"
site="$(mktemp -d)"
trap 'rm -rf "$site"' EXIT

dry=no
for argument in "$@"; do [ "$argument" = --dry-run ] && dry=yes; done
if [ "$dry" = no ] && compgen -G "$wheels/*.whl" >/dev/null; then
    # Found before what is installed: the set was chosen together.
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$wheels"/*.whl
fi
export HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 WANDB_DISABLED=true TOKENIZERS_PARALLELISM=false
export PYTHONPATH="$PWD:$site${PYTHONPATH:+:$PYTHONPATH}"
export PYTORCH_CUDA_ALLOC_CONF="${PYTORCH_CUDA_ALLOC_CONF:-expandable_segments:True}"
if [ "$dry" = yes ]; then export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"; fi
"$python" -m bench.gpu "$@"
