//! What is true of each operation, and the table of them, made of the rows that stand in their files.

use super::entry::Entry;
use super::{Code, ALL, TABLE};
use crate::sys::abi;
use crate::sys::fd::RawFd;

/// What is true of one operation, whatever it works on.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    /// The name in metrics, traces and options.
    pub(crate) name: &'static str,
    /// The opcode of the ring form.
    pub(crate) opcode: u8,
    /// The first kernel that has the ring form.
    pub(crate) kernel: &'static str,
    /// How a ring is asked whether it takes the operation.
    pub(crate) question: Question,
    /// How it is started if its answers go to a sink.
    pub(crate) stream: Option<Stream>,
    /// The kernel may answer twice: with the result, and when it has let go of the memory.
    pub(crate) answered_twice: bool,
}

/// What a ring is asked, without anything being done, to learn whether it takes an operation. One that
/// does complains of what the entry names; EINVAL or EOPNOTSUPP says that the kernel does not know it, and
/// EACCES that a policy forbids it.
#[derive(Clone, Copy)]
pub(crate) enum Question {
    /// The opcode alone, on no descriptor.
    NoDescriptor,
    /// An entry of its own.
    Entry(fn(&Misfit) -> Entry),
    /// Nothing: it is never asked of a ring.
    Never,
}

/// What a [`Question`] may name. What an entry points to is read before its descriptor is looked at.
pub(crate) struct Misfit {
    /// A descriptor that is no socket. Kernels before 6.0 look for the descriptor before they look at
    /// a multishot form, and only then say that they do not know it.
    pub(crate) no_socket: RawFd,
    /// The address of a socket that is none.
    pub(crate) address: Box<[u64; 16]>,
    /// A header that names nothing.
    pub(crate) header: Box<abi::msghdr>,
}

/// An operation whose answers go to a sink.
#[derive(Clone, Copy)]
pub(crate) struct Stream {
    /// The entry for a descriptor; `cap` is the most to be received at a time, or 0.
    pub(crate) entry: fn(fd: RawFd, cap: u32) -> Entry,
    /// It takes buffers of the core as it goes, of which there may be none.
    pub(crate) takes_buffers: bool,
}

impl Row {
    /// A row of an operation that is asked for by its opcode on no descriptor, and has one answer.
    pub(crate) const fn new(name: &'static str, opcode: u8, kernel: &'static str) -> Row {
        let question = Question::NoDescriptor;
        Row { name, opcode, kernel, question, stream: None, answered_twice: false }
    }

    /// An entry of this operation.
    pub(crate) const fn entry(&self, fd: RawFd) -> Entry {
        Entry::new(self.opcode, fd)
    }
}

/// Makes `Code` and its tables of the rows.
macro_rules! codes {
    ($($(#[$meta:meta])* $code:ident = $row:path;)*) => {
        /// Every operation there is.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub(crate) enum Code { $($(#[$meta])* $code,)* }

        /// The rows, in the order of `Code`.
        pub(crate) const TABLE: &[table::Row] = &[$($(#[$meta])* $row,)*];

        const ALL: &[Code] = &[$($(#[$meta])* Code::$code,)*];
    };
}

pub(super) use codes;

impl Code {
    /// The operation's row.
    pub(crate) const fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The operation's name.
    pub(crate) fn name(self) -> &'static str {
        self.row().name
    }

    /// Whether the kernel may answer twice: with the result, and when it has let go of the memory.
    pub(crate) const fn is_answered_twice(self) -> bool {
        self.row().answered_twice
    }

    /// All operations, in the order of the table.
    pub(crate) fn all() -> impl Iterator<Item = Code> {
        ALL.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_operation_has_a_row_and_a_name_of_its_own() {
        let mut names = HashSet::new();
        for (index, code) in Code::all().enumerate() {
            assert_eq!(code as usize, index);
            assert!(names.insert(code.name()) && !code.name().is_empty());
            let (major, minor) = code.row().kernel.split_once('.').expect("a version");
            assert!(major.parse::<u32>().is_ok() && minor.parse::<u32>().is_ok());
        }
        assert_eq!(names.len(), TABLE.len());
        // A set of operations is a word.
        assert!(names.len() <= u64::BITS as usize);
    }
}
