//! Zero-copy receives: a queue of a network card whose packets land in the ring's own memory.
//!
//! To take a queue is to take its packets away from everybody else, so none is taken: each interface
//! is asked for the queue behind its last one. A driver that cannot do it says so before the number of the
//! queue is looked at, and one that can complains of the number.

use std::fs;
use std::os::fd::AsRawFd;

use super::function::{check, small_ring};
use crate::probe::Patience;
use crate::probe::{Check, Group, Outcome};
use crate::sys::uring::{refuse_queue, Params};

/// What such a ring must have: large completions, and deferred ones.
const FLAGS: u32 = 1 << 11 | 1 << 12 | 1 << 13;

/// A network interface: its name, its number, and how many queues packets come in by.
type Interface = (String, u32, u32);

/// Asks every interface.
pub(in crate::probe) fn zero_copy_receive(patience: Option<Patience>) -> Check {
    let (outcome, note) = match small_ring(patience, &mut Params::new(FLAGS)) {
        Err(why) => (why, None),
        Ok(ring) => {
            let ask = |(name, number, queues): Interface| {
                let errno = refuse_queue(ring.as_raw_fd(), number, queues);
                errno.map(|errno| (name, errno))
            };
            match interfaces().into_iter().map(ask).collect::<Result<Vec<_>, _>>() {
                Ok(answers) => verdict(&answers),
                Err(error) => (Outcome::of(&error), None),
            }
        }
    };
    check(Group::Function, "zero-copy-receive", "6.15", outcome, note)
}

/// What the answers come to. An interface that can makes up for those that cannot.
fn verdict(answers: &[(String, i32)]) -> (Outcome, Option<String>) {
    let of = |errno| {
        let names = answers.iter().filter(|(_, it)| *it == errno).map(|(name, _)| name.as_str());
        Some(names.collect::<Vec<_>>().join(", ")).filter(|names| !names.is_empty())
    };
    if let Some(names) = of(libc::ERANGE) {
        return (Outcome::Works, Some(format!("on {names}; no queue was taken")));
    }
    if of(libc::EPERM).is_some() {
        return (Outcome::refused(libc::EPERM, "it takes CAP_NET_ADMIN"), None);
    }
    if let Some(names) = of(libc::EOPNOTSUPP) {
        let cause = format!("not with the drivers of {names}");
        return (Outcome::refused(libc::EOPNOTSUPP, cause), None);
    }
    match answers.first() {
        None => (Outcome::Untried { reason: "no network interface is to be seen".into() }, None),
        Some((_, libc::EINVAL)) => (Outcome::Absent, None),
        Some((name, errno)) => (Outcome::refused(*errno, format!("asked of {name}")), None),
    }
}

/// Those of this network namespace, by name.
fn interfaces() -> Vec<Interface> {
    let of = |entry: fs::DirEntry| {
        let number = fs::read_to_string(entry.path().join("ifindex")).ok()?;
        let queues = fs::read_dir(entry.path().join("queues")).ok()?;
        let incoming =
            queues.flatten().filter(|it| it.file_name().to_string_lossy().starts_with("rx-"));
        let name = entry.file_name().to_string_lossy().into_owned();
        Some((name, number.trim().parse().ok()?, incoming.count() as u32))
    };
    let mut all: Vec<Interface> =
        fs::read_dir("/sys/class/net").into_iter().flatten().flatten().filter_map(of).collect();
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(answers: &[(&str, i32)]) -> (Outcome, Option<String>) {
        let answers: Vec<_> =
            answers.iter().map(|(name, errno)| (name.to_string(), *errno)).collect();
        verdict(&answers)
    }

    #[test]
    fn an_interface_that_can_makes_up_for_those_that_cannot() {
        let (outcome, note) = of(&[("lo", libc::EOPNOTSUPP), ("eth0", libc::ERANGE)]);
        assert!(outcome.works() && note.expect("its name").contains("eth0"));
        let (outcome, _) = of(&[("lo", libc::EOPNOTSUPP), ("eth0", libc::EOPNOTSUPP)]);
        assert!(matches!(&outcome, Outcome::Refused { errno: libc::EOPNOTSUPP, .. }));
        assert!(outcome.why().contains("lo, eth0"));
        assert!(of(&[("lo", libc::EPERM)]).0.why().contains("CAP_NET_ADMIN"));
        assert_eq!(of(&[("lo", libc::EINVAL)]).0, Outcome::Absent);
        assert_eq!(of(&[]).0.name(), "untried");
        assert!(of(&[("eth0", libc::EBUSY)]).0.why().contains("eth0"));
    }
}
