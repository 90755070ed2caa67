# For the scripts of tests: what the pool holds, and waiting for jobs and tokens.

# How many tokens lie in the pool.
pool() { $PYTHON -c 'import fcntl, os, re, termios
flags = os.environ["MAKEFLAGS"]
fifo = re.search("fifo:(.*)", flags)
fd = os.open(fifo[1], os.O_RDONLY | os.O_NONBLOCK) if fifo else 3
print(int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), "little"))'; }

# Until so many jobs have started, or ended, in all.
started() { until [ "$(od -An -tu4 -j8 -N4 $JSSHIM_TEST_JOBS)" -ge $1 ]; do sleep 0.01; done; }
ended() { until [ "$(od -An -tu4 -j12 -N4 $JSSHIM_TEST_JOBS)" -ge $1 ]; do sleep 0.01; done; }

# Until the pool has so many tokens; says how many it has, and complains where they do not come.
back() {
    local end=$((${EPOCHREALTIME/./} + 20000000)) late=
    until [ $(pool) = $1 ]; do [ ${EPOCHREALTIME/./} -lt $end ] || { late=' late'; break; }; done
    echo $(pool)$late
}
