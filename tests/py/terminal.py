"""terminal.py SHELL... | terminal.py -c PROGRAM...: types a session of job control into an interactive
shell on a terminal of its own, or a line into a program; prints what came back, without what differs
from run to run. The library is preloaded into the shell, not here."""

import os
import pty
import re
import signal
import sys
import termios
import time

PROMPT = "=> "
PATIENCE = 80


class Terminal:
    def __init__(self, argv):
        self.text = ""
        self.pid, self.fd = pty.fork()
        mode = termios.tcgetattr(self.fd if self.pid else 0)
        mode[3] &= ~termios.ECHO
        termios.tcsetattr(self.fd if self.pid else 0, termios.TCSANOW, mode)
        if self.pid == 0:
            if os.environ["JSSHIM_LIB"]:
                os.environ["LD_PRELOAD"] = os.environ["JSSHIM_LIB"]
            os.execvp(argv[0], argv)
        os.set_blocking(self.fd, False)

    def read(self):
        """Reads what has been printed since; false at the end."""
        try:
            self.text += os.read(self.fd, 4096).decode().replace("\r", "")
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def until(self, done):
        end = time.monotonic() + PATIENCE
        while not done():
            time.sleep(0.01)
            self.read()
            if time.monotonic() > end:
                sys.exit(f"not seen in time; so far:\n{self.text}")

    def type(self, text):
        os.write(self.fd, text.encode())

    def prompt(self, act):
        """Does something that makes the shell prompt again."""
        seen = self.text.count(PROMPT)
        act()
        self.until(lambda: self.text.count(PROMPT) > seen and self.text.endswith(PROMPT))

    def line(self, text):
        self.prompt(lambda: self.type(text + "\n"))

    def is_in_front(self, name):
        """Is the job of that name in the foreground, its program or the one that holds it?"""
        return name in read_proc(os.tcgetpgrp(self.fd), "cmdline").split("\0")

    def suspend(self, name):
        """Stops it by the key for it, once it is in front. A shell may lose that in its own doings."""
        seen, pressed = self.text.count(PROMPT), 0

        def there():
            nonlocal pressed
            now = time.monotonic()
            if self.is_in_front(name) and now > pressed + 3:
                self.type("\x1a")
                pressed = now
            return self.text.count(PROMPT) > seen and self.text.endswith(PROMPT)

        self.until(there)

    def jobs(self, settled=lambda text: True):
        """The list of jobs, once it is as it must become: a shell learns of a stop with some delay."""
        early = re.compile(r"(?im)^.*(running|stopped|suspended).*\n")

        def there():
            start = len(self.text)
            self.line("jobs")
            told = self.text[start:]
            self.text = self.text[:start] + early.sub("", told)
            return settled(told)

        self.until(there)
        self.line("jobs")

    def stop(self, name):
        """Stops a job, its program or the one that holds it."""
        pids = []
        self.until(lambda: pids.extend(jobs_named(name)) or pids)
        os.kill(pids[0], signal.SIGSTOP)

    def end(self):
        self.until(lambda: not self.read())
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def read_proc(pid, file):
    try:
        with open(f"/proc/{pid}/{file}", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def jobs_named(name):
    mark = f"JSSHIM_TEST_ID={os.environ['JSSHIM_TEST_ID']}"
    for pid in filter(str.isdigit, os.listdir("/proc")):
        ours = mark in read_proc(pid, "environ").split("\0")
        if ours and name in read_proc(pid, "cmdline").split("\0"):
            yield int(pid)


def stopped(*names):
    """Does a list of jobs show these as stopped?"""
    state = "(stopped|suspended)"
    return lambda text: all(re.search(rf"(?im){state}.*stays {name}\b", text) for name in names)


def gone(text):
    return not re.search(r"(?i)running.*sleep", text)


def go(*names):
    for name in names:
        open(f"{name}.go", "w").close()


def session(shell):
    """`a` runs in the background all the time. With two slots there is one more to be had."""
    c_shell = "csh" in shell[0]
    t = Terminal(shell)
    if shell[0] == "zsh":
        t.type("unsetopt notify prompt_sp\n")
    t.line(f"set prompt='{PROMPT}'" if c_shell else f"PS1='{PROMPT}'")
    t.text = ""
    t.line("$STAYS a >a.log &")
    # In front, stopped, in the background, stopped there, in front again to its end.
    t.type("$STAYS b >b.log\n")
    t.until(lambda: os.path.exists("b.log") and "up" in open("b.log").read())
    t.suspend("b")
    t.jobs(stopped("b"))
    t.line("bg")
    # These two wait where there are two slots, and may be stopped and continued like any other.
    t.line("$STAYS c >c.log &")
    t.line("$STAYS d >d.log &")
    t.line("/bin/sleep 1000 &")
    t.stop("b")
    t.stop("d")
    t.jobs(stopped("b", "d"))
    t.line("bg %4")
    # Until its exec it would ignore the signal, as its shell does.
    t.until(lambda: list(jobs_named("1000")))
    t.line("kill %5")
    t.jobs(gone)
    t.type("fg %2\n")
    t.until(lambda: t.is_in_front("b"))
    t.prompt(lambda: go("b"))
    # One that waits, stopped in front.
    t.type("$STAYS e >e.log\n")
    t.suspend("e")
    t.jobs(stopped("e"))
    t.line("bg")
    go("a", "c", "d", "e")
    t.until(lambda: not any(list(jobs_named(name)) for name in "acde"))
    t.line("jobs")
    t.line("wait")
    if not c_shell:
        t.line("$STAYS name a.go >f.log & wait $!; echo ended with $?")
    t.type("exit 7\n")
    return t


def main():
    if sys.argv[1] == "-c":
        t = Terminal(sys.argv[2:])
        t.type("a line from the terminal\n")
    else:
        t = session(sys.argv[1:])
    status = t.end()
    text = re.sub(r"\b\d{3,}\b", "PID", t.text.replace(PROMPT, ""))
    # Which of the jobs is the current one, and at which prompt a change is told, may differ.
    text = re.sub(r"(?m)^(\[\d\]) *[-+]? *", r"\1 ", text)
    print("\n".join(sorted({line for line in text.split("\n") if line.strip()})))
    for name in "abcdef":
        if os.path.exists(f"{name}.log"):
            print(name, open(f"{name}.log").read().split())
    sys.exit(status)


main()
