//! Saved plans: YAML that a reviewer can read and an apply can hold itself to.
//!
//! The *header* says when it was made and what was found; the *body* is all that the plan depends
//! on and all that it does. The same inputs give the same body, byte for byte, so an apply makes
//! the body again and compares.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::{Digest, Finding, RunId, Step};

/// The format that this program writes and reads.
pub const FORMAT: &str = "rosey plan 1";

/// A saved plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedPlan {
    /// When it was made, and with what.
    pub header: Header,
    /// What it depends on and what it does.
    pub body: Body,
}

/// What every version's plan says of itself.
#[derive(Deserialize)]
struct Named {
    header: Format,
}

#[derive(Deserialize)]
struct Format {
    format: String,
}

/// What isn't compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// When it was made (RFC 3339, UTC).
    pub made: String,
    /// After this it is not applied any more (RFC 3339, UTC).
    pub expires: String,
    /// The version of rosey that made it.
    pub engine: String,
    /// The digest of the body as it is written: a cut or edited file is noticed.
    pub body: Digest,
    /// What was found beside the differences.
    pub findings: Vec<Finding>,
}

/// What is compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// The environment.
    pub environment: String,
    /// `--only`, as given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// `--except`, as given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// What each app on each host is, by `app on host`.
    pub members: BTreeMap<String, SavedMember>,
    /// The steps.
    pub steps: Vec<Step>,
}

/// What a plan depends on for one app on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedMember {
    /// The version.
    pub version: String,
    /// The release.
    pub release: String,
    /// The digest of the content.
    pub content: Digest,
    /// The digest of the app as declared.
    pub declared: Digest,
    /// The tree of the release as it is rendered for this host.
    pub tree: String,
    /// The last run that had steps there.
    pub head: Option<RunId>,
    /// The digest of the facts that the steps depend on: all that was read of the app there.
    pub facts: Digest,
}

/// Why a saved plan isn't applied.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SavedPlanError {
    /// It isn't one, or was cut off.
    #[error("{path} is not a saved plan: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// It was changed after it was made.
    #[error(
        "{path} was changed after it was made, or cut off: its body doesn't have the digest that its header names"
    )]
    Changed {
        /// The file.
        path: String,
    },
    /// Its time has passed.
    #[error("{path} expired at {expires}")]
    Expired {
        /// The file.
        path: String,
        /// When.
        expires: String,
    },
    /// Something that it depends on is otherwise now.
    #[error("{path} is stale:\n{}", .differences.join("\n"))]
    Stale {
        /// The file.
        path: String,
        /// What is otherwise: old and new.
        differences: Vec<String>,
    },
}

impl SavedPlan {
    /// A plan with its header.
    #[must_use]
    pub fn new(body: Body, made: String, expires: String, findings: Vec<Finding>) -> Self {
        let header = Header {
            format: FORMAT.to_owned(),
            made,
            expires,
            engine: env!("CARGO_PKG_VERSION").to_owned(),
            body: body.digest(),
            findings,
        };
        Self { header, body }
    }

    /// The file's text.
    ///
    /// # Panics
    /// Never: a plan is plain data.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let text = serde_yaml::to_string(self).expect("BUG: a plan is plain data");
        format!(
            "# A plan of rosey. `rosey apply` with this file does exactly this, or says what has changed.\n{text}"
        )
    }

    /// Reads a file's text. `now` is RFC 3339 in UTC.
    ///
    /// # Errors
    /// When it is no plan, was changed, or has expired.
    pub fn from_yaml(path: &str, text: &str, now: &str) -> Result<Self, SavedPlanError> {
        let unreadable = |why: String| SavedPlanError::Unreadable {
            path: path.to_owned(),
            why,
        };
        // A list that is cut off before its first item reads as an empty one.
        if !text.ends_with('\n') {
            return Err(unreadable("it was cut off".to_owned()));
        }
        // Another version's may have other fields, too.
        let unnamed = |error: serde_yaml::Error| unreadable(error.to_string());
        let Named { header } = serde_yaml::from_str(text).map_err(unnamed)?;
        if header.format != FORMAT {
            let why = format!(
                "its format is {:?}, this rosey reads {FORMAT:?}",
                header.format
            );
            return Err(unreadable(why));
        }
        let plan: Self = serde_yaml::from_str(text).map_err(unnamed)?;
        if plan.body.digest() != plan.header.body {
            return Err(SavedPlanError::Changed {
                path: path.to_owned(),
            });
        }
        // Both are RFC 3339 in UTC with the same precision, which sort as they follow.
        if plan.header.expires.as_str() < now {
            let expires = plan.header.expires;
            return Err(SavedPlanError::Expired {
                path: path.to_owned(),
                expires,
            });
        }
        Ok(plan)
    }

    /// Holds the plan against what would be planned now.
    ///
    /// # Errors
    /// What is otherwise.
    pub fn hold_to(&self, path: &str, now: &Body) -> Result<(), SavedPlanError> {
        let differences = self.body.differences(now);
        if differences.is_empty() {
            return Ok(());
        }
        Err(SavedPlanError::Stale {
            path: path.to_owned(),
            differences,
        })
    }
}

impl Body {
    /// The digest of the body as it is written.
    ///
    /// # Panics
    /// Never: a plan is plain data.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let text = serde_yaml::to_string(self).expect("BUG: a plan is plain data");
        Digest::of(text.as_bytes())
    }

    /// What is otherwise in another body, a line each.
    fn differences(&self, now: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, old) in &self.members {
            let Some(new) = now.members.get(name) else {
                lines.push(format!("{name}: no longer declared"));
                continue;
            };
            let mut differs = |what: &str, old: &dyn ToString, new: &dyn ToString| {
                let (old, new) = (old.to_string(), new.to_string());
                if old != new {
                    lines.push(format!("{name}: {what} was {old}, is {new}"));
                }
            };
            let head =
                |head: &Option<RunId>| head.as_ref().map_or("none".to_owned(), ToString::to_string);
            differs("the last run", &head(&old.head), &head(&new.head));
            differs("the version", &old.version, &new.version);
            differs("the content", &old.content.short(), &new.content.short());
            differs(
                "the declaration",
                &old.declared.short(),
                &new.declared.short(),
            );
            differs("the release", &old.release, &new.release);
            let tree = |tree: &str| {
                let digest = tree.parse::<Digest>();
                digest.map_or_else(|_| tree.to_owned(), |digest| digest.short())
            };
            differs("the rendered tree", &tree(&old.tree), &tree(&new.tree));
            differs(
                "what is on the host",
                &old.facts.short(),
                &new.facts.short(),
            );
        }
        let added = now
            .members
            .keys()
            .filter(|name| !self.members.contains_key(*name));
        lines.extend(added.map(|name| format!("{name}: newly declared")));
        if lines.is_empty() && self.steps != now.steps {
            lines.push("the steps would be others now".to_owned());
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(head: Option<&str>) -> Body {
        let digest = Digest::of(b"x");
        let member = SavedMember {
            version: "1".to_owned(),
            release: "1-abc".to_owned(),
            content: digest,
            declared: digest,
            tree: digest.to_string(),
            head: head.map(|id| RunId(id.to_owned())),
            facts: digest,
        };
        Body {
            environment: "prod".to_owned(),
            only: Vec::new(),
            except: Vec::new(),
            members: BTreeMap::from([("bot on a".to_owned(), member)]),
            steps: Vec::new(),
        }
    }

    fn saved() -> SavedPlan {
        SavedPlan::new(
            body(None),
            "2026-01-01T00:00:00.000Z".into(),
            "2026-01-02T00:00:00.000Z".into(),
            Vec::new(),
        )
    }

    const NOW: &str = "2026-01-01T12:00:00.000Z";

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let plan = saved();
        assert_eq!(SavedPlan::from_yaml("p", &plan.to_yaml(), NOW), Ok(plan));
    }

    #[test]
    fn an_edited_cut_or_expired_plan_is_refused() {
        let text = saved().to_yaml();
        let edited = text.replace("1-abc", "1-abd");
        assert!(matches!(
            SavedPlan::from_yaml("p", &edited, NOW),
            Err(SavedPlanError::Changed { .. })
        ));
        for end in 0..text.len() {
            assert!(
                SavedPlan::from_yaml("p", &text[..end], NOW).is_err(),
                "cut at {end}"
            );
        }
        let late = SavedPlan::from_yaml("p", &text, "2026-01-03T00:00:00.000Z");
        assert!(matches!(late, Err(SavedPlanError::Expired { .. })));
    }

    #[test]
    fn a_moved_head_is_told_with_old_and_new() {
        let error = saved().hold_to("p.yaml", &body(Some("run-1"))).unwrap_err();
        insta::assert_snapshot!(error, @r"
        p.yaml is stale:
        bot on a: the last run was none, is run-1
        ");
    }
}
