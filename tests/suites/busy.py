"""A job that leaves others little: it takes all tokens of the pool, over and over, and gives them back for
a moment. It ends with its parent, or at SIGTERM."""

import os
import re
import signal
import time

HELD, FREE = 0.03, 0.005

parent = os.getppid()
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
path = re.search("--jobserver-auth=fifo:(\\S+)", os.environ["MAKEFLAGS"])[1]
pool = os.open(path, os.O_RDWR | os.O_NONBLOCK)
os.write(1, b"ready\n")
while not ended and os.getppid() == parent:
    try:
        taken = os.read(pool, 100)
    except BlockingIOError:
        taken = b""
    time.sleep(HELD)
    if taken:
        os.write(pool, taken)
    time.sleep(FREE)
