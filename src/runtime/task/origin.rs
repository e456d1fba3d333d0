//! Where a task comes from: the line that spawned it, its name, how urgent it is.

use std::panic::Location;

/// What a task keeps of its birth.
pub(crate) struct Origin {
    pub(in crate::runtime) location: &'static Location<'static>,
    /// Most tasks have none, and pay one word for it.
    pub(in crate::runtime) label: Option<Box<Label>>,
    pub(in crate::runtime) background: bool,
}

/// A name, a span, or both.
pub(crate) struct Label {
    pub(in crate::runtime) name: Option<Box<str>>,
    pub(in crate::runtime) span: Option<tracing::Span>,
}

impl Origin {
    /// What stands for the main future.
    pub(crate) fn main(location: &'static Location<'static>) -> Origin {
        let label = Box::new(Label { name: Some("main".into()), span: None });
        Origin { location, label: Some(label), background: false }
    }

    /// A task without a name.
    pub(crate) fn at(location: &'static Location<'static>) -> Origin {
        Origin { location, label: None, background: false }
    }
}
