//! Daemons that a script starts, beside whose idle processes it works, and that it ends.

use super::{side_by_side, Jsshim, Make, Make44, MakePlus};
use crate::harness::programs::{script, tool};
use crate::harness::Run;
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![tmux, supervisord, celery]
}

/// Four panes sleep; four more have work. The server asks helpers of its own.
const TMUX: &str = "
    export TMUX_TMPDIR=$PWD; t='tmux -f /dev/null'
    $t new-session -d 'exec sleep 600'
    for i in 1 2 3; do $t new-window -d 'exec sleep 600'; done
    for i in 1 2 3 4; do $t new-window -d \"$JOB -b 80 -k 1 -i pane$i >out$i; mv out$i done$i\"; done
    $JOB -b 80; until [ $(ls done* 2>/dev/null | wc -l) = 4 ]; do sleep 0.05; done
    $t kill-server; cat done*";

fn tmux() {
    for place in [(Jsshim, 1), (Make, 2), (Jsshim, 2), (Make44, 4)] {
        side_by_side(place, 1, TMUX).both();
    }
}

fn libraries(run: Run) -> Run {
    let place = tool("python-daemons", "celery").replace("/celery", "");
    run.env("PYTHONPATH", &format!("{}:{place}", script("py")))
}

const SUPERVISORD_CONF: &str = "
[supervisord]
nodaemon=true
logfile=%(here)s/supervisord.log
pidfile=%(here)s/supervisord.pid
childlogdir=%(here)s
[unix_http_server]
file=%(here)s/socket
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://%(here)s/socket
[program:sleeper]
command=sleep 600
process_name=%(program_name)s%(process_num)d
numprocs=4
startsecs=1
";

/// Four daemons that sleep, and work beside them as soon as they are up.
const SUPERVISORD: &str = "
    $PYTHON -m supervisor.supervisord -c conf >log 2>&1 & s=$!
    ctl=\"$PYTHON -m supervisor.supervisorctl -c conf\"
    until [ \"$($ctl status | grep -c RUNNING)\" = 4 ]; do sleep 0.2; done
    for i in 1 2 3 4; do $JOB -b 80 -k 1 -i work$i & done
    $ctl stop sleeper:* | sort; kill $s; wait $s; echo $?; wait";

fn supervisord() {
    let run = side_by_side((MakePlus, 2), 1, SUPERVISORD).file("conf", SUPERVISORD_CONF);
    libraries(run).both();
}

/// Four workers, forked beforehand, and a queue in a folder.
const CELERY_TASKS: &str = "
import os, celery, jobs
app = celery.Celery('tasks', broker='filesystem://')
for name in ('queue', 'control', 'results'):
    os.makedirs(name, exist_ok=True)
app.conf.update(
    broker_transport_options=dict(data_folder_in='queue', data_folder_out='queue', control_folder='control',
                                  polling_interval=0.1),
    worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)
@app.task
def one(i):
    jobs.compute(i)
    open(f'results/{i}', 'w').close()
";

/// It has no work at first.
const CELERY: &str = "
    $PYTHON -m celery -A tasks worker -c 4 -P prefork --without-gossip --without-mingle \
        --without-heartbeat -l ERROR >log 2>&1 & w=$!
    until [ -d results ]; do sleep 0.1; done; sleep 1
    $PYTHON -c 'import tasks
for i in range(8): tasks.one.delay(i)'
    until [ $(ls results | wc -l) = 8 ]; do sleep 0.1; done
    kill $w; wait $w; echo $?; ls results";

fn celery() {
    // The thread that is woken is not the one that computes.
    let run = side_by_side((Jsshim, 2), 1, CELERY).file("tasks.py", CELERY_TASKS);
    libraries(run).unlimited().both();
}
