//! What a script can ask of a machine: a yes or a no, and why not.

use std::fmt;
use std::str::FromStr;

use super::{Group, Report};

/// Something that must be there: `NAME`, or `GROUP:NAME` where a name alone would be ambiguous.
///
/// A name alone is first that of the backend that would be chosen (`uring`), then that of a feature
/// in use (`no-sqarray`), then that of a check, in the order of [`Group::ALL`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    group: Option<Group>,
    name: String,
}

/// A requirement that names nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownRequirement(String);

impl fmt::Display for UnknownRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UnknownRequirement {}

impl FromStr for Requirement {
    type Err = UnknownRequirement;

    fn from_str(text: &str) -> Result<Requirement, UnknownRequirement> {
        let (group, name) = match text.split_once(':') {
            None => (None, text),
            Some((group, name)) => {
                let known = Group::ALL.into_iter().find(|known| known.name() == group);
                let known = known.ok_or_else(|| {
                    let all = Group::ALL.map(Group::name).join(", ");
                    UnknownRequirement(format!("`{group}` is no group: it must be one of {all}"))
                })?;
                (Some(known), name)
            }
        };
        if name.is_empty() {
            return Err(UnknownRequirement("name what is required, such as uring".into()));
        }
        Ok(Requirement { group, name: name.to_owned() })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group {
            Some(group) => write!(f, "{}:{}", group.name(), self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl Requirement {
    /// Whether the machine of this report has it; if not, why.
    pub fn check(&self, report: &Report) -> Result<Result<(), String>, UnknownRequirement> {
        let named = |group: &Group| report.check(*group, &self.name);
        if self.group.is_none() {
            let backend = report.check(Group::Backend, &self.name);
            if backend.is_some() && self.name == "uring" && report.verdict.backend != "uring" {
                return Ok(Err(report.verdict.reason.clone()));
            }
            if report.verdict.features.contains(&self.name) {
                return Ok(Ok(()));
            }
        }
        let groups = self.group.map_or(Group::ALL.to_vec(), |group| vec![group]);
        let Some(check) = groups.iter().find_map(named) else {
            let off = report.verdict.off.iter().find(|off| off.name == self.name);
            return match off {
                Some(off) if self.group.is_none() => Ok(Err(off.why.clone())),
                _ => Err(self.unknown(report, &groups)),
            };
        };
        if check.outcome.works() {
            return Ok(Ok(()));
        }
        let (outcome, why) = (check.outcome.name(), check.outcome.why());
        let since = check.since.as_ref().map(|since| format!("; it takes Linux {since}"));
        Ok(Err(match (why.as_str(), since) {
            ("", since) => format!("{outcome}{}", since.unwrap_or_default()),
            (why, _) => format!("{outcome}: {why}"),
        }))
    }

    fn unknown(&self, report: &Report, groups: &[Group]) -> UnknownRequirement {
        let shown = if self.group.is_some() { groups } else { &Group::ALL[..2] };
        let names: Vec<&str> = report
            .checks
            .iter()
            .filter(|check| shown.contains(&check.group))
            .map(|check| check.name.as_str())
            .collect();
        UnknownRequirement(format!("nothing is called `{self}`; there are {}", names.join(", ")))
    }
}
