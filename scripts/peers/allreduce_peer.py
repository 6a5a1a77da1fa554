"""Times the sum of as many bytes as a training step exchanges, over loopback, for comparison with `segtool bench --processes`.

Usage: allreduce_peer.py --mib 187.6 [--processes 2] [--bucket-mib 16] [--rounds 20]

Needs torch. Prints the speed of a plain socket between two processes, and the median time in which Gloo adds up the
values of all processes through torch.distributed, in buckets of 16 MiB one after the other as segtool sends them. Each
process has one thread.
"""
import argparse
import multiprocessing
import os
import socket
import statistics
import time

MIB = 1 << 20


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def send(port, count):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        block = bytes(MIB)
        for _ in range(count):
            connection.sendall(block)
        connection.recv(1)


def socket_speed(mib):
    """MiB a second from one process to another."""
    count = max(1, round(mib))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        sender = multiprocessing.Process(target=send, args=(listener.getsockname()[1], count))
        sender.start()
        connection, _ = listener.accept()
        with connection:
            block, left = bytearray(MIB), count * MIB
            began = time.perf_counter()
            while left > 0:
                left -= connection.recv_into(block)
            seconds = time.perf_counter() - began
            connection.sendall(b"x")
        sender.join()
    return count / seconds


def member(rank, port, arguments, results):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=arguments.processes)
    values = torch.zeros(round(arguments.mib * MIB / 4))
    buckets = values.split(round(arguments.bucket_mib * MIB / 4))
    times = []
    for _ in range(arguments.rounds + 2):
        dist.barrier()
        began = time.perf_counter()
        for bucket in buckets:
            dist.all_reduce(bucket)
        times.append(time.perf_counter() - began)
    if rank == 0:
        # The first two do not count.
        results.put(statistics.median(times[2:]))
    dist.barrier()
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=float, required=True, help="MiB that each process gives")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--bucket-mib", type=float, default=16)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    speed = statistics.median(socket_speed(max(arguments.mib, 512)) for _ in range(5))
    results, port = multiprocessing.Queue(), free_port()
    members = [
        multiprocessing.Process(target=member, args=(rank, port, arguments, results))
        for rank in range(arguments.processes)
    ]
    for process in members:
        process.start()
    seconds = results.get()
    for process in members:
        process.join()
    rate = arguments.mib / seconds
    print(f"socket {speed:.0f} MiB/s; all-reduce {1e3 * seconds:.1f} ms for {arguments.mib} MiB, {rate:.0f} MiB/s")


if __name__ == "__main__":
    main()
