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
//! A cancel is a state of the slot, not a push that can fail: a wanted cancel stays wanted until the
//! driver has had room for it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::Waker;

use slab::Slab;

use super::token::{Token, GENERATION_MASK};
use super::Completion;
use crate::op::Code;

/// The data of an operation whose future is gone: it stays until the kernel has answered.
pub(crate) trait Orphan {
    /// Does with the result what must be done when nobody wants it.
    fn discard(self: Box<Self>, result: io::Result<u32>);
}

/// Takes the items of a multishot operation.
pub(crate) trait Sink {
    /// Whom the next item will wake: the data of the waker.
    fn waiter(&self) -> Option<*const ()>;

    /// Takes one answer; `last` says that no other follows. Returns whom to wake.
    fn item(&self, completion: Completion, last: bool) -> Option<Waker>;
}

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

/// What a completion means for the one who delivers it, outside of any borrow of the driver.
pub(crate) enum Delivery {
    /// Wake the future that waits.
    Wake(Waker),
    /// Nobody wants the result: give it to the data.
    Discard(Box<dyn Orphan>),
    /// An item for the sink of a multishot operation.
    Item { sink: Rc<dyn Sink>, last: bool },
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
    /// Tokens whose slot says `Cancel::Wanted`, in the order of the wishes.
    wanted: VecDeque<Token>,
    /// Those who wait for the end of an operation that is not theirs: handles that are closing.
    watchers: Vec<(Token, Waker)>,
    /// Completions whose slot had another tenant already.
    pub(crate) stale: u64,
    /// Cancels asked for so far.
    pub(crate) cancels: u64,
}

impl Slots {
    pub(crate) fn new() -> Slots {
        Slots {
            slab: Slab::new(),
            generation: 0,
            in_flight: 0,
            wanted: VecDeque::new(),
            watchers: Vec::new(),
            stale: 0,
            cancels: 0,
        }
    }

    /// Operations that have been started and whose final completion has not come.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
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

    /// Whether the operation's final completion is still to come.
    pub(crate) fn is_in_flight(&mut self, token: Token) -> bool {
        self.get(token).is_some_and(|slot| !matches!(slot.state, State::Done(_)))
    }

    /// The descriptor of an operation in flight.
    pub(crate) fn fd(&mut self, token: Token) -> Option<RawFd> {
        self.get(token).map(|slot| slot.fd)
    }

    /// The result, if it has come (the slot is free then), else remembers whom to wake.
    pub(crate) fn take(&mut self, token: Token, waker: &Waker) -> Option<Completion> {
        let slot = self.get(token).expect("a future polls a slot that it does not hold");
        match &mut slot.state {
            State::Done(completion) => {
                let completion = *completion;
                self.free(token);
                Some(completion)
            }
            State::Waiting(Some(old)) if old.will_wake(waker) => None,
            State::Waiting(old) => {
                *old = Some(waker.clone());
                None
            }
            _ => unreachable!("a future polls a slot that it has given up"),
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
        match self.is_in_flight(token) {
            true => None,
            false => Some(self.watchers.swap_remove(index).1),
        }
    }

    /// The future is gone. Says whether the result had come already (the slot is free then); if
    /// not, `keep` makes what stays in the slot until it does.
    pub(crate) fn orphan(
        &mut self,
        token: Token,
        keep: impl FnOnce() -> Option<Box<dyn Orphan>>,
    ) -> Option<Completion> {
        let slot = self.get(token).expect("a future drops a slot that it does not hold");
        if let State::Done(completion) = slot.state {
            self.free(token);
            return Some(completion);
        }
        debug_assert!(matches!(slot.state, State::Waiting(_)));
        slot.state = keep().map_or(State::Detached, State::Orphan);
        None
    }

    /// Ends an operation that the backend itself knows to be over, without a delivery.
    pub(crate) fn forget(&mut self, token: Token) {
        debug_assert!(self.is_in_flight(token));
        self.in_flight -= 1;
        self.free(token);
    }

    /// Wishes an operation cancelled. A second wish changes nothing.
    pub(crate) fn want_cancel(&mut self, token: Token) {
        if let Some(slot) = self.get(token) {
            if slot.cancel == Cancel::No && !matches!(slot.state, State::Done(_)) {
                slot.cancel = Cancel::Wanted;
                self.cancels += 1;
                self.wanted.push_back(token);
            }
        }
    }

    /// The kernel knew nothing of the operation when the cancel came, and yet it is in flight.
    pub(crate) fn cancel_again(&mut self, token: Token) {
        if let Some(slot) = self.get(token) {
            if slot.cancel == Cancel::Sent && !matches!(slot.state, State::Done(_)) {
                slot.cancel = Cancel::Wanted;
                self.wanted.push_back(token);
            }
        }
    }

    /// The next operation to send a cancel for, which is then counted as sent.
    pub(crate) fn next_cancel(&mut self) -> Option<Token> {
        while let Some(token) = self.wanted.pop_front() {
            // One that has ended since needs no cancel any more.
            if self.is_in_flight(token) {
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
            .filter(|(_, slot)| !matches!(slot.state, State::Done(_)))
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
                _ => unreachable!("a one-shot operation has more than one completion"),
            };
        }
        if let State::Waiting(waker) = &mut slot.state {
            let waker = waker.take();
            slot.state = State::Done(completion);
            self.in_flight -= 1;
            return waker.map_or(Delivery::Nothing, Delivery::Wake);
        }
        assert!(!matches!(slot.state, State::Done(_)), "double completion of {:?}", slot.code);
        self.in_flight -= 1;
        let slot = self.free(token);
        match slot.state {
            State::Orphan(orphan) => Delivery::Discard(orphan),
            State::Stream(sink) => Delivery::Item { sink, last: true },
            State::Detached => Delivery::Detached(slot.code),
            State::Waiting(_) | State::Done(_) => unreachable!("handled above"),
        }
    }

    /// Who waits for what: the data of the waker, the operation, and its descriptor.
    pub(crate) fn waiters(&self) -> impl Iterator<Item = (*const (), Code, RawFd)> + '_ {
        self.slab.iter().filter_map(|(_, slot)| {
            let waker = match &slot.state {
                State::Waiting(waker) => waker.as_ref().map(Waker::data),
                State::Stream(sink) => sink.waiter(),
                _ => None,
            };
            waker.map(|waker| (waker, slot.code, slot.fd))
        })
    }

    /// Everything that is still in flight, as `(operation, descriptor, cancel)`.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = (Code, RawFd, Cancel)> + '_ {
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
mod tests {
    use super::*;
    use std::cell::Cell;

    struct Flag(Rc<Cell<bool>>);

    impl Orphan for Flag {
        fn discard(self: Box<Self>, result: io::Result<u32>) {
            assert_eq!(result.unwrap(), 7);
            self.0.set(true);
        }
    }

    fn answer(token: Token, result: i32) -> Completion {
        Completion { token, result, flags: 0 }
    }

    #[test]
    fn a_result_waits_for_its_future() {
        let mut slots = Slots::new();
        let token = slots.insert(Code::Recv, 3);
        assert_eq!(slots.in_flight(), 1);
        assert!(slots.take(token, Waker::noop()).is_none());
        assert!(matches!(slots.complete(answer(token, 5)), Delivery::Wake(_)));
        assert_eq!(slots.in_flight(), 0);
        assert_eq!(slots.take(token, Waker::noop()).unwrap().result, 5);
        assert!(matches!(slots.complete(answer(token, 5)), Delivery::Nothing));
        assert_eq!(slots.stale, 1);
    }

    #[test]
    fn a_stale_generation_is_counted_and_dropped() {
        let mut slots = Slots::new();
        let old = slots.insert(Code::Recv, 3);
        slots.forget(old);
        let new = slots.insert(Code::Send, 3);
        assert_eq!(old.slot(), new.slot());
        assert!(matches!(slots.complete(answer(old, 1)), Delivery::Nothing));
        assert_eq!((slots.stale, slots.in_flight()), (1, 1));
    }

    #[test]
    fn an_orphan_keeps_its_data_until_the_answer() {
        let mut slots = Slots::new();
        let token = slots.insert(Code::Recv, 3);
        let discarded = Rc::new(Cell::new(false));
        let data = Flag(discarded.clone());
        assert!(slots.orphan(token, || Some(Box::new(data))).is_none());
        match slots.complete(answer(token, 7)) {
            Delivery::Discard(orphan) => orphan.discard(Ok(7)),
            _ => panic!("the orphan was forgotten"),
        }
        assert!(discarded.get());
        assert_eq!(slots.in_flight(), 0);
    }

    #[test]
    fn a_cancel_stays_wanted_until_it_is_sent_once() {
        let mut slots = Slots::new();
        let (a, b) = (slots.insert(Code::Recv, 3), slots.insert(Code::Recv, 4));
        slots.want_cancel(a);
        slots.want_cancel(a);
        slots.want_cancel(b);
        slots.complete(answer(a, 0));
        assert_eq!(slots.next_cancel(), Some(b), "the ended one needs no cancel");
        assert_eq!(slots.next_cancel(), None);
        slots.cancel_again(b);
        assert_eq!(slots.next_cancel(), Some(b));
    }
}
