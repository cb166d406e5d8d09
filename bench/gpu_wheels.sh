#!/usr/bin/env bash
# Fetches the wheels that bench/gpu.sh carries to a machine without network: bash bench/gpu_wheels.sh [PYTHON_VERSION]
#
# For a machine that has torch, transformers, peft, accelerate, pandas and pyarrow; about 10 MB. Unsloth is not among
# them: it also needs bitsandbytes, torchao and other versions of what is there.
set -euo pipefail
cd "$(dirname "$0")/.."

version="${1:-3.12}"
folder="${WHEELS:-bench/wheels}"
mkdir -p "$folder"
platforms=()
for tag in manylinux_2_28 manylinux_2_27 manylinux_2_24 manylinux_2_17 manylinux2014 manylinux1; do
    platforms+=(--platform "${tag}_x86_64")
done
# What metier's engine and training import, then the peer and what it needs.
"${PYTHON:-python3}" -m pip download -q --no-deps --only-binary=:all: --python-version "$version" --implementation cp \
    "${platforms[@]}" -d "$folder" \
    pydantic==2.14.3 pydantic_core==2.50.4 annotated-types==0.8.0 typing-inspection==0.4.5 \
    trl==1.16.0 liger-kernel==0.8.5 datasets==5.2.0 dill multiprocess xxhash
du -sh "$folder"
