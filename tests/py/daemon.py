"""A build daemon, as those of gradle, bazel or sccache: daemon.py HOW ASK JOBS asks it by a socket in the working
directory to run that many jobs at once, and starts it if it is not there. Prints ASK and how many have run at once.
ASK "stop" ends it.

HOW: fork   it is a fork of the one who asks         exec     it is a program of its own
     keeps  a fork that closes no descriptor         threads  it starts each job from a thread
     child  it has a child for as long as it lives   shell    it has a shell start them all
     space  it is the first of a PID namespace       background  a fork that stays in the session
     late, late_exec: as fork and exec
ASK "leave" does not wait for the jobs."""

import fcntl
import os
import socket
import struct
import subprocess
import sys
import threading
import time

JOB = [os.environ["JOB"], "-b", "40"]


def peak():
    """How many jobs ran at once since this was asked last."""
    with open(os.environ["JSSHIM_TEST_JOBS"], "r+b", buffering=0) as register:
        fcntl.flock(register, fcntl.LOCK_EX)
        running, most, started, ended = struct.unpack("4I", register.read(16))
        register.seek(0)
        register.write(struct.pack("4I", running, running, started, ended))
    return most


def started():
    with open(os.environ["JSSHIM_TEST_JOBS"], "rb") as register:
        return struct.unpack("4I", register.read(16))[2]


def run(how, count):
    if how == "shell":
        text = " ".join(JOB) + " & "
        return subprocess.run(["sh", "-c", text * count + "wait"]).check_returncode()
    one = lambda: subprocess.Popen(JOB)
    if how == "threads":
        all = [threading.Thread(target=lambda: one().wait()) for _ in range(count)]
        for thread in all:
            thread.start()
        for thread in all:
            thread.join()
    else:
        for job in [one() for _ in range(count)]:
            job.wait()


def serve(how):
    if how != "keeps":
        os.closerange(3, 1000)
    if how == "space":
        os.setsid()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("socket")
    listener.listen()
    helper = subprocess.Popen(["cat"], stdin=subprocess.PIPE) if how == "child" else None
    while True:
        client = listener.accept()[0]
        count = int(client.recv(20))
        if count == 0:
            if helper:
                helper.stdin.close()
                helper.wait()
            os._exit(0)
        run(how, count)
        try:
            client.sendall(b"done")
        except BrokenPipeError:
            pass
        client.close()


def start(how):
    argv = [sys.executable, __file__, how, "serve", "0"]
    if how.endswith("exec"):
        subprocess.Popen(argv, start_new_session=True)
    elif how == "space":
        subprocess.Popen(["unshare", "-p", "-f", "--mount-proc", *argv], start_new_session=True)
    elif os.fork() == 0:
        if how != "background":
            os.setsid()
        if os.fork() == 0:
            serve(how)
        os._exit(0)
    else:
        os.wait()


def connect():
    try:
        client = socket.socket(socket.AF_UNIX)
        client.connect("socket")
        return client
    except OSError:
        return None


def main():
    how, ask, count = sys.argv[1:]
    if ask == "serve":
        serve(how)
    client = connect()
    if client is None:
        start(how)
    while client is None:
        time.sleep(0.01)
        client = connect()
    peak()
    client.sendall(count.encode() if ask != "stop" else b"0")
    if ask == "leave":
        # As soon as one of them runs.
        while not started():
            time.sleep(0.01)
        return
    done = client.recv(20)
    if ask != "stop":
        assert done == b"done"
        print(ask, peak(), flush=True)


main()
