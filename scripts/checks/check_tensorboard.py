"""Print what TensorBoard's own reader finds in the event files of a run.

Usage: check_tensorboard.py RUN

Needs the package `tensorboard`. For each curve: how many points there are, and the first and last of them. It fails
where a curve goes back in its steps, which a resumed training must not leave behind, or where nothing is found.
"""
import pathlib
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def main(run: str) -> int:
    folder = pathlib.Path(run) / "tensorboard"
    # 0 keeps every point.
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    tags = sorted(events.Tags()["scalars"])
    backwards = []
    for tag in tags:
        points = events.Scalars(tag)
        steps = [point.step for point in points]
        if any(later <= earlier for earlier, later in zip(steps, steps[1:])):
            backwards.append(tag)
        first, last = points[0], points[-1]
        print(f"{tag:32} {len(points):6} points, {first.value:.6g} at {first.step} to {last.value:.6g} at {last.step}")
    if backwards:
        print(f"steps go back in: {', '.join(backwards)}")
    if not tags:
        print(f"no scalars in {folder}")
    return 1 if backwards or not tags else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
