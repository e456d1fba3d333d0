//! The ring itself: completions, waits, messages between rings, other sizes.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use super::function::{expect, pair, Function, Tried};
use crate::driver::uring::checks::{self, Verdict};
use crate::driver::Feature;
use crate::op::Code;
use crate::probe::trial::ask::Ask;
use crate::probe::trial::Trial;
use crate::probe::Outcome;
use crate::sys;
use crate::sys::uring::{enter, ENTER_GETEVENTS};

pub(super) const LIST: &[Function] = &[
    Function { name: "completion", since: "5.1", run: completion },
    Function { name: "timed-wait", since: "5.11", run: timed_wait },
    Function { name: "deferred-completions", since: "6.1", run: deferred },
    Function { name: "min-wait", since: "6.12", run: min_wait },
    Function { name: "no-iowait", since: "6.15", run: no_iowait },
    Function { name: "quiet-success", since: "5.17", run: quiet_success },
    Function { name: "multishot-timeout", since: "6.4", run: multishot_timeout },
    Function { name: "close", since: "5.6", run: close },
    Function { name: "registered-ring", since: "5.18", run: registered_ring },
    Function { name: "ring-message", since: "5.18", run: message },
    Function { name: "ring-message-from-outside", since: "6.13", run: message_from_outside },
    Function { name: "resize", since: "6.13", run: resize },
    Function { name: "restrictions", since: "5.10", run: restrictions },
    Function { name: "busy-poll", since: "6.9", run: busy_poll },
];

const NO_IOWAIT: u32 = 1 << 7;

fn completion(ring: &mut Trial) -> Tried {
    let answer = ring.ask(Ask::nop())?;
    expect(answer.result == 0, || format!("a no-op came to {}", answer.result))?;
    Ok(None)
}

fn timed_wait(ring: &mut Trial) -> Tried {
    let began = Instant::now();
    let time = Duration::from_millis(1);
    match ring.wait_least(1, Duration::ZERO, time) {
        Err(error) if error.raw_os_error() == Some(libc::ETIME) => {}
        Err(error) => return Err(error.into()),
        Ok(()) => return Err(Outcome::broken("a wait for nothing ended before its time")),
    }
    expect(began.elapsed() >= time, || "the wait ended before its time".into())?;
    Ok(None)
}

fn deferred(ring: &mut Trial) -> Tried {
    if !ring.has(Feature::DeferTaskrun) {
        return Err(Outcome::Absent);
    }
    let (mut ours, theirs) = pair()?;
    let number = ring.start(Ask::poll(theirs.as_raw_fd(), false))?;
    ours.write_all(b"x")?;
    expect(!ring.has_completions(), || "a completion came unasked".into())?;
    ring.answer(number)?.ok()?;
    Ok(None)
}

fn min_wait(ring: &mut Trial) -> Tried {
    let (least, most) = (Duration::from_millis(2), Duration::from_millis(40));
    let (mut ours, theirs) = pair()?;
    let number = ring.start(Ask::poll(theirs.as_raw_fd(), false))?;
    ours.write_all(b"x")?;
    let began = Instant::now();
    // One completion comes; two are asked for.
    match ring.wait_least(2, least, most) {
        Err(error) if error.raw_os_error() == Some(libc::ETIME) => {}
        other => other?,
    }
    let took = began.elapsed();
    expect(took >= least, || format!("it waited {took:?} instead of {least:?}"))?;
    expect(took < most, || format!("it waited for all of {most:?}"))?;
    ring.answer(number)?.ok()?;
    Ok(None)
}

fn no_iowait(ring: &mut Trial) -> Tried {
    enter(ring.fd(), 0, 0, ENTER_GETEVENTS | NO_IOWAIT, None)?;
    Ok(None)
}

fn quiet_success(ring: &mut Trial) -> Tried {
    let (ours, _theirs) = pair()?;
    let quiet = ring.start(Ask::send_quietly(ours.as_raw_fd(), 0, 1))?;
    let answer = ring.answer_within(quiet, Duration::from_millis(1))?;
    ring.forget(quiet);
    match answer {
        None => Ok(None),
        Some(answer) => {
            answer.ok()?;
            Err(Outcome::broken("a success was told that was to be quiet"))
        }
    }
}

fn multishot_timeout(ring: &mut Trial) -> Tried {
    ring.put_time(0, Duration::from_micros(200));
    let number = ring.start(Ask::timeout(0, true))?;
    for _ in 0..2 {
        let answer = ring.answer(number)?;
        match answer.errno() {
            libc::ETIME => {
                expect(answer.more(), || "it ended after the first time".into())?;
            }
            _ => {
                answer.ok()?;
            }
        }
    }
    Ok(None)
}

/// Some kernels (5.16 to 6.0) say that a file is closed while it is still open for writing, so that a
/// program that was just written cannot be run (ETXTBSY): libuv steps round that.
/// While anybody may write to a file, nobody gets a lease for reading it.
fn close(ring: &mut Trial) -> Tried {
    let untried = |reason: String| Outcome::Untried { reason };
    let (reader, writer) = read_and_written().map_err(|error| untried(error.to_string()))?;
    match sys::lease_for_reading(reader.as_fd()) {
        Ok(()) => return Err(untried("leases do not tell of writers".into())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(error) => return Err(untried(format!("no leases: {error}"))),
    }
    ring.ask(Ask::close(writer.into()))?.ok()?;
    match sys::lease_for_reading(reader.as_fd()) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(Outcome::broken("a file that was closed is still open for writing"))
        }
        other => Ok(other.map(|()| None)?),
    }
}

/// A file in memory, open for reading and once more for writing.
fn read_and_written() -> io::Result<(File, File)> {
    let memory = sys::memory_file()?;
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    Ok((File::open(&path)?, File::options().write(true).open(&path)?))
}

fn registered_ring(ring: &mut Trial) -> Tried {
    ring.enter_by_index()?;
    Ok(None)
}

fn message(ring: &mut Trial) -> Tried {
    const NUMBER: u64 = 0x5eed_0000_0001;
    let mut other = Trial::open(ring.patience)?;
    ring.ask(Ask::message(other.fd(), 7, NUMBER))?.ok()?;
    let got = other.answer(NUMBER)?;
    expect(got.result == 7, || format!("7 arrived as {}", got.result))?;
    Ok(None)
}

fn message_from_outside(ring: &mut Trial) -> Tried {
    const NUMBER: u64 = 0x5eed_0000_0002;
    ring.message_from_outside(9, NUMBER)?;
    let got = ring.answer(NUMBER)?;
    expect(got.result == 9, || format!("9 arrived as {}", got.result))?;
    Ok(None)
}

fn resize(ring: &mut Trial) -> Tried {
    let ring = Trial::open(ring.patience)?;
    if !ring.has(Feature::DeferTaskrun) {
        return Err(Outcome::Absent);
    }
    let got = ring.resize(32, 128)?;
    expect(got == [32, 128], || format!("it came out as {got:?}"))?;
    Ok(None)
}

fn restrictions(ring: &mut Trial) -> Tried {
    let outcome = ring.patience.retry(|| checks::forbidden(Code::Send))?;
    match outcome {
        Verdict::Forbidden => Ok(None),
        Verdict::Takes => Err(Outcome::broken("what is forbidden works all the same")),
        Verdict::Unknown => Err(Outcome::Absent),
    }
}

fn busy_poll(ring: &mut Trial) -> Tried {
    ring.napi()?;
    Ok(Some("of network queues (NAPI)".into()))
}
