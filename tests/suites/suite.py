"""Runs tests of Python's own suite and writes a line for the result of each, and why it failed.

usage: suite.py RESULTS MODULE [WORD...]

With words, only tests with one of them in their name run. In place of a word, `busy` starts busy.py.
"""

import os
import signal
import subprocess
import sys
import traceback
import unittest

# What takes long and starts no process, or shows nothing that its neighbours do not show.
LEFT_OUT = {
    "test.fork_wait.": "the base of the tests of fork, wait3 and wait4, found once more in each",
    "SiginterruptTest.test_siginterrupt_off": "waits for 30 s, which its neighbours do for 2 s",
    "TestStartMethod.test_context": "starts the other kinds of workers, each of which imports this file",
}


class Results(unittest.TestResult):
    """Keeps no descriptor between two lines: there are tests that count them."""

    def write(self, test, result, error=None):
        with open(sys.argv[1], "a") as file:
            print(test.id(), result, file=file)
            if error:
                text = "".join(traceback.format_exception(*error))
                file.writelines(f"# {line}\n" for line in text.splitlines())

    def addSuccess(self, test):
        self.write(test, "ok")

    def addError(self, test, err):
        self.write(test, "error", err)

    def addFailure(self, test, err):
        self.write(test, "failed", err)

    def addSkip(self, test, reason):
        self.write(test, "skipped")

    def addExpectedFailure(self, test, err):
        self.write(test, "failed as expected")

    def addUnexpectedSuccess(self, test):
        self.write(test, "succeeded unexpectedly")

    def addSubTest(self, test, subtest, err):
        if err:
            self.write(subtest, "failed", err)


def each(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from each(item)
        else:
            yield item


def wanted(test, words):
    name = test.id()
    left_out = any(part in name for part in LEFT_OUT)
    return not left_out and (not words or any(word in name for word in words))


def start_busy():
    env = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    busy = os.path.join(os.path.dirname(__file__), "busy.py")
    started = subprocess.Popen([sys.executable, busy], env=env, stdout=subprocess.PIPE)
    with started.stdout as ready:
        ready.readline()
    return started


def main():
    module, *words = sys.argv[2:]
    busy = start_busy() if "busy" in words else None
    words = [word for word in words if word != "busy"]
    found = unittest.defaultTestLoader.loadTestsFromNames([module])
    unittest.TestSuite(test for test in each(found) if wanted(test, words)).run(Results())
    if busy:
        busy.send_signal(signal.SIGTERM)
        busy.wait()


if __name__ == "__main__":
    main()
