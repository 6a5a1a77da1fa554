"""Kill `segtool predict --skip-existing` again and again, and compare the result with an undisturbed run.

Usage: kill_predict.py --program PATH --run RUN [--images 200] [--kills 20] [--shards 1] [--seed 0] [OPTION...]

Makes grey images of many sizes in a temporary folder (RUN is a run of a network for one band, such as that of
`segtool demo`), predicts them with --png and --prob and any further OPTIONs, then again into another folder, where the
program is killed with SIGKILL after random times within the time that is left. With several shards, all of them run at
once and are killed together.

Checked after each kill: every file with a final name is byte-identical to that of the undisturbed run; what the journal
recorded as done before is still done; all of its lines can be read, except one that was cut off. At the end: all files
are those of the undisturbed run, predictions.json and predictions.txt too, and the journal records each image as done.
Exits with 1 if anything differs.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time

JOURNAL = "predictions.jsonl"
TEMPORARY = ".segtool-"


def write_images(folder, count, rng):
    folder.mkdir()
    for number in range(count):
        width, height = rng.randrange(64, 320), rng.randrange(64, 320)
        samples = bytes((x * 7 + y * 13 + number * 29 + x * y // 9) % 251 for y in range(height) for x in range(width))
        (folder / f"{number:04}.pgm").write_bytes(b"P5\n%d %d\n255\n" % (width, height) + samples)


def files(folder):
    """Files under their own names, but the journal, which holds times, and the record and list, which are of the moment."""
    moment = {JOURNAL, "predictions.json", "predictions.txt"}
    return {path.name: path.read_bytes() for path in folder.iterdir()
            if path.name not in moment and not path.name.startswith(TEMPORARY)}


def done(folder):
    """The images that the journal says are done, and the number of lines that were torn."""
    path, last, damaged = folder / JOURNAL, {}, 0
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    for line in filter(None, lines):
        try:
            entry = json.loads(line)
            last[entry["input"]] = entry["state"]
        except ValueError:
            damaged += 1
    return {name for name, state in last.items() if state == "done"}, damaged


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments, options = parser.parse_known_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        return check(arguments, options, pathlib.Path(folder), rng)


def check(arguments, options, folder, rng):
    write_images(folder / "images", arguments.images, rng)
    first = [arguments.program, "predict", "--quiet", "--run", arguments.run, "--png", "--prob", *options]

    def command(out, *more):
        return [*first, "--output-path", str(folder / out), *more, str(folder / "images")]

    began = time.monotonic()
    subprocess.run(command("whole"), check=True, stdout=subprocess.DEVNULL)
    whole = time.monotonic() - began
    expected = files(folder / "whole")
    print(f"undisturbed: {arguments.images} images, {len(expected)} files, {whole:.1f} s")
    faults, before, left = [], set(), whole
    for kill in range(1, arguments.kills + 1):
        shards = [["--shard", f"{index + 1}/{arguments.shards}"] for index in range(arguments.shards)]
        running = [subprocess.Popen(command("killed", "--skip-existing", *shard), stdout=subprocess.DEVNULL)
                   for shard in shards]
        # The first kills may also hit the start of the program.
        wait = rng.uniform(0.02, max(0.3, 1.5 * left / (arguments.kills + 1 - kill)))
        time.sleep(wait)
        ended = [child.poll() is not None for child in running]
        for child in running:
            child.kill()
        for child in running:
            child.wait()
        if not (folder / "killed").exists():
            print(f"kill {kill} after {wait:.2f} s: nothing there yet")
            continue
        found = files(folder / "killed")
        faults += [f"kill {kill}: {name} is half or different" for name in found if expected.get(name) != found[name]]
        now, damaged = done(folder / "killed")
        if before - now:
            faults.append(f"kill {kill}: {len(before - now)} done before are not done now")
        hidden = sum(path.name.startswith(TEMPORARY) for path in (folder / "killed").iterdir())
        print(f"kill {kill} after {wait:.2f} s{' (had ended)' if all(ended) else ''}: {len(now)} done, {len(found)} files, "
              f"{hidden} temporary, {damaged} torn lines")
        before, left = now, whole * (1 - len(now) / arguments.images)
    last = subprocess.run(command("killed", "--skip-existing"), check=True, stdout=subprocess.PIPE, text=True)
    print(last.stdout.strip())
    if files(folder / "killed") != expected:
        faults.append("the files are not those of the undisturbed run")
    for name in ("predictions.json", "predictions.txt"):
        if (folder / "killed" / name).read_bytes() != (folder / "whole" / name).read_bytes():
            faults.append(f"{name} is not that of the undisturbed run")
    now, _ = done(folder / "killed")
    if len(now) != arguments.images:
        faults.append(f"the journal has {len(now)} of {arguments.images} images")
    print("\n".join(faults) or f"{arguments.kills} kills: nothing lost, half or different")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
