//! Who is told how a run ended.
//!
//! Must not know how a message is sent.

use super::place::Place;
use super::problem::Problem;
use super::reader::Reader;
use super::scalar::{SecretTemplate, Template};

/// One receiver.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    /// Where the message goes.
    pub target: NotificationTarget,
    /// Which outcomes are told; all when empty.
    pub on: Vec<NotifyOn>,
    /// Where it is declared.
    pub place: Place,
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotificationTarget {
    /// Slack, by the webhook whose address is in that environment variable.
    Slack {
        /// The environment variable of the controller.
        variable: String,
    },
    /// A POST with the outcome as JSON; the address may hold secrets.
    Webhook {
        /// The address.
        url: Template,
    },
}

crate::choice! {
    /// What somebody can be told of: the outcomes of a run, and drift.
    NotifyOn {
        /// Every host has the change.
        Applied = "applied",
        /// There was nothing to do.
        Unchanged = "unchanged",
        /// There was nothing to do and a gate fails.
        Unhealthy = "unhealthy",
        /// Every host is as it was.
        RolledBack = "rolled-back",
        /// Some hosts can't be read: they go back by themselves, or stand new unconfirmed.
        GoingBack = "going-back",
        /// Mixed, as the declaration allows.
        Degraded = "degraded",
        /// A person is needed.
        Stuck = "stuck",
        /// Nothing was begun.
        Refused = "refused",
        /// Somebody cancelled it.
        Cancelled = "cancelled",
        /// Somebody changed the servers.
        Drifted = "drifted",
    }
}

/// Reads `notify`.
pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Vec<Notification>> {
    Some(reader.children_of(&["slack", "webhook"], |child| {
        let place = child.place();
        if child.word() == "slack" {
            let variable = child.required_child("env", Reader::argument::<String>);
            let on = child.values::<NotifyOn>("on");
            return Some(Notification {
                target: NotificationTarget::Slack {
                    variable: variable?,
                },
                on,
                place,
            });
        }
        let url_place = child.name_place();
        let url = child.argument::<SecretTemplate>();
        let on = child.values::<NotifyOn>("on");
        let SecretTemplate(url) = url?;
        if !["https://", "http://", "{{"]
            .iter()
            .any(|start| url.0.starts_with(start))
        {
            let problem = Problem::new("`webhook` needs a web address")
                .at(url_place, "begins with https:// or http://");
            child.problem(problem);
        }
        Some(Notification {
            target: NotificationTarget::Webhook { url },
            on,
            place,
        })
    }))
}
