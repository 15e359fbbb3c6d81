//! The way back as a fleet: all hosts at once, past every error. The work is the helpers'.

use std::collections::{BTreeMap, BTreeSet};

use super::ask::{AskError, WayBack};
use super::conduct::{Conduct, unpanicked};
use super::ending::{MemberEnd, once_stays, stays_done};
use crate::helper::protocol::{RefusalKind, WentBack};
use crate::model::{EventKind, GateResult, Member, Once};

/// What a host said about its way back; none when nobody waited for it.
type Said = Option<Result<WentBack, AskError>>;

impl Conduct {
    /// Tells members to go back, and records what became of each. Who did something once for all hosts waits with its
    /// undo until it is known where everybody ends: see [`Conduct::end_once`].
    pub(super) async fn go_back(&mut self, members: &BTreeSet<Member>, reason: &str) {
        for member in members {
            self.events.emit(EventKind::GoingBack {
                host: member.host.clone(),
                app: member.app.clone(),
                reason: reason.to_owned(),
            });
        }
        let is_last = |member| self.others(member) == Others::Back;
        let once = match members.first() {
            Some(only) if members.len() == 1 && is_last(only) => Once::Undone,
            _ => Once::Waits,
        };
        for (member, said) in self.ask_back(members, reason, once).await {
            match said {
                Some(Ok(back)) if back.once => {
                    let end = member_end(&member, Some(Ok(back.clone())), Others::OnTheWay);
                    self.ends.insert(member.clone(), end);
                    self.waiting.insert(member, back);
                }
                said => self.record(&member, said, Others::Back),
            }
        }
    }

    /// Ends what was done once for all hosts, on hosts that are back but for that: it is undone where all others are back
    /// too, and stays done where some are new for good.
    pub(super) async fn end_once(&mut self, reason: &str) {
        let mut goes = BTreeMap::new();
        for (member, back) in &self.waiting {
            goes.insert(member.clone(), (self.others(member), back.clone()));
        }
        for (others, once) in [(Others::Back, Once::Undone), (Others::New, Once::Stays)] {
            let these = goes.iter().filter(|(_, (it, _))| *it == others);
            let these: BTreeSet<Member> = these.map(|(member, _)| member.clone()).collect();
            for (member, said) in self.ask_back(&these, reason, once).await {
                goes.remove(&member);
                if once == Once::Stays {
                    self.events.note(Some(&member.host), stays_done(&member));
                }
                self.record(&member, said, others);
            }
        }
        for (member, (others, back)) in goes {
            self.record(&member, Some(Ok(back)), others);
        }
        self.waiting.clear();
    }

    /// Where all others are, for a member that is to undo what it did once.
    fn others(&self, member: &Member) -> Others {
        let others = self.run.parts.keys().filter(|it| *it != member);
        let others = others.filter(|it| !self.waiting.contains_key(*it));
        let others = others.map(|other| match self.ends.get(other) {
            Some(MemberEnd::Back) => Others::Back,
            Some(MemberEnd::Committed) if other.app == member.app => Others::New,
            Some(MemberEnd::Committed) => Others::Back,
            Some(MemberEnd::GoingBack { .. } | MemberEnd::Unconfirmed { .. }) => Others::OnTheWay,
            Some(MemberEnd::Stuck { .. }) | None => Others::Elsewhere,
        });
        others.max().unwrap_or(Others::Back)
    }

    /// Asks all at once and waits for everybody, or until nobody wants to wait any more.
    async fn ask_back(
        &self,
        members: &BTreeSet<Member>,
        reason: &str,
        once: Once,
    ) -> BTreeMap<Member, Said> {
        let mut set = self.on_each(members, |member, connection| {
            let way = WayBack {
                run: self.run.id.clone(),
                app: member.app.clone(),
                reason: reason.to_owned(),
                hold: self.hold(member),
                once,
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
    /// All are back; those of other apps may be new, which have things of their own to do once.
    Back,
    /// Some are new for good.
    New,
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
