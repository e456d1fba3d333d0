//! The 64-bit name of an operation in flight: what a completion entry carries back.
//!
//! ```text
//!  63      56 55                    32 31                              0
//! ┌──────────┬────────────────────────┬────────────────────────────────┐
//! │   kind   │       generation       │              slot              │
//! └──────────┴────────────────────────┴────────────────────────────────┘
//! ```
//!
//! There are no sentinel values and no pointers in it. A kind is never 0, so that a token is never
//! 0 either and `Option<Token>` needs no more room. The generation tells the present tenant of a
//! slot from an earlier one: a completion whose generation is stale is counted and dropped.

use std::num::NonZeroU64;

const SLOT_BITS: u32 = 32;
const GENERATION_BITS: u32 = 24;

// The layout is the same on machines of every word size.
const _: () = assert!(SLOT_BITS + GENERATION_BITS + u8::BITS == u64::BITS);
const _: () = assert!(size_of::<Option<Token>>() == size_of::<u64>());

/// Generations wrap at this mask.
pub(crate) const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

/// What a completion entry answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    /// An operation in a slot.
    Op = 1,
    /// The request to cancel the operation in that slot.
    Cancel = 2,
    /// The read that waits for another thread's notify.
    Notify = 3,
    /// Another thread's notify that came as a message to the ring.
    Message = 4,
}

/// Names one operation in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token(NonZeroU64);

impl Token {
    /// The token of the operation in `slot`.
    pub(crate) fn op(slot: u32, generation: u32) -> Token {
        Token::pack(Kind::Op, slot, generation)
    }

    /// The token of the driver's own wait for a notify.
    pub(crate) fn notify() -> Token {
        Token::pack(Kind::Notify, 0, 0)
    }

    /// The token of a message that is a notify.
    pub(crate) fn message() -> Token {
        Token::pack(Kind::Message, 0, 0)
    }

    /// The token under which the cancel of this operation answers.
    pub(crate) fn cancel(self) -> Token {
        debug_assert_eq!(self.kind(), Some(Kind::Op));
        Token::pack(Kind::Cancel, self.slot(), self.generation())
    }

    /// The operation that a cancel was for.
    pub(crate) fn target(self) -> Token {
        debug_assert_eq!(self.kind(), Some(Kind::Cancel));
        Token::pack(Kind::Op, self.slot(), self.generation())
    }

    fn pack(kind: Kind, slot: u32, generation: u32) -> Token {
        debug_assert!(generation <= GENERATION_MASK);
        let bits = (kind as u64) << (SLOT_BITS + GENERATION_BITS)
            | u64::from(generation & GENERATION_MASK) << SLOT_BITS
            | u64::from(slot);
        Token(NonZeroU64::new(bits).expect("a kind is never 0"))
    }

    /// The token in the `user_data` of a completion entry, unless it is none of ours.
    pub(crate) fn from_bits(bits: u64) -> Option<Token> {
        NonZeroU64::new(bits).map(Token)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0.get()
    }

    /// What the token names; `None` for bits that no `Token` of ours has.
    pub(crate) fn kind(self) -> Option<Kind> {
        match self.bits() >> (SLOT_BITS + GENERATION_BITS) {
            1 => Some(Kind::Op),
            2 => Some(Kind::Cancel),
            3 => Some(Kind::Notify),
            4 => Some(Kind::Message),
            _ => None,
        }
    }

    pub(crate) fn slot(self) -> u32 {
        self.bits() as u32
    }

    pub(crate) fn generation(self) -> u32 {
        (self.bits() >> SLOT_BITS) as u32 & GENERATION_MASK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_survive_packing() {
        for slot in [0, 1, 0x8000_0000, u32::MAX] {
            for generation in [0, 1, GENERATION_MASK] {
                let token = Token::op(slot, generation);
                assert_eq!(token.kind(), Some(Kind::Op));
                assert_eq!((token.slot(), token.generation()), (slot, generation));
                assert_eq!(Token::from_bits(token.bits()), Some(token));
                assert_eq!(token.cancel().kind(), Some(Kind::Cancel));
                assert_eq!(token.cancel().target(), token);
            }
        }
    }

    #[test]
    fn foreign_bits_have_no_kind() {
        assert_eq!(Token::from_bits(0), None);
        assert_eq!(Token::from_bits(u64::MAX).unwrap().kind(), None);
    }
}
