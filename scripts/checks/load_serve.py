#!/usr/bin/env python3
"""Loads `segtool serve` with many clients and measures it.

    scripts/checks/load_serve.py --program target/release/segtool --run RUN --image IMAGE [--clients 32] [--seconds 60]

Each client sends the image to /api/predict again and again; if the queue is full, it waits as long as Retry-After says.
Prints the latency of predictions (from the first attempt and from the accepted one), how many requests were refused,
other responses, and the memory of the server over time. Fails if there is a status other than 200 and 503, if results
differ, or if the memory grows by more than a tenth after the first ten seconds.
"""

import argparse
import http.client
import statistics
import subprocess
import sys
import threading
import time


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="segtool")
    parser.add_argument("--run", required=True)
    parser.add_argument("--image", required=True)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--max-queue", default="16")
    return parser.parse_args()


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        line = next(line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


class Client(threading.Thread):
    def __init__(self, port, image, end):
        super().__init__()
        self.port, self.image, self.end = port, image, end
        self.taken, self.whole, self.refused, self.others, self.results = [], [], 0, [], set()

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        first = time.monotonic()
        while time.monotonic() < self.end:
            began = time.monotonic()
            try:
                connection.request("POST", "/api/predict?name=image.png", self.image)
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as fault:
                self.others.append(repr(fault))
                connection.close()
                continue
            if answer.status == 200:
                self.taken.append(time.monotonic() - began)
                self.whole.append(time.monotonic() - first)
                self.results.add(body)
                first = time.monotonic()
            elif answer.status == 503:
                self.refused += 1
                time.sleep(min(int(answer.getheader("Retry-After")), max(0.0, self.end - time.monotonic())))
            else:
                self.others.append(f"{answer.status} {body[:200]}")


def percentiles(seconds):
    if len(seconds) < 2:
        return "too few"
    cuts = statistics.quantiles(seconds, n=100)
    return f"p50 {cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms, most {max(seconds) * 1000:.0f} ms"


def main():
    given = arguments()
    with open(given.image, "rb") as file:
        image = file.read()
    command = [given.program, "serve", "--port", "0", "--run", given.run, "--max-queue", given.max_queue]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        port = int(server.stdout.readline().split(":")[2].split("/")[0])
        began = time.monotonic()
        clients = [Client(port, image, began + given.seconds) for _ in range(given.clients)]
        for client in clients:
            client.start()
        memory = []
        while any(client.is_alive() for client in clients):
            memory.append((time.monotonic() - began, resident(server.pid)))
            time.sleep(0.5)
    finally:
        server.terminate()
        code = server.wait(20)
    taken = [seconds for client in clients for seconds in client.taken]
    whole = [seconds for client in clients for seconds in client.whole]
    others = [other for client in clients for other in client.others]
    results = set().union(*(client.results for client in clients))
    print(f"{len(taken)} predictions in {given.seconds:.0f} s ({len(taken) / given.seconds:.1f}/s), "
          f"{sum(client.refused for client in clients)} answers 503, {len(others)} others, exit code {code}")
    print(f"from the request that was taken: {percentiles(taken)}")
    print(f"from the first try: {percentiles(whole)}")
    for second in (1, 10, 20, 30, 40, 50, 60):
        near = [mib for at, mib in memory if abs(at - second) < 0.5]
        if near:
            print(f"memory after {second} s: {near[0]:.0f} MiB")
    settled = [mib for at, mib in memory if at >= 10]
    grown = settled and max(settled) > 1.1 * settled[0]
    if others or len(results) > 1 or code != 0 or grown:
        sys.exit(f"failed: {others[:3]}, {len(results)} different results, exit code {code}, memory grown: {bool(grown)}")


if __name__ == "__main__":
    main()
