#!/usr/bin/env bash
# Draws the figures of README and guide into docs/figures: demo.png from synthetic sections; with a folder of real data and
# runs trained on them as the guide says, also those of the systems' pages.
#
#   scripts/make_figures.sh target/release/segtool [DATA RUNS]
#
# DATA holds seeps/ (with the lists val_images.txt and val_masks.txt) and core/ (section.png, section_labels.png); RUNS
# holds seeps/ and core/.
set -euo pipefail
cd "$(dirname "$0")/.."
segtool=$(realpath "$1") figures=$PWD/docs/figures
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
mkdir -p "$figures"

"$segtool" demo --output-path "$work/demo"
cd "$work/demo"
head -n 1 data/test_images.txt >one.txt
"$segtool" concat --image-predict "predictions/$(basename "$(cat one.txt)" .png).npy" --dataset run \
    --images "data/$(cat one.txt)" --labels "data/labels/$(basename "$(cat one.txt)")" \
    --titles --legend --errors --scale 2 --output-path "$work/out"
cp "$work"/out/*_concat.png "$figures/demo.png"

[ $# -ge 3 ] || exit 0
data=$(realpath "$2") runs=$(realpath "$3")
figure() { # NAME STEM LAYOUT...: image, label, prediction and errors of one validation image
    local name=$1 stem=$2; shift 2
    cd "$data/$name"
    for list in images masks; do grep -F "$stem" "val_$list.txt" | sed "s|^|$PWD/|" >"$work/$name-$list.txt"; done
    "$segtool" predict --run "$runs/$name" --input-list "$work/$name-images.txt" --output-path "$work/$name"
    "$segtool" concat --list-predict "$work/$name/predictions.txt" --image-list "$work/$name-images.txt" \
        --label-list "$work/$name-masks.txt" --dataset "$runs/$name" --titles --errors --output-path "$work/out" "$@"
    cp "$work/out/$stem"*_concat.png "$figures/$name.png"
}
figure seeps "${SEEPS:-045589.000005}"
cd "$data/core"
"$segtool" predict --run "$runs/core" --output-path "$work/core" section.png
"$segtool" concat --predictions "$work/core" --images section.png --labels section_labels.png --dataset core \
    --layout vertical --titles --legend --max-width 1200 --output-path "$work/out"
cp "$work/out/section_concat.png" "$figures/core.png"
