//! The suite is itself tested: with each of these bugs it must fail.
//!
//! A bug is a host that only says of a primitive that it is done, a kind that is wrong in one thing, or an app whose
//! steps are done before they are announced. Nothing is planted in the program itself.

use std::path::Path;

use super::faults::{Depth, Trip};
use super::shapes::{Shape, named};
use crate::config::{Declaration, Word};
use crate::content::remove_tree;
use crate::host::memory::Primitive;
use crate::host::{HostError, MemoryHost};
use crate::model::{
    Action, Label, Reason, Resource, ResourceId, ResourceKind, Step, StepKind, Thing,
};
use crate::step::desired::Desired;
use crate::step::kind::{
    Change, Kind, Named, ObserveContext, Observed, Part, StepContext, StepError,
};
use crate::step::registry::registry;
use crate::step::restart::unit_of;

/// A kind, wrong in one thing.
pub struct Wrong {
    kind: &'static dyn Kind,
    uses: Option<fn(Named<'_>) -> Vec<Thing>>,
    is_between: Option<bool>,
    no_freshness: bool,
    no_heeds: bool,
    observe: Option<Observe>,
    apply: Option<Apply>,
}

type Observe = fn(
    &'static dyn Kind,
    &ObserveContext<'_>,
    &ResourceId,
    Option<&Resource>,
) -> Result<Observed, HostError>;
type Apply = fn(&'static dyn Kind, &StepContext<'_>, &Step) -> Result<(), StepError>;

impl Wrong {
    fn new(kind: ResourceKind) -> Self {
        let mut kinds = registry().iter().copied();
        Self {
            kind: kinds.find(|it| it.resource() == kind).unwrap(),
            uses: None,
            is_between: None,
            no_freshness: false,
            no_heeds: false,
            observe: None,
            apply: None,
        }
    }

    pub fn applying(kind: ResourceKind, apply: Apply) -> Self {
        Self {
            apply: Some(apply),
            ..Self::new(kind)
        }
    }

    fn using(kind: ResourceKind, uses: fn(Named<'_>) -> Vec<Thing>) -> Self {
        Self {
            uses: Some(uses),
            ..Self::new(kind)
        }
    }
}

impl Wrong {
    /// Has a shape's app know it in the place of the right one.
    pub fn among(self, shape: &mut Shape) {
        let mut kinds = shape.app.kinds.to_vec();
        let place = kinds
            .iter_mut()
            .find(|kind| kind.resource() == self.resource());
        *place.unwrap() = Box::leak(Box::new(self));
        shape.app.kinds = kinds.leak();
    }
}

impl Kind for Wrong {
    fn resource(&self) -> ResourceKind {
        self.kind.resource()
    }
    fn step(&self) -> StepKind {
        self.kind.step()
    }
    fn words(&self) -> Vec<Word> {
        self.kind.words()
    }
    fn shape(&self, declaration: &Declaration, desired: &mut Desired<'_>) {
        self.kind.shape(declaration, desired);
    }
    fn desire(&self, declaration: &Declaration, desired: &mut Desired<'_>) {
        self.kind.desire(declaration, desired);
    }
    fn complete(&self, desired: &mut Desired<'_>) {
        self.kind.complete(desired);
    }
    fn makes(&self, it: Named<'_>) -> Vec<Thing> {
        self.kind.makes(it)
    }
    fn uses(&self, it: Named<'_>) -> Vec<Thing> {
        self.uses
            .map_or_else(|| self.kind.uses(it), |uses| uses(it))
    }
    fn heeds(&self, it: Named<'_>) -> Vec<Thing> {
        if self.no_heeds {
            return Vec::new();
        }
        self.kind.heeds(it)
    }
    fn occupies(&self, it: Named<'_>) -> Vec<Thing> {
        self.kind.occupies(it)
    }
    fn is_retained(&self, it: Named<'_>) -> bool {
        self.kind.is_retained(it)
    }
    fn met(&self, wanted: &Resource, found: &Resource) -> Resource {
        self.kind.met(wanted, found)
    }
    fn renews(&self) -> bool {
        self.kind.renews()
    }
    fn freshness(&self, it: Named<'_>) -> Option<&'static str> {
        self.kind.freshness(it).filter(|_| !self.no_freshness)
    }
    fn is_used_as(&self, declared: Named<'_>, found: &Resource) -> bool {
        self.kind.is_used_as(declared, found)
    }
    fn compare(&self, change: Change<'_>) -> Vec<Reason> {
        let mut reasons = self.kind.compare(change);
        reasons.retain(|reason| !(self.no_freshness && reason.attribute == "fresh"));
        reasons
    }
    fn parts(&self, change: Change<'_>, reasons: &[Reason], disturbed: bool) -> Vec<Part> {
        self.kind.parts(change, reasons, disturbed)
    }
    fn disturbs(&self, change: Change<'_>) -> Vec<Thing> {
        self.kind.disturbs(change)
    }
    fn is_once(&self, change: Change<'_>) -> bool {
        self.kind.is_once(change)
    }
    fn is_inert(&self, change: Change<'_>) -> bool {
        self.kind.is_inert(change)
    }
    fn label(&self, change: Change<'_>) -> Label {
        self.kind.label(change)
    }
    fn observe(
        &self,
        context: &ObserveContext<'_>,
        id: &ResourceId,
        wanted: Option<&Resource>,
    ) -> Result<Observed, HostError> {
        match self.observe {
            Some(observe) => observe(self.kind, context, id, wanted),
            None => self.kind.observe(context, id, wanted),
        }
    }
    fn is_between(&self, step: &Step, found: Option<&Resource>) -> bool {
        self.is_between
            .unwrap_or_else(|| self.kind.is_between(step, found))
    }
    fn apply(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        match self.apply {
            Some(apply) => apply(self.kind, context, step),
            None => self.kind.apply(context, step),
        }
    }
    fn sweep(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        self.kind.sweep(context, step)
    }
}

enum Bug {
    Lie(fn(&Primitive) -> bool),
    Kinds(fn() -> Vec<Wrong>),
    /// Steps are done before they are announced.
    Hasty,
}

/// The suite has to find it; says how.
fn found(shape: &str, bug: Bug) {
    let began = std::time::Instant::now();
    let mut shape = named(shape);
    match bug {
        Bug::Lie(lie) => lie_on(&shape.host, lie),
        Bug::Hasty => shape.app.is_hasty = true,
        Bug::Kinds(wrong) => {
            for wrong in wrong() {
                wrong.among(&mut shape);
            }
        }
    }
    let tried = Trip::new(shape).and_then(|mut trip| {
        trip.hasty = true;
        trip.sweep(Depth { cuts: 4, stops: 2 })
    });
    let lost = tried.expect_err("the suite must not hold with this bug");
    println!(
        "planted: found after {:.1} s: {lost}",
        began.elapsed().as_secs_f64()
    );
}

fn lie_on(host: &MemoryHost, lie: fn(&Primitive) -> bool) {
    host.lie(lie);
}

fn at(primitive: &Primitive, name: &str, path: &str) -> bool {
    primitive.name == name && primitive.path.to_string_lossy().contains(path)
}

/// A service as it is read, but fresh where it waits to be started again and has had no main process in this boot.
fn fresh_without_a_start(
    kind: &'static dyn Kind,
    context: &ObserveContext<'_>,
    id: &ResourceId,
    wanted: Option<&Resource>,
) -> Result<Observed, HostError> {
    let mut observed = kind.observe(context, id, wanted)?;
    let nothing = Resource::new();
    let status = context
        .host
        .service(&unit_of(id, wanted.unwrap_or(&nothing)))?;
    if let Some(resource) = &mut observed.resource
        && status.started.is_none()
        && resource.is("active")
    {
        *resource = resource.clone().with("fresh", true);
    }
    Ok(observed)
}

/// Reads a service as if its process had been started with the definition that was on the disk then.
fn by_its_start(
    kind: &'static dyn Kind,
    context: &ObserveContext<'_>,
    id: &ResourceId,
    wanted: Option<&Resource>,
) -> Result<Observed, HostError> {
    let nothing = Resource::new();
    let unit = unit_of(id, wanted.unwrap_or(&nothing));
    let started = context.host.service(&unit)?.started;
    let changed = |other: &ResourceId| match other == id {
        true => started.clone(),
        false => (context.changed)(other),
    };
    let context = ObserveContext {
        changed: &changed,
        ..*context
    };
    kind.observe(&context, id, wanted)
}

macro_rules! planted {
    ($($name:ident: $shape:literal, $bug:expr;)*) => {
        $(#[test]
        fn $name() {
            found($shape, $bug);
        })*
    };
}

use Bug::{Hasty, Kinds, Lie};

const STATE: &str = super::declared::STATE;

planted! {
    the_journal_is_not_synced: "a take-over", Lie(|it| at(it, "sync", "/journal") && !at(it, "sync", ".new"));
    a_change_is_made_before_the_journal_says_so: "a take-over", Hasty;
    the_journals_name_is_not_durable: "a take-over", Lie(|it| it.name == "sync" && it.path == Path::new(STATE));
    the_journal_is_not_allocated: "a take-over", Lie(|it| at(it, "allocate", "journal"));
    a_file_is_shown_before_it_is_synced: "a take-over", Lie(|it| at(it, "sync", ".bot.conf.rosey"));
    a_renamed_files_directory_is_not_synced: "a take-over", Lie(|it| it.name == "sync" && it.path == Path::new("/etc/nginx"));
    a_links_directory_is_not_synced: "a take-over", Lie(|it| it.name == "sync" && (it.path == Path::new("/opt/bot") || at(it, "sync", "staging/2026")));
    a_releases_tree_is_not_synced: "a secret and a reload", Lie(|it| at(it, "sync_tree", "staging") || at(it, "sync", "staging/2026"));
    a_releases_name_is_not_synced: "a secret and a reload", Lie(|it| it.name == "sync" && (it.path.ends_with("releases") || at(it, "sync", "staging/2026")));
    a_stamp_is_not_synced: "a secret and a reload", Lie(|it| at(it, "sync", ".warm.new"));
    a_stamps_name_is_not_synced: "a secret and a reload", Lie(|it| it.name == "sync" && it.path.ends_with("stamps"));
    what_was_built_is_not_synced: "a new version", Lie(|it| at(it, "sync_tree", "/built/"));
    a_backup_is_not_synced: "a restore of data", Lie(|it| at(it, "sync_tree", "/backups/"));
    the_manager_does_not_read_units_again: "a secret and a reload", Lie(|it| it.name == "daemon-reload");
    staging_is_left: "a secret and a reload", Lie(|it| at(it, "remove_directory", "staging"));
    a_restart_is_left_out: "a secret and a reload", Kinds(|| vec![Wrong {
        no_freshness: true,
        ..Wrong::new(ResourceKind::SERVICE)
    }]);
    what_stands_beside_a_unit_is_no_part_of_it: "a heal", Kinds(|| vec![Wrong {
        no_heeds: true,
        ..Wrong::new(ResourceKind::SERVICE)
    }]);
    a_definition_counts_as_loaded_when_its_file_is_changed: "a take-over", Kinds(|| vec![Wrong {
        observe: Some(by_its_start),
        ..Wrong::new(ResourceKind::SERVICE)
    }]);
    what_never_came_up_counts_as_fresh: "a take-over", Kinds(|| vec![Wrong {
        observe: Some(fresh_without_a_start),
        ..Wrong::new(ResourceKind::SERVICE)
    }]);
    an_edge_to_the_release_is_left_out: "a secret and a reload", Kinds(|| vec![Wrong::using(ResourceKind::LINK, |_| Vec::new())]);
    an_edge_to_what_a_service_uses_is_left_out: "a take-over", Kinds(|| vec![Wrong::using(ResourceKind::SERVICE, |_| Vec::new())]);
    arrows_are_flipped: "a take-over", Kinds(|| vec![
        Wrong::using(ResourceKind::SERVICE, |_| Vec::new()),
        Wrong::using(ResourceKind::LINK, |_| vec![Thing::Unit("bot.service".to_owned())]),
    ]);
    a_state_between_is_not_known: "a secret and a reload", Kinds(|| vec![Wrong {
        is_between: Some(false),
        ..Wrong::new(ResourceKind::SERVICE)
    }]);
    a_task_that_was_cut_off_is_not_known: "a secret and a reload", Kinds(|| vec![Wrong {
        is_between: Some(false),
        ..Wrong::new(ResourceKind::TASK)
    }]);
    a_link_is_removed_before_it_is_made: "a secret and a reload", Kinds(|| vec![Wrong::applying(ResourceKind::LINK, |_, context, step| {
        let path = Path::new(&step.resource.name);
        context.host.remove_file(path)?;
        let target = step.to.as_ref().and_then(|to| to.text("target")).unwrap_or_default();
        context.host.make_link(path, Path::new(target), context.owner)?;
        Ok(context.host.sync(path.parent().unwrap())?)
    })]);
    a_file_is_written_in_its_place: "a secret and a reload", Kinds(|| vec![Wrong::applying(ResourceKind::FILE, |kind, context, step| {
        let path = Path::new(&step.resource.name);
        let digest = step.to.as_ref().and_then(|to| to.text("content")).unwrap_or_default();
        let Some(bytes) = context.content.bytes(digest)? else {
            return kind.apply(context, step);
        };
        context.host.remove_file(path)?;
        context.host.write_file(path, &mut &bytes[..], 0o644, context.owner)?;
        Ok(context.host.sync(path)?)
    })]);
    a_release_is_made_in_its_place: "a secret and a reload", Kinds(|| vec![Wrong::applying(ResourceKind::RELEASE, |kind, context, step| {
        let Some(tree) = step.to.as_ref().and_then(|to| to.text("tree")) else {
            return kind.apply(context, step);
        };
        let at = Path::new(&step.resource.name);
        context.content.stage(tree, at, context.owner)?;
        Ok(())
    })]);
    what_was_replaced_is_not_kept: "a take-over", Kinds(|| vec![Wrong::applying(ResourceKind::FILE, |kind, context, step| {
        kind.apply(context, step)?;
        kind.sweep(context, step)
    })]);
    a_directory_goes_with_what_is_in_it: "a few things leave", Kinds(|| vec![Wrong::applying(ResourceKind::DIRECTORY, |kind, context, step| {
        if step.to.is_some() {
            return kind.apply(context, step);
        }
        remove_tree(context.host, Path::new(&step.resource.name))?;
        Ok(())
    })]);
    a_step_spoils_what_another_has_made: "a first deploy", Kinds(|| vec![Wrong::applying(ResourceKind::LINK, |kind, context, step| {
        kind.apply(context, step)?;
        Ok(context.host.set_mode(&context.observe.places.root, 0o700)?)
    })]);
    a_backup_is_not_taken: "a restore of data", Kinds(|| vec![Wrong::applying(ResourceKind::new("backup"), |kind, context, step| {
        if step.action == Action::Take { Ok(()) } else { kind.apply(context, step) }
    })]);
    data_is_not_put_back: "a restore of data", Kinds(|| vec![Wrong::applying(ResourceKind::new("backup"), |kind, context, step| {
        if step.action == Action::Restore { Ok(()) } else { kind.apply(context, step) }
    })]);
    an_undo_only_takes_the_stamp_away: "a secret and a reload", Kinds(|| vec![Wrong::applying(ResourceKind::TASK, |kind, context, step| {
        if step.action == Action::Undo { Ok(()) } else { kind.apply(context, step) }
    })]);
}
