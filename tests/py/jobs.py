"""Signs the register of running jobs (c/jobs.h) from a Python process that has no program of its own."""

import fcntl
import os
import struct
import time


def sign(coming):
    with open(os.environ["JSSHIM_TEST_JOBS"], "r+b", buffering=0) as register:
        fcntl.flock(register, fcntl.LOCK_EX)
        running, peak, started, ended = struct.unpack("4I", register.read(16))
        if coming:
            running, started = running + 1, started + 1
            peak = max(peak, running)
        else:
            running, ended = running - 1, ended + 1
        register.seek(0)
        register.write(struct.pack("4I", running, peak, started, ended))


def burn(seconds):
    """Uses so much processor time and notes the burst (harness/bursts.rs)."""
    start, until = time.monotonic_ns(), time.process_time() + seconds
    while time.process_time() < until:
        pass
    fd = os.open(os.environ["JSSHIM_TEST_BURSTS"], os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"%d %d\n" % (start, time.monotonic_ns()))
    os.close(fd)


def compute(item, seconds=0.1):
    """A job that computes and does not sleep."""
    sign(True)
    burn(seconds)
    sign(False)
    return item * item


def work(item, nap=0.05):
    sign(True)
    until = time.process_time() + 0.005
    while time.process_time() < until:
        pass
    time.sleep(nap * int(os.environ.get("JSSHIM_TEST_EMULATED", "1")))  # as in c/jobs.h
    sign(False)
    return item * item
