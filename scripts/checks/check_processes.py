#!/usr/bin/env python3
"""Trains with real launchers, and injects failures. Needs a build with libtorch; some checks torchrun, mpirun or root.

    check_processes.py --program target/release/segtool --torchrun .libtorch/bin/torchrun

Trains a small network on synthetic images in one process and, with the same batches, in two: by the program's own
launcher, torchrun, mpirun, and on two machines simulated by network namespaces. Weights must be equal within 1e-5 of
their norm, after one epoch and after four, at a learning rate so low that rounding errors hardly grow. Then processes are killed and
suspended and the network is cut; all processes must end in time, with a clear message. After a restart by torchrun, the
weights must be bit-identical to those of an undisturbed run. With --gpus N, the weights of N NVIDIA GPUs, by NCCL and by Gloo,
must be those of one within 1e-4, and processes on two GPUs are killed and suspended, too. What is not installed or permitted is skipped, with a note."""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

FAILED = []


def say(right, text):
    print(("ok    " if right else "WRONG ") + text, flush=True)
    if not right:
        FAILED.append(text)


def make_data(folder, count):
    rng = np.random.default_rng(7)
    lists = {"images": [], "labels": []}
    for name in lists:
        (folder / name).mkdir(parents=True)
    rows, columns = np.mgrid[0:48, 0:48]
    for number in range(count):
        label = ((rows * rng.uniform(0.5, 1.5) + columns * rng.uniform(-1, 1) + rng.uniform(0, 40)) // 20 % 4).astype(np.uint8)
        image = np.clip(60 * label + rng.normal(0, 12, label.shape) + 20, 0, 255).astype(np.uint8)
        for name, array in (("images", image), ("labels", label)):
            path = folder / name / f"{number:03}.png"
            Image.fromarray(array).save(path)
            lists[name].append(str(path))
    for name, paths in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(paths) + "\n")


def arguments(folder, run, device, epochs):
    """`device`: a name, or the GPUs of several processes as `gpus 0,1`."""
    where = ["--devices", device.split()[1]] if device.startswith("gpus ") else ["--device", device]
    return [
        "train", "--recipe", "pspnet18", "--width", "4", "--dataset", "demo", *where,
        "--train-list", str(folder / "images.txt"), "--label-list", str(folder / "labels.txt"),
        "--batch-size", "8", "--augment", "flip-horizontal", "--num-epoch", str(epochs), "--seed", "3",
        "--optimizer", "sgd", "--learning-rate", "0.0001", "--output-path", str(run), "--sync-batch-norm", "on",
    ]


def tensors(path):
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    values = {}
    for name, entry in sorted(header.items()):
        begin, end = entry["data_offsets"]
        values[name] = np.frombuffer(data[8 + length + begin : 8 + length + end], np.float32)
    return np.concatenate(list(values.values())).astype(np.float64)


def distance(run, other):
    a, b = (tensors(folder / "last/model.safetensors") for folder in (run, other))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def environment(**more):
    return {**os.environ, **{name: str(value) for name, value in more.items()}}


def member(program, args, rank, size, host, port, prefix=()):
    variables = dict(RANK=rank, WORLD_SIZE=size, LOCAL_RANK=0, LOCAL_WORLD_SIZE=1, MASTER_ADDR=host, MASTER_PORT=port)
    command = [*prefix, program, *args]
    return subprocess.Popen(command, env=environment(**variables), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(process, limit):
    try:
        return process.wait(limit), process.stdout.read()
    except subprocess.TimeoutExpired:
        process.kill()
        return None, process.stdout.read()


def until(path, limit=180):
    began = time.time()
    while not path.exists():
        if time.time() - began > limit:
            raise SystemExit(f"{path} does not appear")
        time.sleep(0.05)


def compare_launchers(options, folder, device):
    alone = folder / f"alone-{device}"
    subprocess.run([options.program, *arguments(folder, alone, device, 1)], check=True, capture_output=True)
    launchers = {"own launcher": ([options.program], ["--processes", "2"])}
    if options.torchrun:
        launchers["torchrun"] = ([options.torchrun, "--no-python", "--nproc-per-node", "2", "--master-port", str(free_port()), options.program], [])
    if shutil.which("mpirun"):
        port = free_port()
        launchers["mpirun"] = (
            ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "2", "-x", "MASTER_ADDR=127.0.0.1", "-x", f"MASTER_PORT={port}", options.program],
            [],
        )
    for name, (before, after) in launchers.items():
        run = folder / f"{name.replace(' ', '-')}-{device}"
        done = subprocess.run([*before, *arguments(folder, run, device, 1), *after], capture_output=True, text=True, timeout=600)
        if done.returncode:
            say(False, f"{name}, {device}: ended with {done.returncode}: {done.stderr[-600:]}")
            continue
        off = distance(run, alone)
        say(off < 1e-5, f"{name}, {device}: weights {off:.1e} off those of one process, relative to their norm")
    # 6 steps in an epoch.
    runs = [folder / f"longer-{size}-{device}" for size in (1, 2)]
    for run, more in zip(runs, ([], ["--processes", "2"])):
        subprocess.run([options.program, *arguments(folder, run, device, 4), *more], check=True, capture_output=True)
    off = distance(runs[1], runs[0])
    say(off < 1e-5, f"own launcher, {device}, 24 steps: weights {off:.1e} off those of one process, relative to their norm")


def compare_gpus(options, folder):
    """Trains on one GPU and on several, whose gradients are exchanged by NCCL and by Gloo."""
    alone = folder / "alone-gpu"
    subprocess.run([options.program, *arguments(folder, alone, "libtorch-cuda:0", 1)], check=True, capture_output=True)
    gpus = "gpus " + ",".join(map(str, range(options.gpus)))
    for library, said in (("nccl", "between the GPUs by NCCL"), ("gloo", "through main memory by Gloo")):
        run = folder / f"gpus-{library}"
        command = [options.program, *arguments(folder, run, gpus, 1), "--collectives", library]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode:
            say(False, f"{options.gpus} GPUs, {library}: ended with {done.returncode}: {done.stderr[-600:]}")
            continue
        off = distance(run, alone)
        say(off < 1e-4 and said in done.stderr, f"{options.gpus} GPUs, {library}: weights {off:.1e} off those of one GPU, relative to their norm")


def restart(options, folder):
    """A process is killed in mid-epoch; torchrun restarts both."""
    undisturbed, run = folder / "undisturbed", folder / "restarted"

    def start(target):
        command = [options.torchrun, "--no-python", "--nproc-per-node", "2", "--max-restarts", "1", "--master-port", str(free_port()), options.program]
        return subprocess.Popen([*command, *arguments(folder, target, "flex", 40)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    first = start(undisturbed)
    code, text = ended(first, 900)
    if code:
        say(False, f"torchrun ended with {code}: {text[-600:]}")
        return
    second = start(run)
    until(run / "log.csv")
    time.sleep(1)
    found = subprocess.run(["pgrep", "-f", f"{options.program} train .*{run}"], capture_output=True, text=True).stdout.split()
    victim = max(int(pid) for pid in found if Path(f"/proc/{pid}/exe").resolve() == Path(options.program).resolve())
    os.kill(victim, signal.SIGKILL)
    code, text = ended(second, 900)
    resumed = "resuming" in text
    equal = code == 0 and (run / "last/model.safetensors").read_bytes() == (undisturbed / "last/model.safetensors").read_bytes()
    say(code == 0 and resumed and equal, f"torchrun --max-restarts 1 after SIGKILL: exit code {code}, went on {resumed}, the very weights of an undisturbed run {equal}")


def break_one(options, folder, name, harm, expected, limit, gpus=False):
    run = folder / f"{name}{' GPUs' if gpus else ''}"
    port = free_port()
    args = [arguments(folder, run, f"libtorch-cuda:{rank}" if gpus else "flex", 100000) for rank in range(2)]
    processes = [member(options.program, args[rank], rank, 2, "127.0.0.1", port) for rank in range(2)]
    until(run / "log.csv")
    harm(processes[1])
    began = time.time()
    code, text = ended(processes[0], limit)
    took = time.time() - began
    processes[1].kill()
    last = text.strip().splitlines()[-1] if text.strip() else ""
    say(code == 1 and expected in text, f"{run.name}: exit code {code} after {took:.1f} s: {last}")


def run_ip(*args):
    return subprocess.run(["ip", *args], capture_output=True, text=True)


def machines(options, folder):
    """Two network namespaces with a virtual cable between them."""
    names = ["segtool-a", "segtool-b"]
    if os.geteuid() or not shutil.which("ip") or run_ip("netns", "add", names[0]).returncode:
        print("left  two machines: needs root, and ip of iproute2")
        return
    try:
        run_ip("netns", "add", names[1])
        run_ip("link", "add", "segtool0", "netns", names[0], "type", "veth", "peer", "name", "segtool1", "netns", names[1])
        for i, name in enumerate(names):
            run_ip("-n", name, "addr", "add", f"10.91.0.{i + 1}/24", "dev", f"segtool{i}")
            run_ip("-n", name, "link", "set", f"segtool{i}", "up")
            run_ip("-n", name, "link", "set", "lo", "up")

        def start(run, epochs):
            args = arguments(folder, run, "flex", epochs)
            return [member(options.program, args, i, 2, "10.91.0.1", 29555, ["ip", "netns", "exec", name]) for i, name in enumerate(names)]

        run = folder / "machines"
        codes = [ended(process, 300) for process in start(run, 1)]
        if any(code for code, _ in codes):
            say(False, f"two machines: {codes}")
            return
        off = distance(run, folder / "alone-flex")
        say(off < 1e-5, f"two machines: weights {off:.1e} off those of one process")
        run = folder / "cut"
        processes = start(run, 100000)
        until(run / "log.csv")
        run_ip("-n", names[0], "link", "set", "segtool0", "down")
        began = time.time()
        for place, process in enumerate(processes):
            code, text = ended(process, 60)
            last = text.strip().splitlines()[-1] if text.strip() else ""
            say(code == 1 and "has not answered" in text, f"network cut, process {place}: exit code {code} after {time.time() - began:.1f} s: {last}")
    finally:
        for name in names:
            run_ip("netns", "del", name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--torchrun")
    parser.add_argument("--gpus", type=int, default=0, help="also compare one NVIDIA GPU with this many")
    options = parser.parse_args()
    options.program = str(Path(options.program).resolve())
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_data(folder, 43)
        for device in ("flex", "libtorch"):
            compare_launchers(options, folder, device)
        if options.gpus:
            compare_gpus(options, folder)
        else:
            print("left  several GPUs: give their number by --gpus")
        for gpus in (False, True) if options.gpus else (False,):
            break_one(options, folder, "killed", lambda process: process.kill(), "ended unexpectedly", 30, gpus)
            break_one(options, folder, "stopped", lambda process: process.send_signal(signal.SIGSTOP), "has not answered", 60, gpus)
        if options.torchrun:
            restart(options, folder)
        else:
            print("left  torchrun: give it by --torchrun")
        machines(options, folder)
    print(f"{len(FAILED)} wrong" if FAILED else "all as it should be")
    sys.exit(bool(FAILED))


if __name__ == "__main__":
    main()
