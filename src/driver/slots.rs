//! Slots: the operations in flight, by token.
//!
//! A slot is taken when an operation is started and must wait, and let go when its final completion
//! has found its taker. While the future that asked lives, it holds the operation's data, and the
//! slot only its waker. What may happen to a slot:
//!
//! ```text
//!            start
//!              │
//!              ▼    completion            future takes it
//!          Waiting ───────────▶ Done ───────────────────────▶ (free)
//!              │
//!              │ future dropped: its data moves here, and a cancel is wanted
//!              ▼    completion: Op::discard(result)
//!           Orphan ─────────────────────────────────────────▶ (free)
//!
//!           Stream   a multishot operation: items go to the sink; the last one frees the slot
//!           Detached nobody waits, nothing to keep (a close, an abandoned poll)
//! ```
//!
//! A zero-copy send may be answered twice: with its result (`more`), and when the kernel has let go of
//! the memory, which can be long after. In between nothing is left to cancel or to wait for with the
//! descriptor, but the slot has a share in the memory, and is in flight:
//!
//! ```text
//!                  result              future takes it
//!          Waiting ──────▶ Answered ────────────────────▶ Lent ──────────────▶ (free)
//!              │               │                           ▲    notification
//!              │ dropped       │ notification              │
//!              ▼               ▼                           │
//!           Orphan            Done, as above               │
//!              │                                           │
//!              └───────────────────────────────────────────┘
//!                  result: Op::discard(result)
//! ```
//!
//! A cancel is a state of the slot, not a push that can fail: a wanted cancel stays wanted until the
//! driver has had room for it.

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use slab::Slab;

use crate::completion::{Completion, Loan, Orphan, Sink, Token, Usage, GENERATION_MASK};
use crate::op::Code;
use crate::sys::fd::RawFd;

/// How far the wish to cancel an operation has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cancel {
    No,
    Wanted,
    Sent,
}

enum State {
    Waiting(Option<Waker>),
    Done(Completion),
    /// The result, while the kernel still reads the memory.
    Answered(Completion),
    /// The kernel still reads the memory; `sent` is the result.
    Lent {
        loan: Rc<dyn Loan>,
        sent: i32,
    },
    Orphan(Box<dyn Orphan>),
    Stream(Rc<dyn Sink>),
    Detached,
}

struct Slot {
    generation: u32,
    cancel: Cancel,
    code: Code,
    fd: RawFd,
    state: State,
}

// What makes a rare state possible must not cost the usual ones anything.
const _: () = assert!(size_of::<Slot>() <= 5 * size_of::<u64>());

impl Slot {
    /// Whether the result is still to come.
    fn is_unanswered(&self) -> bool {
        !matches!(self.state, State::Done(_) | State::Answered(_) | State::Lent { .. })
    }
}

/// What a completion means for the one who delivers it, outside of any borrow of the driver.
pub(crate) enum Delivery {
    /// Wake the future that waits.
    Wake(Waker),
    /// Nobody wants the result: give it to the data.
    Discard(Box<dyn Orphan>),
    /// An item for the sink of a multishot operation.
    Item { sink: Rc<dyn Sink>, last: bool },
    /// The kernel has let go of memory: tell it, let go of it as well, wake whom it says.
    Returned { loan: Rc<dyn Loan>, usage: Option<Usage> },
    /// A detached operation has ended.
    Detached(Code),
    /// Nothing is left to do.
    Nothing,
}

/// All operations in flight on one core.
pub(crate) struct Slots {
    slab: Slab<Slot>,
    generation: u32,
    /// Operations that the kernel has not answered for good.
    in_flight: usize,
    /// Those of them that are `Lent`.
    lent: usize,
    /// Tokens whose slot says `Cancel::Wanted`, in the order of the wishes.
    wanted: VecDeque<Token>,
    /// Those who wait for the end of an operation that is not theirs: handles that are closing.
    watchers: Vec<(Token, Waker)>,
    /// Completions whose slot had another tenant already.
    pub(crate) stale: u64,
    /// Cancels asked for so far.
    pub(crate) cancels: u64,
    /// Bytes of zero-copy sends whose memory has been let go of.
    pub(crate) zero_copy_sent: u64,
    /// Those of them that the kernel says it has copied.
    pub(crate) zero_copy_copied: u64,
}

impl Slots {
    pub(crate) fn new() -> Slots {
        Slots {
            slab: Slab::new(),
            generation: 0,
            in_flight: 0,
            lent: 0,
            wanted: VecDeque::new(),
            watchers: Vec::new(),
            stale: 0,
            cancels: 0,
            zero_copy_sent: 0,
            zero_copy_copied: 0,
        }
    }

    /// Operations that have been started and whose final completion has not come.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Those of them that have their result, and whose memory the kernel still reads: how long, is a
    /// matter of the peer.
    pub(crate) fn lent(&self) -> usize {
        self.lent
    }

    /// A slot for an operation whose future waits for it.
    pub(crate) fn insert(&mut self, code: Code, fd: RawFd) -> Token {
        self.insert_state(code, fd, State::Waiting(None))
    }

    /// A slot for a multishot operation.
    pub(crate) fn insert_stream(&mut self, code: Code, fd: RawFd, sink: Rc<dyn Sink>) -> Token {
        self.insert_state(code, fd, State::Stream(sink))
    }

    /// A slot for an operation that nobody waits for.
    pub(crate) fn insert_detached(&mut self, code: Code, fd: RawFd) -> Token {
        self.insert_state(code, fd, State::Detached)
    }

    fn insert_state(&mut self, code: Code, fd: RawFd, state: State) -> Token {
        self.generation = (self.generation + 1) & GENERATION_MASK;
        let generation = self.generation;
        let slot = self.slab.insert(Slot { generation, cancel: Cancel::No, code, fd, state });
        self.in_flight += 1;
        let slot = u32::try_from(slot).expect("more than 2^32 operations in flight");
        Token::op(slot, generation)
    }

    fn get(&mut self, token: Token) -> Option<&mut Slot> {
        let slot = self.slab.get_mut(token.slot() as usize)?;
        (slot.generation == token.generation()).then_some(slot)
    }

    fn free(&mut self, token: Token) -> Slot {
        self.slab.remove(token.slot() as usize)
    }

    /// Whether the operation's result is still to come, so that the kernel may use its descriptor.
    pub(crate) fn is_unanswered(&mut self, token: Token) -> bool {
        self.get(token).is_some_and(|slot| slot.is_unanswered())
    }

    /// The descriptor of an operation in flight.
    pub(crate) fn fd(&mut self, token: Token) -> Option<RawFd> {
        self.get(token).map(|slot| slot.fd)
    }

    /// The result, if it has come, else remembers whom to wake. The slot is free then; but if the
    /// result says that `more` follows, it must be [settled](Slots::settle).
    pub(crate) fn take(&mut self, token: Token, waker: &Waker) -> Option<Completion> {
        let slot = self.get(token).expect("a future polls a slot that it does not hold");
        match &mut slot.state {
            State::Done(completion) => {
                let completion = *completion;
                self.free(token);
                Some(completion)
            }
            State::Answered(completion) => Some(*completion),
            State::Waiting(Some(old)) if old.will_wake(waker) => None,
            State::Waiting(old) => {
                *old = Some(waker.clone());
                None
            }
            _ => unreachable!("a future polls a slot that it has given up"),
        }
    }

    /// The result of an operation that may be answered twice has been taken. If the kernel still
    /// reads the memory, the slot keeps a share in it; if not, the memory is told so.
    pub(crate) fn settle(&mut self, completion: Completion, loan: Rc<dyn Loan>) {
        if completion.more() {
            let slot = self.get(completion.token).expect("it is not free before the notification");
            debug_assert!(matches!(slot.state, State::Answered(_)));
            slot.state = State::Lent { loan, sent: completion.result };
            self.lent += 1;
        } else if let Some(usage) = completion.usage() {
            let waker = loan.returned(Some(usage));
            debug_assert!(waker.is_none(), "who waits for the memory has the result");
        }
    }

    /// The waker of the future that waits for this operation.
    pub(crate) fn waker(&mut self, token: Token) -> Option<Waker> {
        match &self.get(token)?.state {
            State::Waiting(waker) => waker.clone(),
            _ => None,
        }
    }

    /// Somebody else than its owner waits for the operation's end.
    pub(crate) fn watch(&mut self, token: Token, waker: &Waker) {
        match self.watchers.iter_mut().find(|(watched, _)| *watched == token) {
            Some((_, old)) => old.clone_from(waker),
            None => self.watchers.push((token, waker.clone())),
        }
    }

    /// Takes the one who waits for the end of an operation that has ended.
    pub(crate) fn take_watcher(&mut self, token: Token) -> Option<Waker> {
        if self.watchers.is_empty() {
            return None;
        }
        let index = self.watchers.iter().position(|(watched, _)| *watched == token)?;
        match self.is_unanswered(token) {
            true => None,
            false => Some(self.watchers.swap_remove(index).1),
        }
    }

    /// The future is gone. Says whether the result had come already (then as for
    /// [`take`](Slots::take)); if not, `keep` makes what stays in the slot until it does.
    pub(crate) fn orphan(
        &mut self,
        token: Token,
        keep: impl FnOnce() -> Option<Box<dyn Orphan>>,
    ) -> Option<Completion> {
        let slot = self.get(token).expect("a future drops a slot that it does not hold");
        match slot.state {
            State::Done(completion) => {
                self.free(token);
                return Some(completion);
            }
            State::Answered(completion) => return Some(completion),
            _ => debug_assert!(matches!(slot.state, State::Waiting(_))),
        }
        slot.state = keep().map_or(State::Detached, State::Orphan);
        None
    }

    /// Ends an operation that the backend itself knows to be over, without a delivery.
    pub(crate) fn forget(&mut self, token: Token) {
        debug_assert!(self.is_unanswered(token));
        self.in_flight -= 1;
        self.free(token);
    }

    /// Wishes an operation cancelled. A second wish changes nothing.
    pub(crate) fn want_cancel(&mut self, token: Token) {
        if let Some(slot) = self.get(token) {
            if slot.cancel == Cancel::No && slot.is_unanswered() {
                slot.cancel = Cancel::Wanted;
                self.cancels += 1;
                self.wanted.push_back(token);
            }
        }
    }

    /// The kernel knew nothing of the operation when the cancel came, and yet it is in flight.
    pub(crate) fn cancel_again(&mut self, token: Token) {
        if let Some(slot) = self.get(token) {
            if slot.cancel == Cancel::Sent && slot.is_unanswered() {
                slot.cancel = Cancel::Wanted;
                self.wanted.push_back(token);
            }
        }
    }

    /// The next operation to send a cancel for, which is then counted as sent.
    pub(crate) fn next_cancel(&mut self) -> Option<Token> {
        while let Some(token) = self.wanted.pop_front() {
            // One that has been answered since needs no cancel any more.
            if self.is_unanswered(token) {
                let slot = self.get(token).expect("it is in flight");
                debug_assert_eq!(slot.cancel, Cancel::Wanted);
                slot.cancel = Cancel::Sent;
                return Some(token);
            }
        }
        None
    }

    /// Whether cancels wait to be sent.
    pub(crate) fn wants_cancels(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Wishes every operation cancelled: the runtime ends.
    pub(crate) fn want_cancel_all(&mut self) {
        let tokens: Vec<Token> = self
            .slab
            .iter()
            .filter(|(_, slot)| slot.is_unanswered())
            .map(|(index, slot)| Token::op(index as u32, slot.generation))
            .collect();
        for token in tokens {
            self.want_cancel(token);
        }
    }

    /// Takes a completion in: what is to be done about it?
    pub(crate) fn complete(&mut self, completion: Completion) -> Delivery {
        let token = completion.token;
        let Some(slot) = self.get(token) else {
            self.stale += 1;
            return Delivery::Nothing;
        };
        if completion.more() {
            return match &slot.state {
                State::Stream(sink) => Delivery::Item { sink: sink.clone(), last: false },
                _ => self.answer(completion),
            };
        }
        if let State::Waiting(waker) = &mut slot.state {
            let waker = waker.take();
            slot.state = State::Done(completion);
            self.in_flight -= 1;
            return waker.map_or(Delivery::Nothing, Delivery::Wake);
        }
        if let State::Answered(result) = slot.state {
            let result = result.with(completion);
            slot.state = State::Done(result);
            self.in_flight -= 1;
            self.count_usage(result);
            return Delivery::Nothing;
        }
        assert!(!matches!(slot.state, State::Done(_)), "double completion of {:?}", slot.code);
        self.in_flight -= 1;
        let slot = self.free(token);
        match slot.state {
            State::Orphan(orphan) => Delivery::Discard(orphan),
            State::Lent { loan, sent } => {
                self.lent -= 1;
                let result = Completion { token, result: sent, flags: 0 }.with(completion);
                self.count_usage(result);
                Delivery::Returned { loan, usage: result.usage() }
            }
            State::Stream(sink) => Delivery::Item { sink, last: true },
            State::Detached => Delivery::Detached(slot.code),
            State::Waiting(_) | State::Done(_) | State::Answered(_) => unreachable!("see above"),
        }
    }

    /// Takes in the first of two answers.
    #[cold]
    fn answer(&mut self, completion: Completion) -> Delivery {
        let slot = self.get(completion.token).expect("the caller has looked");
        assert!(slot.code.is_answered_twice(), "{:?} has more than one answer", slot.code);
        match std::mem::replace(&mut slot.state, State::Answered(completion)) {
            State::Waiting(waker) => waker.map_or(Delivery::Nothing, Delivery::Wake),
            State::Orphan(orphan) => {
                self.settle(completion, orphan.loan());
                Delivery::Discard(orphan)
            }
            _ => unreachable!("{:?} has its result already", completion.token),
        }
    }

    fn count_usage(&mut self, completion: Completion) {
        let Some(usage) = completion.usage() else { return };
        let sent = completion.result as u64;
        self.zero_copy_sent += sent;
        if usage == Usage::Copied {
            self.zero_copy_copied += sent;
        }
    }

    /// Who waits for what: the data of the waker, the operation, and its descriptor.
    pub(crate) fn waiters(&self) -> impl Iterator<Item = (*const (), Code, RawFd)> + '_ {
        self.slab.iter().filter_map(|(_, slot)| {
            let waker = match &slot.state {
                State::Waiting(waker) => waker.as_ref().map(Waker::data),
                State::Stream(sink) => sink.waiter(),
                State::Lent { loan, .. } => loan.waiter(),
                _ => None,
            };
            waker.map(|waker| (waker, slot.code, slot.fd))
        })
    }

    /// Everything that is still in flight, as `(operation, descriptor, cancel)`.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = (Code, RawFd, Cancel)> + '_ {
        self.slab
            .iter()
            .filter(|(_, slot)| !matches!(slot.state, State::Done(_)))
            .map(|(_, slot)| (slot.code, slot.fd, slot.cancel))
    }

    /// Gives the data of all orphans up without freeing it: the kernel may still write to it.
    pub(crate) fn leak(&mut self) {
        for (_, slot) in self.slab.iter_mut() {
            if !matches!(slot.state, State::Done(_)) {
                std::mem::forget(std::mem::replace(&mut slot.state, State::Detached));
            }
        }
    }
}

#[cfg(test)]
mod tests;
