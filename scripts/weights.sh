#!/usr/bin/env bash
# From a folder of faces to the weights that ship; the same line again goes on where it stopped.
#     scripts/weights.sh FACES RUN              on a plain CPU: some hours
#     scripts/weights.sh FACES RUN MINUTES      on one CUDA device: so many minutes of training
# FACES holds pictures and clips; FACES/held-out.txt may name those that training must not see. Making them ready
# (RUN/data; JPEGs for the GPU, about 45 MB for 1,500 portraits) needs mediapipe, training does not: on a bare machine
# with torch, safetensors, lightning-fabric and tensorboard, bring RUN/data along.
# ONLY="P1 GRID": licence groups that are trained on (else all); REST=GRID: the group of what no
# index.csv names, when the data is made ready.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }
faces=$1 run=$2 minutes=${3:-}
python=${PYTHON:-$(dirname "$0")/../.venv/bin/python}
lia() { "$python" -m lia_live "$@"; }

if ! grep -qs '"finished": true' "$run/data/report.json"; then
    options=()
    [ ! -f "$faces/held-out.txt" ] || options+=(--held-out "$faces/held-out.txt")
    [ -z "$minutes" ] || options+=(--store jpeg)
    [ -z "${REST:-}" ] || options+=(--group "$REST")
    mkdir -p "$run"
    lia train prepare "$faces" "$run/data" ${options[@]+"${options[@]}"}
fi

chosen=()
if [ -n "${ONLY:-}" ]; then
    read -ra names <<<"$ONLY"
    quoted=$(printf '"%s", ' "${names[@]}")
    chosen=(--set "groups=[${quoted%, }]")
fi

if [ -n "$minutes" ]; then
    # the clock is asked once: a resumed run must have the same number of steps
    [ -s "$run/scale" ] || "$python" -m lia_live.train.fitting "$run/data" --preset gpu --minutes "$minutes" \
        --device cuda ${chosen[@]+"${chosen[@]}"} >"$run/scale"
    lia train "$run/data" "$run/gpu" --preset gpu --scale "$(cat "$run/scale")" --device cuda --resume \
        ${chosen[@]+"${chosen[@]}"}
    last=$run/gpu/weights.safetensors
else
    lia train "$run/data" "$run/first" --preset first --device cpu --resume ${chosen[@]+"${chosen[@]}"}
    lia train "$run/data" "$run/continued" --preset continued --device cpu --resume \
        --base "$run/first/weights.safetensors" ${chosen[@]+"${chosen[@]}"}
    lia train "$run/data" "$run/finish" --preset finish --device cpu --resume \
        --base "$run/continued/weights.safetensors" ${chosen[@]+"${chosen[@]}"}
    last=$run/finish/weights.safetensors
fi
split -b 15M "$last" "$run/part."   # for machines that hand back small files: cat RUN/part.* > weights.safetensors
echo "$last"
