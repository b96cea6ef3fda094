#!/usr/bin/env bash
# Compiles the kernels into images: build.sh <folder for the compiler>. The compiler comes from public
# packages with exact versions, so that the same sources make the same bytes; a device is not needed, zstd is.
set -eu -o pipefail
tools=$(realpath -m "$1")
cd "$(dirname "$0")"

if [ ! -e "$tools/ready" ]; then
  python3 -m venv --clear "$tools"
  "$tools/bin/pip" install -q --no-deps nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 \
    nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
  touch "$tools/ready"
fi
nvcc=$(echo "$tools"/lib/python3*/site-packages/nvidia/cu13/bin/nvcc)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# compile <sm or compute> <capability> <cubin or ptx>
compile() {
  mkdir "$work/$1_$2"
  "$nvcc" -std=c++17 -O3 -arch="$1_$2" "-$3" -Xptxas -v --keep --keep-dir "$work/$1_$2" -o "$work/$1_$2.$3" src/all.cu 2> "$work/$1_$2.log" || { cat "$work/$1_$2.log" >&2; return 1; }
}
for arch in 80 86 89 90; do
  compile sm $arch cubin
done
compile compute 90 ptx
# Every cubin is assembled from the text that the tests execute.
for arch in 80 86 89 90; do
  cmp <(grep -v '^\.target' "$work/sm_$arch/all.ptx") <(grep -v '^\.target' "$work/compute_90.ptx")
done
printf '\0' >> "$work/compute_90.ptx" # the driver reads a text that ends

rm -f images/*
for f in "$work"/*.cubin "$work"/*.ptx; do
  zstd -q -19 --no-progress "$f" -o "images/$(basename "$f").zst"
done
sha256sum src/* images/*.zst > images/manifest.txt
awk '/entry function/ { name = $0; sub(/.*entry function ./, "", name); sub(/\x27.*/, "", name) }
  /spill stores/ { spill = ($5 > 0 || $9 > 0) ? "spills" : "-" }
  /Used [0-9]+ registers/ { shared = 0; if (match($0, /[0-9]+ bytes smem/)) shared = substr($0, RSTART) + 0
    for (i = 1; i < NF; i++) if ($i == "Used") registers = $(i + 1); printf "%-24s %4d %6d %s\n", name, registers, shared, spill }' \
  "$work/sm_90.log" | sort > "$tools/registers.txt"
echo "registers, shared memory and spills on sm_90: $tools/registers.txt"
ls -l images
