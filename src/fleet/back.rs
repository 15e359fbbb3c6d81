//! The way back as a fleet: all hosts at once, past every error. The work is the helpers'.

use std::collections::{BTreeMap, BTreeSet};

use super::ask::{AskError, WayBack};
use super::conduct::{Conduct, unpanicked};
use super::ending::{MemberEnd, once_stays};
use crate::helper::protocol::{RefusalKind, WentBack};
use crate::model::{EventKind, GateResult, Member};

/// What a host said about its way back; none when nobody waited for it.
type Said = Option<Result<WentBack, AskError>>;

impl Conduct {
    /// Tells members to go back, and records what became of each. `all`: the whole run goes
    /// back with them, so that what happened once is undone when everybody is back.
    pub(super) async fn go_back(&mut self, members: &BTreeSet<Member>, reason: &str, all: bool) {
        for member in members {
            self.events.emit(EventKind::GoingBack {
                host: member.host.clone(),
                app: member.app.clone(),
                reason: reason.to_owned(),
            });
        }
        let said = self
            .ask_back(members, reason, all && members.len() == 1)
            .await;
        let (waiting, rest): (Vec<_>, Vec<_>) = said
            .into_iter()
            .partition(|(_, said)| matches!(said, Some(Ok(back)) if back.once));
        for (member, said) in rest {
            self.record(&member, said, Others::Back);
        }
        if waiting.is_empty() {
            return;
        }
        let others = members
            .iter()
            .filter(|member| waiting.iter().all(|(waits, _)| waits != *member))
            .map(|member| match self.ends.get(member) {
                Some(MemberEnd::Back) => Others::Back,
                Some(MemberEnd::GoingBack { .. }) => Others::OnTheWay,
                _ => Others::Elsewhere,
            })
            .max()
            .unwrap_or(Others::Back);
        if all && others == Others::Back {
            let waiting = waiting.into_iter().map(|(member, _)| member).collect();
            for (member, said) in self.ask_back(&waiting, reason, true).await {
                self.record(&member, said, others);
            }
        } else {
            let others = if all { others } else { Others::Elsewhere };
            for (member, said) in waiting {
                self.record(&member, said, others);
            }
        }
    }

    /// Asks all at once and waits for everybody, or until nobody wants to wait any more.
    async fn ask_back(
        &self,
        members: &BTreeSet<Member>,
        reason: &str,
        all_back: bool,
    ) -> BTreeMap<Member, Said> {
        let mut set = self.on_each(members, |member, connection| {
            let way = WayBack {
                run: self.run.id.clone(),
                app: member.app.clone(),
                reason: reason.to_owned(),
                hold: self.hold(member),
                all_back,
            };
            let events = self.events.clone();
            async move { connection.go_back(way, &events).await }
        });
        let mut said: BTreeMap<Member, Said> = members
            .iter()
            .map(|member| (member.clone(), None))
            .collect();
        loop {
            let joined = tokio::select! {
                biased;
                joined = set.join_next() => joined,
                () = self.cancelling.impatient() => {
                    // The way back goes on without anybody waiting for it.
                    set.detach_all();
                    return said;
                }
            };
            let Some(joined) = joined else { return said };
            let (member, answer) = unpanicked(joined);
            said.insert(member, Some(answer));
        }
    }

    fn record(&mut self, member: &Member, said: Said, others: Others) {
        if let Some(Ok(back)) = &said {
            for result in &back.gates {
                self.events.emit(EventKind::GateRead {
                    host: member.host.clone(),
                    app: member.app.clone(),
                    result: result.clone(),
                    baseline: false,
                    back: true,
                    step: None,
                });
            }
        }
        let (steps, elapsed) = match &said {
            Some(Ok(back)) => (back.steps, back.elapsed),
            _ => (0, 0),
        };
        let end = member_end(member, said, others);
        let problems = match &end {
            MemberEnd::Stuck { problems } => problems.clone(),
            MemberEnd::GoingBack { reason } => vec![reason.clone()],
            MemberEnd::Back | MemberEnd::Committed | MemberEnd::Unconfirmed { .. } => Vec::new(),
        };
        self.events.emit(EventKind::WentBack {
            host: member.host.clone(),
            app: member.app.clone(),
            complete: problems.is_empty(),
            problems,
            steps,
            elapsed,
        });
        self.ends.insert(member.clone(), end);
    }
}

/// Where those are for whom a member waits that is to undo what happened once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Others {
    Back,
    /// They can't be read, and go back by themselves: nobody is needed, only the next command.
    OnTheWay,
    /// They stay, or a person is needed.
    Elsewhere,
}

/// What became of a member, by what it said.
fn member_end(member: &Member, said: Said, others: Others) -> MemberEnd {
    let back = match said {
        None => {
            return MemberEnd::GoingBack {
                reason: format!("{member} was told to go back, and its answer was not waited for"),
            };
        }
        Some(Err(error)) if error.is_lost() => {
            return MemberEnd::GoingBack {
                reason: error.to_string(),
            };
        }
        // Its journal was never opened, or is closed: there is nothing to go back from.
        Some(Err(error)) if error.refusal() == Some(RefusalKind::NoSuchRun) => {
            return MemberEnd::Back;
        }
        Some(Err(error)) => {
            return MemberEnd::Stuck {
                problems: vec![error.to_string()],
            };
        }
        Some(Ok(back)) => back,
    };
    let mut problems = back.problems;
    if back.once && problems.is_empty() && others == Others::OnTheWay {
        return MemberEnd::GoingBack {
            reason: format!(
                "{member}: what ran once for all hosts is undone by the next command, when all of them are back"
            ),
        };
    }
    if back.once {
        problems.push(once_stays(member));
    }
    let relapsed = back.gates.iter().filter_map(GateResult::relapse);
    problems.extend(relapsed.map(|it| format!("{member} is as it was, but {it}")));
    if problems.is_empty() {
        MemberEnd::Back
    } else {
        MemberEnd::Stuck { problems }
    }
}
