//! One step: read, compare, journal, change, read back.

use std::cell::RefCell;

use thiserror::Error;

use super::graph::Cancel;
use super::journal::{Journal, JournalError};
use super::record::Record;
use super::site::Site;
use crate::host::HostErrorKind;
use crate::model::{Action, GateResult, Resource, ResourceId, ResourceKind, Step};
use crate::step::kind::{Change, Kind, Named, StepContext, StepError};
use crate::step::sync::entry::TYPE;

/// Which way a step leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Along the plan.
    Forward,
    /// To how everything was before the run.
    Back,
}

/// What taking a step needs to know beside the step.
#[derive(Clone, Copy)]
pub struct Taking<'a> {
    /// Which way it leads.
    pub way: Way,
    /// Resources that are declared or known, for finding out what is used.
    pub known: &'a [(ResourceId, Resource)],
    /// Ends what only waits.
    pub cancel: &'a Cancel,
    /// Hears what a step that waits is waiting for right now.
    pub waits: &'a (dyn Fn(String) + Sync),
    /// Hears what gates said in the end, where the step reads gates.
    pub gates: &'a (dyn Fn(Vec<GateResult>) + Sync),
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// Everything was as it should be.
    Unchanged,
    /// It was changed, and read back.
    Changed,
}

/// Why a step wasn't taken.
#[derive(Debug, Error)]
pub enum TakeError {
    /// The step itself failed.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The journal can't be written: nothing was changed after that.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A step failed where nobody could write: that says nothing about the app.
    #[error("while nothing could be written ({why}): {error}")]
    Unwritable {
        /// Why not.
        why: HostErrorKind,
        /// How it failed.
        error: StepError,
    },
    /// A fault in rosey itself; what it had changed by then isn't known.
    #[error("a fault in rosey: {0}")]
    Panic(String),
}

impl TakeError {
    /// Whether it says something about the app, so that it holds.
    #[must_use]
    pub fn is_verdict(&self) -> bool {
        matches!(self, Self::Step(error) if error.is_verdict())
    }

    /// Whether gates said neither yes nor no.
    #[must_use]
    pub fn is_inconclusive(&self) -> bool {
        matches!(self, Self::Step(StepError::Inconclusive(_)))
    }

    /// Whether planning could have found it.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Step(StepError::Conflict { .. }) => true,
            _ => self.host_error() == Some(&HostErrorKind::NoSpace),
        }
    }

    /// Whether the same may succeed later with nothing changed by rosey.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.host_error().is_some_and(HostErrorKind::is_temporary)
    }

    /// The primitive's failure, where that is the cause.
    #[must_use]
    pub fn host_error(&self) -> Option<&HostErrorKind> {
        match self {
            Self::Step(StepError::Host(error)) | Self::Journal(JournalError::Host(error)) => {
                Some(&error.kind)
            }
            Self::Step(StepError::Content(crate::content::ContentError::Host(error))) => {
                Some(&error.kind)
            }
            _ => None,
        }
    }
}

/// Takes one step, so that after it the resource is as the step says.
///
/// Found as it should be, nothing is done. Found as it was planned, or as this step may leave it
/// once begun: it is taken. Anything else is somebody else's doing, and is left alone.
///
/// # Errors
/// When the resource isn't as the step says afterwards.
pub fn take(
    site: &Site<'_>,
    journal: &Journal<'_>,
    taking: Taking<'_>,
    step: &Step,
) -> Result<Done, TakeError> {
    let Taking { way, known, .. } = taking;
    // Asked for once more it is not done once more: what came after it may have left it behind, as the start of a
    // service leaves its stop, and a second backup would be one of new data.
    if way == Way::Forward && journal.ask(|told| told.done.contains(&step.id)) {
        return Ok(Done::Unchanged);
    }
    let kind = site.kind(&step.resource).map_err(StepError::from)?;
    let mut before = None;
    let was_open = journal.ask(|told| told.open.contains(&step.id));
    if !is_attendant(step) {
        let found = read(site, journal, known, step)?;
        if is_as(kind, step, found.as_ref(), step.to.as_ref()) {
            // One that was open has changed it before.
            let open = was_open && kind.renews();
            let done = if open { Done::Changed } else { Done::Unchanged };
            end(site, journal, (way, step), done, false)?;
            return Ok(Done::Unchanged);
        }
        // The way back is only of what was begun, and a service may die between its plan and its step.
        let begun = way == Way::Back || journal.ask(|told| told.has_begun(&step.id));
        let between = begun && kind.is_between(step, found.as_ref());
        if !between && !is_as_planned(kind, step, found.as_ref()) {
            return Err(conflict(kind, step, found.as_ref()).into());
        }
        before = found;
    }
    announce(journal, way, step)?;
    let unwritable = RefCell::new(site.refuses_writes());
    let look = || {
        let known = unwritable.take();
        unwritable.replace(known.or_else(|| site.refuses_writes()));
    };
    let taken = site.acting(journal, taking, |context| {
        // Room may be made at any time, and writes be allowed. Whoever waits asks this again and again.
        let cancelled = || {
            look();
            (context.cancelled)()
        };
        let context = StepContext {
            cancelled: &cancelled,
            failing: &look,
            ..*context
        };
        kind.apply(&context, step)
    });
    if taken.as_ref().is_err_and(StepError::is_verdict) {
        look();
    }
    let taken = taken.map_err(|error| {
        let error = error.masked(site.mask);
        match unwritable.take().filter(|_| error.is_verdict()) {
            Some(why) => TakeError::Unwritable { why, error },
            None => error.into(),
        }
    });
    let taken = match taken {
        // It is tried again, for as long as the host refuses, and the journal has no room for every try.
        Err(error) if way == Way::Back => return Err(error),
        taken => taken,
    };
    // What uses the resource is renewed on the way back only where there was something to be renewed for.
    let is_as_before =
        || kind.shows_all() && read(site, journal, known, step).is_ok_and(|found| found == before);
    let untouched = match &taken {
        Ok(()) => false,
        Err(TakeError::Step(StepError::Conflict { .. })) => !was_open,
        Err(_) => !was_open && is_as_before(),
    };
    // The time is taken after the change, and is recorded for a step that failed too: it may have
    // changed something. Not so of what renews nobody, whose own time only says when it was renewed
    // itself: a reload that failed was none, and a stop is none. It is recorded before reading back,
    // because what is read may depend on it.
    let may_have_changed = kind.renews() && !untouched;
    let done = if may_have_changed || taken.is_ok() && renews_itself(step.action) {
        Done::Changed
    } else {
        Done::Unchanged
    };
    end(site, journal, (way, step), done, taken.is_err())?;
    taken?;
    if !is_attendant(step) {
        let read_back = read_back(site, journal, known, step);
        if let Err(error) = read_back {
            end(site, journal, (way, step), done, true)?;
            return Err(error.into());
        }
    }
    Ok(Done::Changed)
}

/// Announces in the journal what is about to change something, unless it stands there already.
fn announce(journal: &Journal<'_>, way: Way, step: &Step) -> Result<(), JournalError> {
    match way {
        Way::Forward => journal.append(&Record::Begin {
            step: step.id.clone(),
        }),
        // Who wrote it may have been cut off before it was durable.
        Way::Back if journal.ask(|told| told.is_announced(step)) => journal.sync(),
        Way::Back => journal.append(&Record::BeginBack {
            step: Box::new(step.clone()),
        }),
    }
}

fn read_back(
    site: &Site<'_>,
    journal: &Journal<'_>,
    known: &[(ResourceId, Resource)],
    step: &Step,
) -> Result<(), StepError> {
    let kind = site.kind(&step.resource)?;
    let found = read(site, journal, known, step)?;
    if is_as(kind, step, found.as_ref(), step.to.as_ref())
        || stays(site, &step.resource, step.to.as_ref())
    {
        return Ok(());
    }
    Err(StepError::NotAsWritten {
        resource: step.resource.to_string(),
        found: in_words(kind, &step.resource, found.as_ref(), step.to.as_ref()),
    })
}

/// Whether what has a freshness is fresh after such a step. One that stops or only enables a service is none.
fn renews_itself(action: Action) -> bool {
    !matches!(
        action,
        Action::Stop | Action::Enable | Action::Disable | Action::Remove
    )
}

/// Whether a step changes no resource: a backup, a look at the gates.
#[must_use]
pub fn is_attendant(step: &Step) -> bool {
    // A service that only makes room for something has no reasons either; but it has attributes.
    step.from.is_none() && step.to.as_ref().is_some_and(|to| to.attributes.is_empty())
}

/// Whether a directory that should go stays, because somebody has put something into it.
pub(super) fn stays(site: &Site<'_>, id: &ResourceId, wanted: Option<&Resource>) -> bool {
    let holds_something = || {
        let names = site.host.list(std::path::Path::new(&id.name));
        names.is_ok_and(|names| !names.is_empty())
    };
    wanted.is_none() && id.kind == ResourceKind::DIRECTORY && holds_something()
}

/// Whether a resource is found as it should be, by its kind's own measure.
#[must_use]
pub fn is_same(
    kind: &dyn Kind,
    id: &ResourceId,
    found: Option<&Resource>,
    wanted: Option<&Resource>,
) -> bool {
    let is_there = |resource: Option<&Resource>| {
        resource.is_some_and(|resource| !kind.is_absence(Named { id, resource }))
    };
    let change = Change {
        id,
        from: found,
        to: wanted,
    };
    match (is_there(found), is_there(wanted)) {
        (true, true) => kind.compare(change).is_empty(),
        (found, wanted) => found == wanted,
    }
}

/// The same resource without the attribute that other resources' changes take from it.
#[must_use]
pub fn without_freshness(kind: &dyn Kind, id: &ResourceId, resource: &Resource) -> Resource {
    let mut resource = resource.clone();
    let named = Named {
        id,
        resource: &resource,
    };
    if let Some(freshness) = kind.freshness(named) {
        resource.attributes.remove(freshness);
    }
    resource
}

/// Whether a resource is found as a step expects it, or already as the step would make it.
#[must_use]
pub fn is_found_as_planned(kind: &dyn Kind, step: &Step, found: Option<&Resource>) -> bool {
    is_as(kind, step, found, step.to.as_ref()) || is_as_planned(kind, step, found)
}

fn is_as(
    kind: &dyn Kind,
    step: &Step,
    found: Option<&Resource>,
    wanted: Option<&Resource>,
) -> bool {
    is_same(kind, &step.resource, found, wanted)
}

/// Whether a resource is found as it was planned, as far as the step writes it. Whether it is fresh
/// is left out: that changes with what it uses, while the plan is being applied.
fn is_as_planned(kind: &dyn Kind, step: &Step, found: Option<&Resource>) -> bool {
    let Some(from) = &step.from else {
        return found.is_none();
    };
    let mut planned = without_freshness(kind, &step.resource, from);
    if let Some(to) = &step.to {
        planned
            .attributes
            .retain(|name, _| name == TYPE || to.attributes.contains_key(name));
    }
    is_as(kind, step, found, Some(&planned))
}

fn read(
    site: &Site<'_>,
    journal: &Journal<'_>,
    known: &[(ResourceId, Resource)],
    step: &Step,
) -> Result<Option<Resource>, StepError> {
    let wanted = step.to.as_ref().or(step.from.as_ref());
    Ok(site
        .observe(journal, known, &step.resource, wanted)?
        .resource)
}

/// Ends a step in the journal. One of the way back that was ended often stays open: what it has to be taken for again
/// and again, as a service that dies while the way back waits, must not fill the journal.
fn end(
    site: &Site<'_>,
    journal: &Journal<'_>,
    (way, step): (Way, &Step),
    done: Done,
    failed: bool,
) -> Result<(), JournalError> {
    if way == Way::Back && journal.ask(|told| told.was_ended_often(&step.id)) {
        return Ok(());
    }
    journal.append(&Record::End {
        step: step.id.clone(),
        changed: done == Done::Changed,
        moment: site.host.moment(),
        failed,
    })
}

fn conflict(kind: &dyn Kind, step: &Step, found: Option<&Resource>) -> StepError {
    StepError::Conflict {
        resource: step.resource.to_string(),
        found: in_words(kind, &step.resource, found, step.from.as_ref()),
    }
}

/// How what was found differs from what was expected: `mode 0600, expected 0644`.
pub(super) fn in_words(
    kind: &dyn Kind,
    id: &ResourceId,
    found: Option<&Resource>,
    expected: Option<&Resource>,
) -> String {
    match (found, expected) {
        (None, _) => "it is not there".to_owned(),
        (Some(_), None) => "it is there".to_owned(),
        (Some(_), Some(_)) => {
            let reasons = kind.compare(Change {
                id,
                from: found,
                to: expected,
            });
            let word = |value: Option<&crate::model::Value>| {
                value.map_or_else(|| "absent".to_owned(), ToString::to_string)
            };
            let differences: Vec<String> = reasons
                .iter()
                .map(|reason| {
                    format!(
                        "{} {}, expected {}",
                        reason.attribute,
                        word(reason.old.as_ref()),
                        word(reason.new.as_ref())
                    )
                })
                .collect();
            differences.join("; ")
        }
    }
}
