#!/usr/bin/env bash
# Sets libtorch 2.9 up for `cargo build --features libtorch` on Linux.
#
#   scripts/setup-libtorch.sh [cuda|cpu] [FOLDER]      (default: cuda, .libtorch)
#
# cuda: PyTorch's CUDA 12.8 build; works without a GPU too. About 7 GB on disk.
# cpu:  PyTorch's CPU build, from its own wheel index. About 1 GB.
#
# Makes a Python environment in FOLDER and writes FOLDER/env; then:
#
#   source .libtorch/env
#   cargo build --release --features libtorch
set -euo pipefail

kind=${1:-cuda}
folder=${2:-.libtorch}

case $kind in
    cuda) index=() ;;
    cpu) index=(--index-url https://download.pytorch.org/whl/cpu) ;;
    *) echo "error: unknown kind '$kind'; choose cuda or cpu" >&2; exit 2 ;;
esac

# What the build needs beside libtorch: a C++ compiler, and Python environments.
if ! command -v c++ >/dev/null || ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update && apt-get install -y g++ python3-venv
    else
        echo "error: a C++ compiler (c++) and Python with venv are needed; on Debian and Ubuntu: sudo apt-get install g++ python3-venv" >&2
        exit 1
    fi
fi
[ -x "$folder/bin/pip" ] || python3 -m venv --clear "$folder"
# setuptools: torch's list of include folders imports it. safetensors and numpy: the tests exchange weights with PyTorch.
"$folder/bin/pip" install --quiet --disable-pip-version-check setuptools numpy safetensors
"$folder/bin/pip" install --quiet --disable-pip-version-check "${index[@]}" torch==2.9.0

folder=$(cd "$folder" && pwd)
cat >"$folder/env" <<EOF
export VIRTUAL_ENV="$folder"
export PATH="$folder/bin:\$PATH"
export LIBTORCH_USE_PYTORCH=1
EOF
"$folder/bin/python3" -c 'import torch; print("libtorch", torch.__version__, "in", torch.__path__[0] + "/lib"); print("CUDA GPUs:", torch.cuda.device_count())'
echo "now: source $folder/env && cargo build --release --features libtorch"
