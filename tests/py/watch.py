"""watch.py PROGRAM...: runs a program on a terminal of 80 columns, types q when it has drawn the word that
WORD names, and prints its exit status and what its screen showed."""

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time

COLUMNS, LINES = 80, 24
PATIENCE = 60

pid, fd = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    time.sleep(0.2)  # until the terminal has its size
    os.execvp(sys.argv[1], sys.argv[1:])
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))

out = b""
start = time.monotonic()
asked = False
while time.monotonic() - start < PATIENCE:
    if not asked and os.environ["WORD"].encode() in out:
        os.write(fd, b"q")
        asked = True
    if not select.select([fd], [], [], 0.1)[0]:
        continue
    try:
        part = os.read(fd, 65536)
    except OSError:
        break
    if not part:
        break
    out += part
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

# Only cursor movements count: they tell where each text was put.
screen = {}
row = column = 0
for move, text in re.findall(rb"\x1b\[([0-9;?]*[A-Za-z])|([^\x1b]+)", out):
    if move.endswith(b"H"):
        row, column = (int(n) for n in (move[:-1] or b"1;1").split(b";"))
    for char in text.decode(errors="replace"):
        screen[row, column] = char
        column += 1
print("status", status)
print("widest", max(column for _, column in screen))
for line in range(1, LINES + 1):
    print("".join(screen.get((line, column), " ") for column in range(1, COLUMNS + 1)).rstrip())
