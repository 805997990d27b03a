"""Notes when the first and the last of n jobs ran, without a command to Redis. Peers in
environments of their own use it too.

The file appears when the last job has run. It has four numbers: the times of the first and the last
job in ns of CLOCK_MONOTONIC, which all processes of a machine share, and the worker's CPU time at
each, in s. So the start of a worker is not measured.
"""

import os
import time


class Tally:
    def __init__(self, path: str, n: int) -> None:
        self._path, self._left = path, n
        self._first_ns, self._first_cpu_s = 0, 0.0

    def tick(self) -> None:
        if not self._first_ns:
            self._first_ns, self._first_cpu_s = time.monotonic_ns(), time.process_time()
        self._left -= 1
        if self._left == 0:
            with open(f"{self._path}.part", "w") as file:
                file.write(f"{self._first_ns} {time.monotonic_ns()} {self._first_cpu_s} {time.process_time()}")
            os.rename(f"{self._path}.part", self._path)
