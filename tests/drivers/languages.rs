//! Perl, node, java, ruby and php.

use super::{script, Row};
use crate::harness::programs::{once, output};
use crate::harness::Run;

pub const ROWS: &[Row] = &[
    ("perl_fork", |_| perl(PERL)),
    ("perl_ignoring_sigchld", |_| perl(PERL_IGNORING)),
    ("perl_pipes", |_| perl(PERL_PIPES)),
    ("parallel_forkmanager", |_| perl(FORKMANAGER)),
    ("prove", |_| {
        let test = "print qq(1..1\\nok 1\\n); system q(sh j t 0)";
        let text = format!("for i in 1 2 3 4 5 6 7 8; do echo '{test}' >$i.t; done");
        script(&format!("{text}; exec prove -Q -j8 ?.t")).ignoring("Files=").may_idle()
    }),
    ("node_child_process", |_| node(NODE)),
    ("node_spawn_with_shell", |_| node(NODE_SPAWN)),
    ("node_cluster", |_| {
        Run::new(&["node", "host.js"]).file("host.js", CLUSTER).file("j", super::JOB).any_peak()
    }),
    ("java", |_| {
        Run::new(&["java", "-Xshare:auto", "-cp", &java_class(), "Host"]).file("j", super::JOB)
    }),
    ("java_by_vfork", |_| java("VFORK")),
    ("java_by_fork", |_| java("FORK")),
    ("ruby_spawn", |_| ruby(RUBY_SPAWN)),
    ("ruby_fork", |_| ruby(RUBY_FORK)),
    ("ruby_threads", |_| ruby(RUBY_THREADS)),
    ("ruby_threads_of_nobody", |_| ruby(RUBY_THREADS)),
    ("php_proc_open", |_| php(PHP_PROC_OPEN)),
    ("php_popen", |_| php(PHP_POPEN)),
    ("php_pcntl_fork", |_| php(PHP_FORK)),
    ("php_shell_exec", |_| php(PHP_SHELL_EXEC).any_peak()),
];

fn perl(text: &str) -> Run {
    Run::new(&["perl", "-e", text]).file("j", super::JOB)
}

const PERL: &str = "
    for my $i (1..8) { my $p = fork; exec 'sh', 'j', $i, 1, $i unless $p; push @p, $p }
    for (@p) { waitpid $_, 0; print $? >> 8, qq(\\n) }
    exit 5";

/// Its children inherit that SIGCHLD is ignored.
const PERL_IGNORING: &str = "
    $SIG{CHLD} = 'IGNORE';
    for my $i (1..8) { fork or exec 'sh', 'j', $i, 1, $i }
    1 while wait > 0;
    exit 5";

const PERL_PIPES: &str = "
    for my $i (1..8) { open my $h, '-|', qq(sh j $i 200) or die; push @h, $h }
    for my $h (@h) { my $n = 0; $n += length while <$h>; close $h; print qq($n $?\\n) }
    exit 5";

const FORKMANAGER: &str = "
    use Parallel::ForkManager;
    my $m = Parallel::ForkManager->new(8);
    $m->run_on_finish(sub { print qq($_[2] $_[1]\\n) });
    for my $i (1..8) { $m->start($i) and next; system 'sh', 'j', $i, 0; $m->finish($i) }
    $m->wait_all_children;
    exit 5";

fn node(text: &str) -> Run {
    Run::new(&["node", "-e", text]).file("j", super::JOB)
}

const NODE: &str = "
    const { exec } = require('child_process');
    for (let i = 1; i <= 8; i++)
        exec(`sh j ${i} 1000 ${i}`, { maxBuffer: 1 << 24 },
            (e, out) => console.log(i, out.length, e.code));
    process.exitCode = 5";

const NODE_SPAWN: &str = "
    const { spawn } = require('child_process');
    for (let i = 1; i <= 8; i++)
        spawn('sh j ' + i, { shell: true, stdio: 'inherit' }).on('close', c => console.log(i, c));
    process.exitCode = 5";

/// Workers that idle until all have answered.
const CLUSTER: &str = "
    const cluster = require('cluster'), { execSync } = require('child_process');
    if (cluster.isPrimary) {
        let left = 8;
        for (let i = 1; i <= 8; i++)
            cluster.fork({ N: i }).on('message', m => {
                console.log(m);
                if (--left === 0) cluster.disconnect();
            });
    } else {
        process.send(execSync('sh j ' + process.env.N + ' 10').length);
    }";

/// The folder of the compiled host.
fn java_class() -> String {
    once("java", |dir| {
        std::fs::create_dir_all(dir).expect("a folder");
        let source = dir.join("Host.java");
        std::fs::write(&source, JAVA).expect("a file");
        let (dir, source) = (dir.to_str().expect("UTF-8"), source.to_str().expect("UTF-8"));
        output("javac", &["-d", dir, source]);
    })
}

fn java(how: &str) -> Run {
    let how = format!("-Djdk.lang.Process.launchMechanism={how}");
    Run::new(&["java", &how, "-cp", &java_class(), "Host"]).file("j", super::JOB)
}

const JAVA: &str = r#"
import java.util.*;

public class Host {
    public static void main(String[] args) throws Exception {
        List<Process> all = new ArrayList<>();
        for (int i = 1; i <= 8; i++)
            all.add(new ProcessBuilder("sh", "j", "" + i, "200", "" + i).start());
        for (Process p : all) {
            int n = p.getInputStream().readAllBytes().length;
            System.out.println(n + " " + p.waitFor());
        }
        System.exit(5);
    }
}
"#;

fn ruby(text: &str) -> Run {
    Run::new(&["ruby", "-e", text]).file("j", super::JOB)
}

const RUBY_SPAWN: &str = "
    all = (1..8).map { |i| spawn('sh', 'j', i.to_s, '1', i.to_s) }
    all.each { |p| Process.wait p; puts $?.exitstatus }
    exit 5";

const RUBY_FORK: &str = "
    all = (1..8).map { |i| fork { system 'sh', 'j', i.to_s; exit! i } }
    all.each { |p| Process.wait p; puts $?.exitstatus }
    exit 5";

const RUBY_THREADS: &str = "
    all = (1..8).map { |i| Thread.new { `sh j #{i} 200`.length } }
    all.each { |t| puts t.value }
    exit 5";

fn php(text: &str) -> Run {
    Run::new(&["php", "-r", text]).file("j", super::JOB)
}

const PHP_PROC_OPEN: &str = "
    for ($i = 1; $i <= 8; $i++)
        $p[] = proc_open(['sh', 'j', $i, 200, $i], [1 => ['pipe', 'w']], $f[]);
    foreach ($p as $i => $h) {
        echo strlen(stream_get_contents($f[$i][1])), ' ', proc_close($h), PHP_EOL;
    }
    exit(5);";

const PHP_POPEN: &str = "
    for ($i = 1; $i <= 8; $i++) $p[] = popen(\"sh j $i 200 $i\", 'r');
    foreach ($p as $h) { echo strlen(stream_get_contents($h)), ' ', pclose($h), PHP_EOL; }
    exit(5);";

const PHP_FORK: &str = "
    for ($i = 1; $i <= 8; $i++) if (pcntl_fork() == 0) { passthru(\"sh j $i 1\"); exit($i); }
    for ($i = 1; $i <= 8; $i++) { pcntl_wait($s); echo pcntl_wexitstatus($s), PHP_EOL; }
    exit(5);";

const PHP_SHELL_EXEC: &str = "
    for ($i = 1; $i <= 8; $i++) echo strlen(shell_exec(\"sh j $i 200\")), PHP_EOL;
    exit(5);";
