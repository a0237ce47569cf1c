#!/usr/bin/env bash
# What wants a real CUDA card: the marked tests and the bench. Needs python3 with torch (and
# Triton), numpy, safetensors, psutil, opencv, pillow and pytest; neither decoder nor tracker. Results go to $OUT.
#   scripts/gpu_check.sh FACES.npz      the file: lia-live bench --faces FACES.npz --only default --quick
# Each part is a process of its own and may fail alone; the last line says which did.
set -uo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
faces=${1:?FACES.npz}
out=${OUT:-gpu-check}
mkdir -p "$out/bench"
export PYTHONUNBUFFERED=1 PYTHONPATH=. LIA_LIVE_CACHE="${TMPDIR:-/tmp}/lia-live-gpu-check"
failed=

part() { # name, most seconds, command ...
	local name=$1 most=$2 began=$SECONDS
	shift 2
	timeout -k 5 "$most" "$@" >"$out/$name.txt" 2>&1 || failed+=" $name($?)"
	echo "== $name: $((SECONDS - began)) s"
	tail -n 40 "$out/$name.txt"
}

bench=(python3 -m lia_live bench --device cuda --faces "$faces")
part tests 120 python3 -m pytest -m gpu tests/render/test_gpu.py -q -s -rs --tb=short -p no:cacheprovider -o filterwarnings=default
part full-size 120 "${bench[@]}" --only full-size --out "$out/bench"
part default 60 "${bench[@]}" --only default --quick --json
echo "failed:${failed:- nothing}"
