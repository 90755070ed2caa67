//! Programs whose whole purpose is to run a list of commands side by side.

use crate::harness::pool::Kind;
use crate::harness::programs::on_path;
use crate::harness::Run;
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        p8,
        p8_on_a_pool_of_one,
        p0_with_500_items,
        p8_below_make,
        exit_status_of_a_failed_item,
        gnu_parallel_j8,
        gnu_parallel_j8_with_300_kb,
        moreutils_parallel_j8,
    ]
}

fn items(count: usize) -> String {
    (0..count).map(|i| format!("i{i}\n")).collect()
}

const WORK: [&str; 8] = ["-b", "10", "-s", "30", "-k", "1", "-i", "{}"];

fn with_work(argv: &[&str]) -> Vec<String> {
    let job = crate::harness::programs::compiled("job");
    let command = [&job as &str].into_iter().chain(WORK);
    argv.iter().copied().chain(command).map(str::to_owned).collect()
}

fn p8() {
    for kind in [Kind::Blocking, Kind::NonBlocking, Kind::Fifo] {
        let run = Run::new(&with_work(&["xargs", "-P8", "-I{}"])).stdin(&items(40));
        run.pool(kind, 3).unordered().both();
    }
}

fn p8_on_a_pool_of_one() {
    let run = Run::new(&with_work(&["xargs", "-P8", "-I{}"])).stdin(&items(20));
    run.pool(Kind::Blocking, 1).unordered().both();
}

fn p0_with_500_items() {
    let job = crate::harness::programs::compiled("job");
    let run = Run::new(&["xargs", "-P0", "-I{}", &job, "-s", "10", "-i", "{}"]);
    run.stdin(&items(500)).pool(Kind::NonBlocking, 4).unordered().both();
}

fn p8_below_make() {
    let command = "+@seq 40 | LD_PRELOAD=$$JSSHIM_LIB xargs -P8 -I{} $$JOB -b 10 -s 30 -i {} -k 1";
    Run::new(&["make", "-j2"])
        .file("Makefile", &format!("all:\n\t{command}\n"))
        .make(2)
        .preload_inside()
        .unordered()
        .both();
}

fn exit_status_of_a_failed_item() {
    for status in ["1", "7", "255"] {
        let job = crate::harness::programs::compiled("job");
        let script = format!("{job} -s 20 -x $((({{}} == 13) * {status}))");
        let run = Run::new(&["xargs", "-P8", "-I{}", "sh", "-c", &script]);
        let list: String = (0..14).map(|i| format!("{i}\n")).collect();
        run.stdin(&list).pool(Kind::Blocking, 2).unordered().both();
    }
}

fn gnu_parallel(kb: &str) -> Run {
    let parallel = on_path("parallel");
    let command = format!("$JOB -b 5 -s 30 -i i{{}} -k {kb}");
    // It asks to be cited until told that it will be.
    Run::new(&[&parallel, "--will-cite", "-j8", &command])
        .stdin(&(0..30).map(|i| format!("{i}\n")).collect::<String>())
        .pool(Kind::NonBlocking, 3)
        .unordered()
}

fn gnu_parallel_j8() {
    gnu_parallel("1").both();
}

fn gnu_parallel_j8_with_300_kb() {
    gnu_parallel("300").both();
}

fn moreutils_parallel_j8() {
    let job = crate::harness::programs::compiled("job");
    let argv = [&on_path("parallel.moreutils"), "-j8", &job, "-b", "10", "-s", "30", "-i"];
    let ids: Vec<_> = (0..30).map(|i| format!("i{i}")).collect();
    let argv = argv.into_iter().map(str::to_owned).chain(["--".to_owned()]).chain(ids);
    // Two of the slots go to its own children that collect the output.
    Run::new(&argv.collect::<Vec<_>>()).pool(Kind::NonBlocking, 3).any_peak().unordered().both();
}
