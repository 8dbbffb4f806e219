"""Driving a server from a process of its own: pre-sealed bodies, persistent connections, a bounded number of requests.

Run as `python -m bench.load PORT BODIES CONCURRENCY`; prints one JSON object.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections import Counter
from pathlib import Path

HEADERS = {"Content-Type": "application/jose+json"}


def drive(port: int, bodies: list[bytes], concurrency: int) -> dict[str, object]:
    """Send every body once over `concurrency` connections; latencies are in milliseconds."""
    shares = [bodies[start::concurrency] for start in range(concurrency)]
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    lock = threading.Lock()

    def send(share: list[bytes]) -> None:
        own: list[float] = []
        counted: Counter[int] = Counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for body in share:
            started = time.perf_counter()
            connection.request("POST", "/v1/messages", body, HEADERS)
            answer = connection.getresponse()
            answer.read()
            own.append((time.perf_counter() - started) * 1000)
            counted[answer.status] += 1
        connection.close()
        with lock:
            latencies.extend(own)
            statuses.update(counted)

    threads = [threading.Thread(target=send, args=(share,)) for share in shares]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    latencies.sort()
    return {
        "count": len(latencies),
        "seconds": elapsed,
        "rate": len(latencies) / elapsed,
        "p50_ms": latencies[len(latencies) // 2],
        "p99_ms": latencies[int(len(latencies) * 0.99)],
        "statuses": {str(status): count for status, count in statuses.items()},
    }


def read_bodies(path: Path) -> list[bytes]:
    """Bodies from a file, one a line."""
    return path.read_bytes().splitlines()


if __name__ == "__main__":
    print(json.dumps(drive(int(sys.argv[1]), read_bodies(Path(sys.argv[2])), int(sys.argv[3]))))
