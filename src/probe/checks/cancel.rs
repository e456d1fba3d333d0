//! The ways to end what is under way.

use std::os::fd::AsRawFd;

use super::function::{expect, pair, Function, Tried};
use crate::probe::trial::ask::{opcode, Ask, CANCEL_ALL, CANCEL_ANY, CANCEL_FD, CANCEL_OP};
use crate::probe::trial::{Trial, PATIENCE};
use crate::probe::Outcome;

pub(super) const LIST: &[Function] = &[
    Function { name: "cancel", since: "5.5", run: by_number },
    Function { name: "cancel-descriptor", since: "5.19", run: by_descriptor },
    Function { name: "cancel-any", since: "5.19", run: any },
    Function { name: "cancel-opcode", since: "6.6", run: by_opcode },
    Function { name: "cancel-and-wait", since: "6.0", run: and_wait },
];

/// Polls twice for what never comes, cancels, and looks whether `count` polls have ended.
fn ends(ring: &mut Trial, count: usize, how: impl Fn(i32, u64) -> Ask) -> Tried {
    let (ours, theirs) = pair()?;
    let first = ring.start(Ask::poll(ours.as_raw_fd(), false))?;
    let second = ring.start(Ask::poll(ours.as_raw_fd(), false))?;
    let cancel = ring.start(how(ours.as_raw_fd(), first))?;
    let Some(answer) = ring.answer_within(cancel, PATIENCE)? else {
        return Err(Outcome::broken("the cancel itself was never answered"));
    };
    let ended = answer.ok()?;
    if count > 1 && ended == 0 {
        // It looked for something else: 6.1 passes over marks that it does not know.
        return Err(Outcome::Absent);
    }
    // The count is told where several can be meant.
    expect(count == 1 || ended == 2, || format!("it says that it ended {ended} of 2"))?;
    for number in [first, second].into_iter().take(count) {
        let errno = ring.answer(number)?.errno();
        expect(errno == libc::ECANCELED, || format!("it ended with error {errno}"))?;
    }
    drop(theirs);
    Ok(None)
}

fn by_number(ring: &mut Trial) -> Tried {
    ends(ring, 1, |_, number| Ask::cancel(number))
}

fn by_descriptor(ring: &mut Trial) -> Tried {
    ends(ring, 2, |fd, _| Ask::cancel_by(CANCEL_FD | CANCEL_ALL, fd, 0))
}

fn any(ring: &mut Trial) -> Tried {
    ends(ring, 2, |_, _| Ask::cancel_by(CANCEL_ANY | CANCEL_ALL, -1, 0))
}

fn by_opcode(ring: &mut Trial) -> Tried {
    ends(ring, 2, |_, _| Ask::cancel_by(CANCEL_OP | CANCEL_ALL, -1, opcode::POLL_ADD))
}

fn and_wait(ring: &mut Trial) -> Tried {
    let (ours, _theirs) = pair()?;
    let number = ring.start(Ask::poll(ours.as_raw_fd(), false))?;
    ring.sync_cancel(number)?;
    let errno = ring.answer(number)?.errno();
    expect(errno == libc::ECANCELED, || format!("it ended with error {errno}"))?;
    Ok(None)
}
