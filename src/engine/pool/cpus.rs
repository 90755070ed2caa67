//! How many processors a build may use.

use crate::proc::read_file;
use crate::sys;
use crate::text::{number, Path};

/// The default number of slots: the CPUs that this process may use, by affinity and by the quota of its cgroup (cgroup
/// v2 `cpu.max`), at least one.
pub fn default_slots() -> u32 {
    let cpus = sys::affinity().unwrap_or(1).max(1);
    quota().map_or(cpus, |q| q.clamp(1, cpus))
}

/// The quota of this cgroup in CPUs, rounded up.
fn quota() -> Option<u32> {
    let mut buf = [0u8; 512];
    let n = read_file(&Path::new(b"/proc/self/cgroup"), &mut buf)?;
    let lines = buf.get(..n)?.split(|b| *b == b'\n');
    let group = lines.filter_map(|l| l.strip_prefix(b"0::")).next()?;
    let of = |group: &[u8]| {
        let mut buf = [0u8; 64];
        let path = Path::new(b"/sys/fs/cgroup").with(group).with(b"/cpu.max");
        let n = read_file(&path, &mut buf)?;
        parse_quota(buf.get(..n)?)
    };
    // In a container the cgroup is often shown as the container's root.
    of(group).or_else(|| of(b""))
}

/// `QUOTA PERIOD` in µs, or `max PERIOD`.
fn parse_quota(text: &[u8]) -> Option<u32> {
    let (quota, rest) = number(text)?;
    let (period, _) = number(rest.strip_prefix(b" ")?)?;
    let up = quota.checked_add(period.checked_sub(1)?)?.checked_div(period)?;
    u32::try_from(up).ok().filter(|n| *n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_rounded_up() {
        assert_eq!(parse_quota(b"150000 100000\n"), Some(2));
        assert_eq!(parse_quota(b"100000 100000\n"), Some(1));
        assert_eq!(parse_quota(b"max 100000\n"), None);
        assert_eq!(parse_quota(b"5 0\n"), None);
        assert!(default_slots() >= 1);
    }
}
