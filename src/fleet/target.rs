//! Where a rollback goes: chosen from what the ledgers of an app's hosts show. Pure.
//!
//! Generations have the same number on every host of their run. A host that a run didn't touch kept
//! what it had: what stood there at a number is its last generation up to that number.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use thiserror::Error;

use super::compose::Toward;
use crate::helper::protocol::Marks;
use crate::model::{AppName, Generation, Hold, HostName, Ledger, RunId};

/// The past of one app on all of its hosts.
#[derive(Debug, Clone)]
pub struct Past<'a> {
    app: AppName,
    ledgers: BTreeMap<HostName, &'a Ledger>,
}

/// A generation as the fleet knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Milestone {
    /// Its number.
    pub number: u64,
    /// The number of the one that it came after.
    pub parent: Option<u64>,
    /// The run that made it; none for what was there before the first.
    pub run: Option<RunId>,
    /// The name of its release.
    pub release: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// When it was committed (RFC 3339, UTC), on the first host that shows it.
    pub at: String,
    /// Whether its gates passed on every host that shows it.
    pub verified: bool,
    /// Whether a rollback has left it.
    pub left: bool,
    /// Whether it stands on some host.
    pub current: bool,
    /// The hosts that show it.
    pub hosts: Vec<HostName>,
}

/// Why there is no target.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TargetError {
    /// Nothing was ever applied.
    #[error("nothing was ever applied of {app}, so there is nothing to go back from")]
    Nothing {
        /// The app.
        app: AppName,
    },
    /// No ancestor will do.
    #[error(
        "{app} has no earlier generation that is verified and was not left; `--to` goes to any"
    )]
    NoneEarlier {
        /// The app.
        app: AppName,
    },
    /// Nothing goes by that name.
    #[error(
        "{app} has no kept generation, release or version {text:?}, and it is no time either ({known})"
    )]
    Unknown {
        /// The app.
        app: AppName,
        /// What was asked for.
        text: String,
        /// What there is.
        known: String,
    },
    /// A time before everything that is kept.
    #[error("nothing that is kept of {app} stood at {text}")]
    TooEarly {
        /// The app.
        app: AppName,
        /// What was asked for.
        text: String,
    },
    /// It was pruned on a host.
    #[error("what stood on {host} at generation {number} of {app} is no longer kept there")]
    Pruned {
        /// The host.
        host: HostName,
        /// The app.
        app: AppName,
        /// The generation.
        number: u64,
    },
}

/// Who goes back, when and why, for the marks in the ledgers.
#[derive(Debug, Clone)]
pub struct Leaving<'a> {
    /// The run that does it.
    pub run: &'a RunId,
    /// When (RFC 3339, UTC).
    pub at: &'a str,
    /// Why.
    pub why: &'a str,
}

/// Whether a text is a version's usual tag: `v1.4.2` of `1.4.2`.
fn is_tag(text: &str, version: &str) -> bool {
    text.strip_prefix('v') == Some(version)
}

impl<'a> Past<'a> {
    /// The past of an app, by the ledgers of the hosts that have one.
    #[must_use]
    pub fn new(app: &AppName, ledgers: BTreeMap<HostName, &'a Ledger>) -> Self {
        Self {
            app: app.clone(),
            ledgers,
        }
    }

    /// All generations that any host shows, oldest first.
    #[must_use]
    pub fn milestones(&self) -> Vec<Milestone> {
        let mut milestones: BTreeMap<u64, Milestone> = BTreeMap::new();
        for (host, ledger) in &self.ledgers {
            let standing = ledger.current().map(|current| current.number);
            for generation in &ledger.generations {
                let milestone = milestones
                    .entry(generation.number)
                    .or_insert_with(|| milestone(generation));
                milestone.parent = milestone.parent.max(generation.parent);
                milestone.verified &= generation.verified;
                milestone.left |= generation.left;
                milestone.current |= standing == Some(generation.number);
                milestone.hosts.push(host.clone());
            }
        }
        milestones.into_values().collect()
    }

    /// The nearest ancestor of what stands that is verified and not left.
    ///
    /// # Errors
    /// When there is none.
    pub fn default_target(&self) -> Result<u64, TargetError> {
        let milestones = self.milestones();
        let find = |number: u64| milestones.iter().find(|it| it.number == number);
        let mut at = milestones.last().ok_or_else(|| TargetError::Nothing {
            app: self.app.clone(),
        })?;
        // A parent always has a lower number, so this ends even in a ledger that says otherwise.
        while let Some(parent) = at
            .parent
            .filter(|parent| *parent < at.number)
            .and_then(find)
        {
            if parent.verified && !parent.left {
                return Ok(parent.number);
            }
            at = parent;
        }
        Err(TargetError::NoneEarlier {
            app: self.app.clone(),
        })
    }

    /// The generation that first brought what stands now. That of a rollback has the parent of what it went to, so it is
    /// the first with the same parent: who goes back twice undoes two runs, and no rollback.
    #[must_use]
    pub fn brought_by(&self) -> Option<Milestone> {
        let milestones = self.milestones();
        let parent = milestones.last()?.parent;
        milestones.into_iter().find(|it| it.parent == parent)
    }

    /// The generation that a person means: by number, release, version or time. Where several
    /// match, the latest verified one. A time without a zone is one of `zone`.
    ///
    /// # Errors
    /// When nothing that is kept matches.
    pub fn find(&self, text: &str, zone: &TimeZone) -> Result<u64, TargetError> {
        let milestones = self.milestones();
        let number = text.parse::<u64>().ok();
        let by_number = milestones.iter().find(|it| number == Some(it.number));
        if let Some(milestone) = by_number {
            return Ok(milestone.number);
        }
        let named = |name: fn(&Milestone) -> Option<&String>| {
            let matching = || {
                let all = milestones.iter();
                all.filter(move |it| {
                    name(it).is_some_and(|name| name == text || is_tag(text, name))
                })
            };
            let verified = matching().rfind(|it| it.verified);
            verified.or_else(|| matching().next_back())
        };
        let by_name = named(|it| it.release.as_ref()).or_else(|| named(|it| it.version.as_ref()));
        if let Some(milestone) = by_name {
            return Ok(milestone.number);
        }
        let Some(time) = time(text, zone) else {
            return Err(TargetError::Unknown {
                app: self.app.clone(),
                text: text.to_owned(),
                known: known(&milestones),
            });
        };
        let stood = |it: &&Milestone| it.at.parse::<Timestamp>().is_ok_and(|at| at <= time);
        let standing = milestones.iter().rfind(stood);
        standing
            .map(|it| it.number)
            .ok_or_else(|| TargetError::TooEarly {
                app: self.app.clone(),
                text: text.to_owned(),
            })
    }

    /// What stood on a host at a generation; none where it had nothing of the app yet.
    ///
    /// # Errors
    /// When that is no longer kept.
    pub fn standing(
        &self,
        host: &HostName,
        number: u64,
    ) -> Result<Option<&'a Generation>, TargetError> {
        let Some(ledger) = self.ledgers.get(host) else {
            return Ok(None);
        };
        let generations = &ledger.generations;
        let standing = generations.iter().rfind(|it| it.number <= number);
        let next = generations.iter().find(|it| it.number > number);
        let before_next = next.and_then(|next| next.parent);
        // What the next one came after stood in between, and has gone.
        let pruned = before_next.is_some_and(|parent| {
            parent <= number && standing.is_none_or(|standing| parent > standing.number)
        });
        if pruned {
            return Err(TargetError::Pruned {
                host: host.clone(),
                app: self.app.clone(),
                number,
            });
        }
        Ok(standing)
    }

    /// The way of every host to a generation, with its marks: what is left is marked and held, and a
    /// hold on what is gone to is lifted. The generation that is made takes the target's parent,
    /// so that going back twice goes further back and never forward.
    ///
    /// # Errors
    /// When the target is no longer kept on a host.
    pub fn toward(
        &self,
        number: u64,
        leaving: &Leaving<'_>,
    ) -> Result<BTreeMap<HostName, Toward>, TargetError> {
        let milestones = self.milestones();
        let target = milestones.iter().find(|it| it.number == number);
        let parent = target.and_then(|target| target.parent);
        let mut ways = BTreeMap::new();
        for (host, ledger) in &self.ledgers {
            let Some(target) = self.standing(host, number)? else {
                continue;
            };
            let marks = marks(ledger.current(), target, leaving);
            let way = Toward::Earlier {
                target: Box::new(target.clone()),
                parent,
                marks,
            };
            ways.insert(host.clone(), way);
        }
        Ok(ways)
    }
}

/// What changes in a ledger beside the new generation when one is left for another.
fn marks(current: Option<&Generation>, target: &Generation, leaving: &Leaving<'_>) -> Marks {
    let mut marks = Marks {
        lift: target.declared.into_iter().collect(),
        ..Marks::default()
    };
    let Some(current) = current.filter(|current| current.number != target.number) else {
        return marks;
    };
    marks.left.push(current.number);
    if let Some(declared) = current.declared
        && Some(declared) != target.declared
    {
        marks.hold.push(Hold {
            declared,
            release: current.release.clone().unwrap_or_default(),
            why: leaving.why.to_owned(),
            run: leaving.run.clone(),
            at: leaving.at.to_owned(),
        });
    }
    marks
}

fn milestone(generation: &Generation) -> Milestone {
    Milestone {
        number: generation.number,
        parent: generation.parent,
        run: generation.run.clone(),
        release: generation.release.clone(),
        version: generation.version.clone(),
        at: generation.at.clone(),
        verified: generation.verified,
        left: generation.left,
        current: false,
        hosts: Vec::new(),
    }
}

/// A time as people write it: RFC 3339, or a date with or without a time of day.
fn time(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let local = match text.parse::<DateTime>() {
        Ok(local) => local,
        Err(_) => text.parse::<Date>().ok()?.at(0, 0, 0, 0),
    };
    let zoned = local.to_zoned(zone.clone()).ok()?;
    Some(zoned.timestamp())
}

fn known(milestones: &[Milestone]) -> String {
    if milestones.is_empty() {
        return "nothing is kept".to_owned();
    }
    let one = |it: &Milestone| match &it.release {
        Some(release) => format!("{}: {release}", it.number),
        None => it.number.to_string(),
    };
    let all: Vec<_> = milestones.iter().map(one).collect();
    format!("there is {}", all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::{app, generation, host, ledger};

    fn past<'a>(ledgers: &'a [(&str, Ledger)]) -> Past<'a> {
        let ledgers = ledgers.iter().map(|(name, ledger)| (host(name), ledger));
        Past::new(&app(), ledgers.collect())
    }

    /// Generations one after the other, each the parent of the next.
    fn line(numbers: std::ops::RangeInclusive<u64>) -> Vec<Generation> {
        numbers
            .map(|number| generation(number, number.checked_sub(1)))
            .collect()
    }

    fn leaving() -> Leaving<'static> {
        static RUN: std::sync::LazyLock<RunId> = std::sync::LazyLock::new(|| RunId("back".into()));
        Leaving {
            run: &RUN,
            at: "2026-11-30T00:00:00Z",
            why: "it was slow",
        }
    }

    /// Rolls back as a run would, and says to where.
    fn roll_back(ledger: &mut Ledger) -> Result<u64, TargetError> {
        let before = [("a", ledger.clone())];
        let past = past(&before);
        let number = past.default_target()?;
        let ways = past.toward(number, &leaving())?;
        let Some(Toward::Earlier {
            target,
            parent,
            marks,
        }) = ways.into_values().next()
        else {
            panic!("no way to {number}");
        };
        for generation in &mut ledger.generations {
            generation.left |= marks.left.contains(&generation.number);
        }
        let number = ledger.current().map_or(1, |current| current.number + 1);
        ledger.generations.push(Generation {
            number,
            parent,
            ..*target.clone()
        });
        Ok(target.number)
    }

    #[test]
    fn twice_goes_further_back_and_never_forward() {
        let mut ledger = ledger(line(1..=4));
        assert_eq!(roll_back(&mut ledger), Ok(3));
        assert_eq!(roll_back(&mut ledger), Ok(2));
        assert_eq!(roll_back(&mut ledger), Ok(1));
        let app = app();
        assert_eq!(
            roll_back(&mut ledger),
            Err(TargetError::NoneEarlier { app })
        );
    }

    #[test]
    fn after_a_new_apply_the_way_back_is_to_what_was_rolled_back_to() {
        let mut ledger = ledger(line(1..=3));
        roll_back(&mut ledger).unwrap();
        // Number 4 is 2 again; 5 is applied on top of it.
        ledger.generations.push(generation(5, Some(4)));
        assert_eq!(roll_back(&mut ledger), Ok(4));
        assert_eq!(roll_back(&mut ledger), Ok(1));
    }

    #[test]
    fn what_is_unverified_or_left_is_passed_over() {
        let mut generations = line(1..=4);
        generations[2].verified = false;
        generations[1].left = true;
        let ledgers = [("a", ledger(generations))];
        assert_eq!(past(&ledgers).default_target(), Ok(1));
    }

    #[test]
    fn a_generation_counts_as_verified_only_where_all_hosts_say_so() {
        let mut failed = line(1..=3);
        failed[1].verified = false;
        let ledgers = [("a", ledger(line(1..=3))), ("b", ledger(failed))];
        assert_eq!(past(&ledgers).default_target(), Ok(1));
    }

    #[test]
    fn a_person_names_a_generation_in_four_ways() {
        let mut generations = line(1..=4);
        generations[2].version = Some("1.2".to_owned());
        generations[2].verified = false;
        let ledgers = [("a", ledger(generations))];
        let find = |text: &str| past(&ledgers).find(text, &TimeZone::UTC);
        assert_eq!(find("3"), Ok(3));
        assert_eq!(find("1.4-abc"), Ok(4));
        // 3 has that version too, and is no verified one.
        assert_eq!(find("1.2"), Ok(2));
        assert_eq!(find("v1.2"), Ok(2));
        assert_eq!(find("2026-11-03T11:59:59Z"), Ok(2));
        assert_eq!(find("2026-11-03"), Ok(2));
        assert_eq!(find("2026-11-03T14:00"), Ok(3));
        let early = "2026-01-01";
        assert!(matches!(find(early), Err(TargetError::TooEarly { .. })));
        let error = find("9.9").unwrap_err().to_string();
        assert!(error.contains("2: 1.2-abc"), "{error}");
    }

    #[test]
    fn a_host_that_a_run_did_not_touch_stays_what_it_was() {
        let untouched = vec![generation(1, None), generation(3, Some(1))];
        let ledgers = [("a", ledger(line(1..=3))), ("b", ledger(untouched))];
        let past = past(&ledgers);
        assert_eq!(past.default_target(), Ok(2));
        let ways = past.toward(2, &leaving()).unwrap();
        let to = |name: &str| match &ways[&host(name)] {
            Toward::Earlier { target, parent, .. } => (target.number, *parent),
            _ => unreachable!(),
        };
        assert_eq!(to("a"), (2, Some(1)));
        assert_eq!(to("b"), (1, Some(1)));
    }

    #[test]
    fn what_was_pruned_is_no_target() {
        let pruned = vec![generation(1, None), generation(4, Some(3))];
        let ledgers = [("a", ledger(pruned))];
        let error = past(&ledgers).standing(&host("a"), 3).unwrap_err();
        assert!(matches!(error, TargetError::Pruned { number: 3, .. }));
    }

    #[test]
    fn what_is_left_is_marked_and_held_and_a_hold_on_the_target_is_lifted() {
        let ledgers = [("a", ledger(line(1..=2)))];
        let ways = past(&ledgers).toward(1, &leaving()).unwrap();
        let Toward::Earlier { target, marks, .. } = &ways[&host("a")] else {
            unreachable!();
        };
        assert_eq!(marks.left, [2]);
        assert_eq!(marks.hold[0].why, "it was slow");
        assert_eq!(Some(marks.hold[0].declared), generation(2, None).declared);
        assert_eq!(marks.lift, target.declared.into_iter().collect::<Vec<_>>());
        let ways = past(&ledgers).toward(2, &leaving()).unwrap();
        let Toward::Earlier { marks, .. } = &ways[&host("a")] else {
            unreachable!();
        };
        assert!(marks.left.is_empty() && marks.hold.is_empty());
    }
}
