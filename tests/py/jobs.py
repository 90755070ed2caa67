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


def work(item, nap=0.05):
    sign(True)
    until = time.process_time() + 0.005
    while time.process_time() < until:
        pass
    time.sleep(nap)
    sign(False)
    return item * item
