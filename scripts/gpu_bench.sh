#!/usr/bin/env bash
# Compares a segtool binary with PyTorch, side by side on one machine, and prints one Markdown table.
#
# Usage: scripts/gpu_bench.sh [OPTION...] [SEGTOOL [TORCH_BENCH]]
#
#   SEGTOOL              the binary, built with `--features libtorch` here or elsewhere (target/release/segtool)
#   TORCH_BENCH          torch_bench.py, the same networks and steps in PyTorch ($TORCH_BENCH)
#   --device cpu|cuda    where (cuda)
#   --models LIST        of unet and pspnet50 (both)
#   --modes LIST         of train and infer (both)
#   --precisions LIST    of float32, tf32 and bf16 (all that the device has)
#   --variants LIST      of PyTorch: plain, channels-last, compile (all)
#   --unet BATCHxSIZE    images a step and their side (16x256)
#   --pspnet BATCHxSIZE  likewise (8x473)
#   --check BATCHxSIZE   likewise, for the comparison with the pure Rust backend that comes first (8x65)
#   --steps N            steps to take the time of (20)
#   --recipes LIST       recipes whose own training step and inference are measured, without a peer (mit-resnet34-c1,
#                        mit-resnet50-ppm, mit-upernet50, pspnet101-ade20k, smp-unet-resnet34, unet-milesial); none for none
#   --recipe-shape BATCHxSIZE  images a step and their side there (8x473)
#   --seeps FOLDER       train on the seeps tiles, train_images.txt and so on in FOLDER, all classes (not done by default)
#   --seeps-peer FILE    unet_peer.py, the same training in PyTorch ($UNET_PEER; without it, segtool alone)
#   --seeps-width N      channels of the first level (64)
#   --seeps-epochs N     epochs (12)
#
# LIST is separated by commas. The machine needs python3 with PyTorch 2.9.0, whose libtorch the binary then uses, and no
# Rust. A measurement that fails or takes more than $LIMIT seconds (900) is `failed` in the table. The exit code is 1
# if segtool's results differ from the pure Rust backend's.
set -euo pipefail

usage() { sed -n '2,/^set -/p' "$0" | sed '/^set -/d; s/^# \{0,1\}//'; }

device=cuda models=unet,pspnet50 modes=train,infer precisions='' variants=plain,channels-last,compile
unet=16x256 pspnet=8x473 check=8x65 steps=20
recipes=mit-resnet34-c1,mit-resnet50-ppm,mit-upernet50,pspnet101-ade20k,smp-unet-resnet34,unet-milesial
recipe_shape=8x473 seeps='' seeps_peer=${UNET_PEER:-} seeps_width=64 seeps_epochs=12
positional=()
while [ $# -gt 0 ]; do
    case $1 in
    --help) usage && exit 0 ;;
    --device | --models | --modes | --precisions | --variants | --unet | --pspnet | --check | --steps | \
        --recipes | --recipe-shape | --seeps | --seeps-peer | --seeps-width | --seeps-epochs)
        [ $# -ge 2 ] || { echo "$1 needs a value" >&2 && exit 2; }
        option=${1#--}
        printf -v "${option//-/_}" %s "$2"
        shift 2
        ;;
    -*) echo "unknown option $1; see --help" >&2 && exit 2 ;;
    *) positional+=("$1") && shift ;;
    esac
done
[ "$recipes" != none ] || recipes=
segtool=${positional[0]:-target/release/segtool}
peer=${positional[1]:-${TORCH_BENCH:-}}
limit=${LIMIT:-900}
case $device in
cuda) name=libtorch-cuda:0 precisions=${precisions:-float32,tf32,bf16} ;;
cpu) name=cpu precisions=${precisions:-float32,bf16} ;;
*) echo "--device is cpu or cuda, not $device" >&2 && exit 2 ;;
esac
[ -x "$segtool" ] || { echo "$segtool is not a program; build it, or give its path" >&2 && exit 2; }
[ -f "$peer" ] || { echo "torch_bench.py is not at '$peer'; give its path, or set TORCH_BENCH" >&2 && exit 2; }

[ -z "$seeps" ] || [ -f "$seeps/train_images.txt" ] || { echo "$seeps holds no train_images.txt" >&2 && exit 2; }
[ -z "$seeps_peer" ] || [ -f "$seeps_peer" ] || { echo "unet_peer.py is not at '$seeps_peer'" >&2 && exit 2; }

torch=$(python3 -c 'import torch; print(torch.__path__[0])')
libraries=$torch/lib
for folder in "$torch"/../nvidia/*/lib; do
    [ -d "$folder" ] && libraries+=:$folder
done
# Only for segtool: PyTorch finds its own.
with_libraries() { LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$@"; }
run_segtool() { with_libraries timeout "$limit" "$segtool" bench "$@"; }

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Runs a measurement; prints its seconds and its peak memory in GiB, or `failed -`.
measure() {
    local line
    if line=$("$@" 2>"$log" | grep ' images/s peak '); then
        echo "$line" >&2
        sed -E 's|.* ([0-9.]+)s [0-9.]+ images/s peak ([0-9.]+\|nan) GiB$|\1 \2|' <<<"$line"
    else
        echo "failed: $*: $(tail -n 1 "$log")" >&2
        echo 'failed -'
    fi
}

run_peer() { timeout "$limit" python3 "$peer" "$@"; }

# The recipe of a model and its further arguments.
recipe() {
    case $1 in
    unet) echo --recipe unet-seeps --width 64 --classes 8 ;;
    pspnet50) echo --recipe pspnet50-torchvision --classes 150 ;;
    *) echo "unknown model $1" >&2 && exit 2 ;;
    esac
}

words() { tr ',' ' ' <<<"$1"; }

for model in $(words "$models"); do
    recipe "$model" >/dev/null
done
agrees=true
checked=
for model in $(words "$models"); do
    # shellcheck disable=SC2046
    if ! result=$(NVIDIA_TF32_OVERRIDE=0 run_segtool $(recipe "$model") --device "$name" \
        --batch "${check%x*}" --size "${check#*x}" --check); then
        agrees=false
    fi
    checked+=$result$'\n'
done

# One line of the table.
row() {
    local model=$1 mode=$2 precision=$3 shape=$4 dtype=float32 best='' memory='' cells=() seconds peak ratio
    [ "$precision" = bf16 ] && dtype=bfloat16
    # PyTorch's convolutions use TF32 unless told otherwise; this tells both programs.
    local tf32=1
    [ "$precision" = float32 ] && tf32=0
    local size=(--batch "${shape%x*}" --size "${shape#*x}" --mode "$mode" --steps "$steps")
    for variant in plain channels-last compile; do
        if [[ ,$variants, != *,$variant,* ]]; then
            cells+=(-) && continue
        fi
        local flag=()
        [ "$variant" = plain ] || flag=("--$variant")
        read -r seconds peak < <(tf32_as $tf32 run_peer "$model" "${size[@]}" --device "$device" --dtype "$dtype" "${flag[@]}")
        cells+=("$seconds")
        [ "$seconds" = failed ] && continue
        if [ -z "$best" ] || awk "BEGIN { exit !($seconds < $best) }"; then
            best=$seconds memory=$peak
        fi
    done
    # shellcheck disable=SC2046
    read -r seconds peak < <(tf32_as $tf32 run_segtool $(recipe "$model") "${size[@]}" --device "$name" --precision "$precision")
    ratio=-
    if [ -n "$best" ] && [ "$seconds" != failed ]; then
        ratio=$(awk "BEGIN { printf \"%.2f\", $best / $seconds }")
    fi
    echo "| $model $mode $precision b${shape%x*} s${shape#*x} | ${cells[0]} | ${cells[1]} | ${cells[2]} | $seconds | $ratio" \
        "| ${memory:--} | $peak |"
}

# Runs a measurement with TF32 forbidden (0) or left to the program (1).
tf32_as() {
    if [ "$1" = 0 ]; then
        NVIDIA_TF32_OVERRIDE=0 measure "${@:2}"
    else
        measure "${@:2}"
    fi
}

table=
for model in $(words "$models"); do
    shape=$unet
    [ "$model" = unet ] || shape=$pspnet
    for mode in $(words "$modes"); do
        for precision in $(words "$precisions"); do
            table+=$(row "$model" "$mode" "$precision" "$shape")$'\n'
        done
    done
done

# The recipes with all that belongs to a step of theirs: loss, optimiser, clipping, average.
own=
for recipe in $(words "$recipes"); do
    shape=(--batch "${recipe_shape%x*}" --size "${recipe_shape#*x}" --steps "$steps" --device "$name" --recipe "$recipe")
    read -r infer infer_peak < <(measure run_segtool "${shape[@]}" --mode infer)
    read -r train train_peak < <(measure run_segtool "${shape[@]}" --mode train --own-step)
    read -r again again_peak < <(measure run_segtool "${shape[@]}" --mode train --own-step --set training.checkpointing=true)
    own+="| $recipe b${recipe_shape%x*} s${recipe_shape#*x} | $infer | $infer_peak | $train | $train_peak | $again | $again_peak |"$'\n'
done

# Prints what a training on the seeps tiles came to.
train_on_seeps() {
    local run line
    run=$(mktemp -d)
    if with_libraries "$segtool" train --recipe unet-seeps --width "$seeps_width" --num-epoch "$seeps_epochs" --device "$name" \
        --train-list "$seeps/train_images.txt" --label-list "$seeps/train_masks.txt" --val-list "$seeps/val_images.txt" \
        --val-label-list "$seeps/val_masks.txt" --output-path "$run/run" >"$log" 2>&1; then
        line=$(python3 - "$run/run/log.csv" <<'SCRIPT'
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1])))
iou = [f"{float(v):.3f}" if v else "-" for k, v in rows[-1].items() if k.startswith("iou ")]
rate = sorted(float(row["images_per_second"]) for row in rows)[len(rows) // 2]
print(f"{rate:.1f} images/s, validation IoU {' '.join(iou)}")
SCRIPT
)
        echo "segtool: $line, $(grep -o 'at most .* of memory' "$log" | tail -n 1)"
    else
        echo "segtool: failed: $(tail -n 1 "$log")"
    fi
    rm -rf "$run"
    if [ -n "$seeps_peer" ]; then
        if python3 "$seeps_peer" "$seeps" --width "$seeps_width" --epochs "$seeps_epochs" --classes 8 --device "$device" >"$log" 2>&1; then
            echo "PyTorch: $(tail -n 1 "$log")"
        else
            echo "PyTorch: failed: $(tail -n 1 "$log")"
        fi
    fi
}

# How training scales over the GPUs, with each library of collectives.
scaling=
gpus=$(nvidia-smi --list-gpus 2>/dev/null | wc -l || true)
if [ "$device" = cuda ] && [ "${gpus:-0}" -gt 1 ]; then
    for model in $(words "$models"); do
        shape=$unet
        [ "$model" = unet ] || shape=$pspnet
        for library in nccl gloo; do
            # shellcheck disable=SC2046
            scaling+=$(run_segtool $(recipe "$model") --batch "${shape%x*}" --size "${shape#*x}" --mode train --steps "$steps" \
                --precision bf16 --devices all --collectives "$library" 2>&1 | sed "1s/^/$library: /" || echo failed)$'\n\n'
        done
    done
fi

trained=
if [ -n "$seeps" ]; then
    trained=$(train_on_seeps)
fi

gpu=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1 || true)
[ "$device" = cuda ] || gpu="CPU: $(grep -m 1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs), $(nproc) cores"
version=$(python3 -c 'import torch; print(torch.__version__)')
cat <<REPORT
$(date -u +%F), ${gpu:-unknown GPU}, PyTorch $version, $("$segtool" --version 2>/dev/null || LD_LIBRARY_PATH=$libraries "$segtool" --version).

Median seconds of a step over $steps steps, after two that do not count. The ratio is PyTorch's best time over segtool's:
above 1, segtool is faster. Memory in GiB: of PyTorch's best variant, and of segtool. In rows of float32, TF32 is off in
both programs (NVIDIA_TF32_OVERRIDE=0); in rows of tf32, PyTorch runs with its defaults: TF32 in convolutions.

| what | torch | torch channels-last | torch compile | segtool | ratio | torch memory | segtool memory |
| --- | --- | --- | --- | --- | --- | --- | --- |
$table
    python3 torch_bench.py MODEL --batch B --size S --mode MODE --device $device --dtype DTYPE [--channels-last | --compile] --steps $steps
    segtool bench --recipe RECIPE --batch B --size S --mode MODE --device $name --precision PRECISION --steps $steps

The recipes' own steps (seconds, and memory in GiB), float32, also with activations computed again:

| recipe | inference | memory | training step | memory | with checkpointing | memory |
| --- | --- | --- | --- | --- | --- | --- |
$own
    segtool bench --recipe RECIPE --batch B --size S --mode train --own-step [--set training.checkpointing=true] --device $name

U-Net of width $seeps_width on the seeps tiles, all classes, $seeps_epochs epochs (the last one's scores):

    ${trained:-not asked for (--seeps)}

Training in bf16 on 1, 2, 4, ... of the $gpus GPU(s), by segtool bench --devices all --collectives LIBRARY:

$(sed 's/^\(.\)/    \1/' <<<"${scaling:-needs several GPUs}")

Before that, segtool on this device against its pure Rust backend:

$(sed 's/^\(.\)/    \1/' <<<"$checked")
REPORT
if ! $agrees; then
    echo "segtool's results on $name differ from the pure Rust backend's" >&2
    exit 1
fi
