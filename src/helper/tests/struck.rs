//! Steps to which something happens.

use super::client::{Client, Place};
use super::runs::in_memory;
use crate::apply::tests::toy::{After, with};
use crate::helper::protocol::Reply;
use crate::host::{MemoryHost, Space};
use crate::model::Step;
use crate::step::kind::{StepContext, StepError};

/// How a disk is.
#[derive(Clone, Copy)]
enum Disk {
    HasRoom,
    IsFull,
    IsReadOnly,
}

impl Disk {
    fn be(self, host: &MemoryHost) {
        let bytes = match self {
            Self::HasRoom | Self::IsReadOnly => 1 << 24,
            Self::IsFull => 1 << 10,
        };
        host.set_free(Some(Space { bytes, inodes: 100 }));
        host.set_read_only(matches!(self, Self::IsReadOnly));
    }
}

#[test]
fn what_fails_while_nothing_can_be_written_says_nothing_about_the_app() {
    use Disk::{HasRoom, IsFull, IsReadOnly};
    for (first, at_last, why) in [
        (HasRoom, HasRoom, None),
        (HasRoom, IsFull, Some("no space left")),
        // It had failed by the time at which room was made.
        (IsFull, HasRoom, Some("no space left")),
        (IsReadOnly, HasRoom, Some("read-only")),
        (IsReadOnly, IsFull, Some("read-only")),
    ] {
        let place = Place::new();
        let host = in_memory(&place);
        let struck = host.clone();
        let kinds = with(After(Box::new(
            move |context: &StepContext<'_>, step: &Step| {
                if step.to.is_none() {
                    return Ok(());
                }
                first.be(&struck);
                assert!(!(context.cancelled)());
                at_last.be(&struck);
                Err(StepError::Gates("the bot doesn't answer".to_owned()))
            },
        )));
        let mut client = Client::on(host, place.options(kinds));
        let plan = client.begin(&place, "1", &place.wanted(&[("a", "1")]));
        let Reply::Steps { failed } = client.steps("1", &plan) else {
            panic!("the step fails");
        };
        let failed = failed.unwrap();
        assert_eq!(failed.verdict, why.is_none(), "{failed:?}");
        if let Some(why) = why {
            assert!(failed.error.contains(why), "{failed:?}");
        }
    }
}
