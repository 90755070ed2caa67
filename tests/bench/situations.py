"""The rows of the table `idle` of scripts/bench (idle.py): programs of which some processes wait while others
compute. Those that are not installed are left out; scripts/setup installs all but jest (npm) and PostgreSQL."""

import glob
import os
import shutil
import subprocess

from load import BENCH, TOOLBOX, tool


class Row:
    """A shell script, which finds in $W how many it shall start at once and in $N how many slots there are, and
    the files beside it. It may take `most` times what it takes without the library, and compute above the slots
    for the part `above` of the time. `make` is what has the pool, and `user` who runs it if that would be root."""

    def __init__(self, name, script, files, most=1.3, prepare=None, above=None, make=False, user=None):
        self.name, self.script, self.files = name, script, files
        self.most, self.prepare, self.above, self.make, self.user = most, prepare, above, make, user


MAKEFILE = "all: 1 2 3 4 5\n1 2 3 4 5:\n\t@sh recipe $@\n"

KEEP_ALIVE = "while :; do sleep 1; done & k=$!; $BURN 200; kill $k\n"
WATCHDOG = "setsid sh -c \"sleep 25; kill $$\" & w=$!; $BURN 200; kill -- -$w 2>/dev/null || kill $w\n"
TAIL = """: >log$1; tail -f -s 0.1 log$1 >out$1 & t=$!
for i in 1 2 3; do $BURN 60; echo line $i >>log$1; until grep -q $i out$1; do sleep 0.05; done; done; kill $t
"""

GIT = """export GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x@x GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x@x
cd ../idle-git && rm -rf all && git init -q all && cd all; for i in 1 2 3 4 5 6 7 8; do git remote add r$i ../r; done; exec git fetch -q --all -j$W
"""

WAF = """def configure(c): pass
def build(b):
    for i in range(12): b(rule='$BURN 150', name=f'job{i}', always=True)
"""

TASKS = """
import time
def burn(i, seconds=0.15):
    until = time.process_time() + seconds
    while time.process_time() < until: pass
    return i
"""

LOKY = """
from joblib import Parallel, delayed
import os, tasks
if __name__ == '__main__':
    Parallel(n_jobs=int(os.environ['W']))(delayed(tasks.burn)(i) for i in range(16))
"""

XDIST = """
import pytest, tasks
@pytest.mark.parametrize('i', range(16))
def test_one(i): tasks.burn(i)
"""

BURN_JS = """
function burn(ms) {
    const used = () => process.cpuUsage().user + process.cpuUsage().system, end = used() + 1000 * ms;
    while (used() < end);
}
"""

JEST = BURN_JS + """
for (let i = 0; i < 2; i++) test('burns ' + i, () => burn(150));
"""

RUBY = """
workers = (1..ENV['W'].to_i).map do
  ask, answer = IO.pipe, IO.pipe
  pid = fork do
    ask[1].close; answer[0].close
    ask[0].each_line do
      till = Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID) + 0.1
      nil while Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID) < till
      answer[1].puts 'done'
    end
    exit! 0
  end
  ask[0].close; answer[1].close
  [ask[1], answer[0], pid]
end
(16 / workers.size).times do
  workers.each { |to, _, _| to.puts 'go' }
  workers.each { |_, from, _| from.gets }
end
workers.each { |to, _, _| to.close }
workers.each { |_, _, pid| Process.wait pid }
"""

NODE = BURN_JS + """
const cluster = require('cluster');
if (cluster.isPrimary) {
    let left = 16;
    for (let i = 0; i < +process.env.W; i++) cluster.fork();
    cluster.on('message', w => left-- > 0 ? w.send('go') : w.disconnect());
} else {
    process.on('message', () => {
        burn(100);
        process.send('more');
    });
    process.send('more');
}
"""

SUPERVISORD_CONF = """
[supervisord]
nodaemon=true
logfile=%(here)s/supervisord.log
pidfile=%(here)s/supervisord.pid
childlogdir=%(here)s
[program:sleeper]
command=sh -c 'echo >up%(process_num)d; exec sleep 600'
process_name=%(program_name)s%(process_num)d
numprocs=4
startsecs=1
"""
SUPERVISORD = """$PYTHON -m supervisor.supervisord -c conf >out 2>&1 & s=$!
until [ "$(ls up* 2>/dev/null | wc -l)" = 4 ]; do sleep 0.05; done; $BURN 300; kill $s; wait
"""

CELERY_TASKS = """
import celery, os, tasks
app = celery.Celery('work', broker='filesystem://')
for name in ('queue', 'control', 'results'): os.makedirs(name, exist_ok=True)
app.conf.update(worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True, broker_transport_options=dict(
    data_folder_in='queue', data_folder_out='queue', control_folder='control', polling_interval=0.1))
@app.task
def one(i):
    tasks.burn(i)
    open(f'results/{i}', 'w').close()
"""
CELERY = """$PYTHON -m celery -A work worker -c $W -P prefork --without-gossip --without-mingle --without-heartbeat \
    -l ERROR >out 2>&1 & w=$!
$PYTHON -c 'import work
for i in range(8): work.one.delay(i)'
until [ "$(ls results 2>/dev/null | wc -l)" = 8 ]; do sleep 0.05; done; kill $w; wait
"""

TMUX = """export TMUX_TMPDIR=$PWD; t='tmux -f /dev/null'; $t new-session -d 'exec sleep 600'
for i in 1 2 3; do $t new-window -d 'exec sleep 600'; done
for i in 1 2 3 4; do $t new-window -d "$BURN 100; : >done$i"; done
until [ "$(ls done* 2>/dev/null | wc -l)" = 4 ]; do sleep 0.05; done; $t kill-server
"""

# R's makeCluster(4).
CLUSTER = """
import os, socket, sys, tasks
if len(sys.argv) > 1:
    s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
    s.sendall(b'h'); s.recv(1); tasks.burn(0, 0.3); s.sendall(b'd'); sys.exit()
listener = socket.socket(); listener.bind(('127.0.0.1', 0)); listener.listen(8)
os.system(f'for i in 1 2 3 4; do {sys.executable} host.py {listener.getsockname()[1]} & done')
clients = [listener.accept()[0] for i in range(4)]
for c in clients: c.recv(1)
for c in clients: c.sendall(b'g')
for c in clients: c.recv(1)
"""

SPAWN = """
import os, tasks
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
if __name__ == '__main__':
    with ProcessPoolExecutor(int(os.environ['N']), mp_context=get_context('spawn')) as pool:
        list(pool.map(tasks.burn, range(40)))
"""

BARRIER = """
import multiprocessing as mp, os, tasks
width = int(os.environ['W'])
def one(barrier):
    tasks.burn(0, 0.8 / width); barrier.wait(); tasks.burn(0, 3.2 / width)
barrier = mp.Barrier(width)
all = [mp.Process(target=one, args=(barrier,)) for i in range(width)]
for p in all: p.start()
for p in all: p.join()
"""

TASK_BURSTS = """
import multiprocessing as mp, os, tasks, time
with mp.Pool(int(os.environ['W'])) as pool:
    for _ in range(4):
        pool.map(tasks.burn, range(8), chunksize=1); time.sleep(0.3)
"""

# As mclapply of R's parallel: a pipe for each result. Without the library they all run at once.
RESULT_PIPES = """
import os, tasks
workers = []
for i in range(6):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        tasks.burn(0, 0.2 + 0.1 * (i == 0)); os.write(write, b'result'); tasks.burn(0, 0.1)
        os._exit(0)
    os.close(write)
    workers.append((read, pid))
for read, pid in workers: os.read(read, 9)
for read, pid in workers: os.waitpid(pid, 0)
"""

NINJA = "rule cc\n  command = gcc -pipe -O2 -c source.c -o $out\n" + "".join(f"build o{i}: cc\n" for i in range(16))
SOURCE = "".join(
    f"int f{n}(int *a, int n) {{ int s = {n}; for (int i = 0; i < n; i++) {{ if (a[i] % {n}) s += a[i] * f{n}(a, i);"
    f" else s ^= a[n - i] / {n}; }} return s; }}\n"
    for n in range(1, 60)
)

POSTGRES = """PATH=$(echo /usr/lib/postgresql/*/bin):$PATH; d=$PWD/../idle-postgres
pg_ctl -D $d -l $d/log -w -o "-k $d -c listen_addresses=" start >out
for i in 1 2 3 4 5; do psql -q -h $d -U postgres -c 'select count(*) from generate_series(1, 20000)' postgres >out$i & done
wait; exec pg_ctl -D $d -m fast -w stop >>out
"""
NOBODY = 65534


def prepare_git():
    folder = f"{BENCH}/idle-git"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    script = "git init -q r; seq 2000 >r/data; git -C r add .; git -C r -c user.name=x -c user.email=x@x commit -q -m x; git init -q all"
    subprocess.run(["sh", "-c", script], cwd=folder, check=True)


def prepare_postgres():
    """PostgreSQL does not run as root."""
    folder, as_user = f"{BENCH}/idle-postgres", []
    initdb = glob.glob("/usr/lib/postgresql/*/bin/initdb")[0]
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    if os.getuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
        as_user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    argv = [*as_user, initdb, "-D", folder, "-U", "postgres", "-A", "trust", "-N"]
    subprocess.run(argv, cwd="/", check=True, stdout=subprocess.DEVNULL)


def prepare_jest():
    """Jest and all that it needs, once."""
    folder = f"{BENCH}/jest"
    if not os.path.exists(f"{folder}/node_modules/.bin/jest"):
        argv = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, "jest@29.7.0"]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def rows():
    libs, daemons = (glob.glob(f"{TOOLBOX}/python-{name}-*")[0] for name in ("libs", "daemons"))
    os.environ["PYTHONPATH"] = f"{libs}:{daemons}"
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    python = "exec $PYTHON host.py"
    waf = f"$PYTHON {tool('waf-', 'waf')}"
    kept = {"above": 0.02}

    def hosts(text):
        return {"host.py": text, "tasks.py": TASKS}

    def below_make(name, recipe):
        return Row(name, "exec make -s -j$N", {"Makefile": MAKEFILE, "recipe": recipe}, make=True)

    yield below_make("keep-alive, make", KEEP_ALIVE)
    yield below_make("watchdog, make", WATCHDOG)
    yield below_make("tail -f, make", TAIL)
    yield Row("git fetch --all", GIT, {}, prepare=prepare_git)
    yield Row("waf", f"export NOCLIMB=1; {waf} configure -o b >out && exec {waf} build -j$W >>out", {"wscript": WAF})
    yield Row("loky", python, hosts(LOKY), 1.6)
    xdist = "exec $PYTHON -m pytest -q -p no:cacheprovider -n$W test_it.py >out"
    yield Row("pytest-xdist", xdist, {"tasks.py": TASKS, "test_it.py": XDIST})
    if shutil.which("npm"):
        tests = {f"{i}.test.js": JEST for i in range(8)} | {"package.json": "{}"}
        jest = f"exec {BENCH}/jest/node_modules/.bin/jest -w $W --rootDir . >out 2>&1"
        yield Row("jest", jest, tests, 1.6, prepare_jest)
    yield Row("Ruby fork pool", "exec ruby host.rb", {"host.rb": RUBY})
    yield Row("node cluster", "exec node host.js", {"host.js": NODE})
    yield Row("supervisord", SUPERVISORD, {"conf": SUPERVISORD_CONF})
    yield Row("celery prefork", CELERY, {"tasks.py": TASKS, "work.py": CELERY_TASKS})
    yield Row("tmux, panes sleep", TMUX, {})
    if glob.glob("/usr/lib/postgresql/*/bin/initdb") and shutil.which("psql"):
        yield Row("PostgreSQL, 5 psql", POSTGRES, {}, prepare=prepare_postgres, user=NOBODY)
    yield Row("cluster of 4", python, hosts(CLUSTER))
    yield Row("spawn and tracker", python, hosts(SPAWN))
    yield Row("8 at a barrier", python, hosts(BARRIER), **kept)
    yield Row("bursts of 8 tasks", python, hosts(TASK_BURSTS), **kept)
    yield Row("result pipes", python, hosts(RESULT_PIPES), **kept)
    ninja = {"build.ninja": NINJA, "source.c": SOURCE}
    yield Row("ninja and gcc -pipe", "exec /usr/bin/ninja --quiet -j$W", ninja, **kept)
