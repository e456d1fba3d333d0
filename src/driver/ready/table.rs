//! What the readiness engine knows of each descriptor.
//!
//! The kernel numbers descriptors densely, so the table is an array by number. A number that is
//! closed and opened again is another registration: events carry the generation of theirs, and one
//! that comes too late for its descriptor finds another generation and is dropped.

use std::os::fd::RawFd;

use super::selector::Event;
use crate::completion::Token;
use crate::op::Interest;

/// One direction of a descriptor.
#[derive(Default)]
struct Side {
    /// An attempt would be in vain until the next event.
    tried: bool,
    /// The stream has ended or failed: attempts do not block, and no event may follow.
    ended: bool,
    /// Who waits. There is nearly always one at most.
    first: Option<Token>,
    others: Vec<Token>,
}

#[derive(Default)]
struct Entry {
    registered: bool,
    generation: u32,
    read: Side,
    write: Side,
}

impl Entry {
    fn side(&mut self, interest: Interest) -> &mut Side {
        match interest {
            Interest::Readable => &mut self.read,
            Interest::Writable => &mut self.write,
        }
    }
}

/// All descriptors, by number.
pub(super) struct Table {
    entries: Vec<Entry>,
}

impl Table {
    pub(super) fn new() -> Table {
        Table { entries: Vec::new() }
    }

    fn get(&mut self, fd: RawFd) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(fd).ok()?)
    }

    fn entry(&mut self, fd: RawFd) -> &mut Entry {
        let index = usize::try_from(fd).expect("descriptors are not negative");
        if index >= self.entries.len() {
            self.entries.resize_with(index + 1, Entry::default);
        }
        &mut self.entries[index]
    }

    /// Whether an attempt may succeed.
    pub(super) fn may_try(&mut self, fd: RawFd, interest: Interest) -> bool {
        self.get(fd).is_none_or(|entry| !entry.side(interest).tried)
    }

    /// An attempt has found the descriptor exhausted.
    pub(super) fn set_tried(&mut self, fd: RawFd, interest: Interest) {
        // Before it is registered, and after the end, no event will come to say otherwise.
        if let Some(entry) = self.get(fd).filter(|entry| entry.registered) {
            let side = entry.side(interest);
            side.tried = !side.ended;
        }
    }

    /// The generation to register the descriptor with; `None` if that has been done.
    pub(super) fn register(&mut self, fd: RawFd) -> Option<u32> {
        let entry = self.entry(fd);
        if entry.registered {
            return None;
        }
        entry.registered = true;
        Some(entry.generation)
    }

    /// Forgets the descriptor; says whether it was registered.
    pub(super) fn remove(&mut self, fd: RawFd) -> bool {
        let Some(entry) = self.get(fd) else {
            return false;
        };
        debug_assert!(entry.read.first.is_none() && entry.write.first.is_none());
        entry.generation = entry.generation.wrapping_add(1);
        for side in [&mut entry.read, &mut entry.write] {
            (side.tried, side.ended) = (false, false);
        }
        std::mem::replace(&mut entry.registered, false)
    }

    /// `token` waits for the next event of a registered descriptor; false if none may come.
    pub(super) fn wait(&mut self, fd: RawFd, interest: Interest, token: Token) -> bool {
        let side = self.entry(fd).side(interest);
        if side.ended {
            return false;
        }
        side.tried = true;
        match side.first {
            None => side.first = Some(token),
            Some(_) => side.others.push(token),
        }
        true
    }

    /// `token` waits no more; false if it did not.
    pub(super) fn unwait(&mut self, fd: RawFd, token: Token) -> bool {
        let Some(entry) = self.get(fd) else {
            return false;
        };
        [&mut entry.read, &mut entry.write].into_iter().any(|side| {
            if side.first == Some(token) {
                side.first = None;
                return true;
            }
            let place = side.others.iter().position(|&other| other == token);
            place.map(|index| side.others.remove(index)).is_some()
        })
    }

    /// Tells `done` of all who waited for this.
    pub(super) fn fire(&mut self, event: Event, mut done: impl FnMut(Token)) {
        let Some(entry) = self.get(event.fd) else {
            return;
        };
        if !entry.registered || entry.generation != event.generation {
            return;
        }
        let sides = [
            (event.readable, event.read_ended, &mut entry.read),
            (event.writable, event.write_ended, &mut entry.write),
        ];
        for (happened, ended, side) in sides {
            if happened {
                side.tried = false;
                side.ended |= ended;
                side.first.take().into_iter().chain(side.others.drain(..)).for_each(&mut done);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(generation: u32) -> Event {
        let (read_ended, write_ended) = (false, false);
        Event { fd: 5, generation, readable: true, writable: false, read_ended, write_ended }
    }

    #[test]
    fn an_event_of_an_earlier_registration_is_dropped() {
        let mut table = Table::new();
        let old = table.register(5).unwrap();
        assert!(table.remove(5));
        let new = table.register(5).unwrap();
        let token = Token::op(0, 1);
        table.wait(5, Interest::Readable, token);
        table.fire(event(old), |_| panic!("too late"));
        let mut fired = Vec::new();
        table.fire(event(new), |token| fired.push(token));
        assert_eq!(fired, [token]);
    }

    #[test]
    fn all_who_wait_are_told_once_and_in_order() {
        let mut table = Table::new();
        let generation = table.register(5).unwrap();
        let tokens: Vec<Token> = (0..4).map(|slot| Token::op(slot, 1)).collect();
        assert!(tokens.iter().all(|&token| table.wait(5, Interest::Readable, token)));
        assert!(table.unwait(5, tokens[1]) && !table.unwait(5, tokens[1]));
        let mut fired = Vec::new();
        table.fire(event(generation), |token| fired.push(token));
        table.fire(event(generation), |token| fired.push(token));
        assert_eq!(fired, [tokens[0], tokens[2], tokens[3]]);
    }

    #[test]
    fn no_attempt_in_vain_before_the_next_event() {
        let mut table = Table::new();
        assert!(table.may_try(5, Interest::Readable));
        table.set_tried(5, Interest::Readable);
        assert!(table.may_try(5, Interest::Readable), "not registered: no event would come");
        let generation = table.register(5).unwrap();
        table.set_tried(5, Interest::Readable);
        assert!(!table.may_try(5, Interest::Readable));
        assert!(table.may_try(5, Interest::Writable));
        table.fire(event(generation), |_| {});
        assert!(table.may_try(5, Interest::Readable));
    }
}
