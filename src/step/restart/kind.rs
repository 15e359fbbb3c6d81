//! What the planner and the executor ask about services.

use crate::config::{Declaration, Word};
use crate::host::HostError;
use crate::model::{
    Action, Reason, Resource, ResourceId, ResourceKind, Step, StepKind, Thing, Value,
};
use crate::step::desired::Desired;
use crate::step::kind::{
    Change, Kind, Named, ObserveContext, Observed, Part, StepContext, StepError,
    differing_attributes,
};

use super::beside::heeded;
use super::declare::Restart;
use super::settings::ServiceSettings;
use super::{act, declare, desire, parts, stale, status};

/// Services.
#[derive(Debug, Clone, Copy)]
pub struct Service;

impl Kind for Service {
    fn resource(&self) -> ResourceKind {
        ResourceKind::SERVICE
    }

    fn step(&self) -> StepKind {
        StepKind::RESTART
    }

    fn words(&self) -> Vec<Word> {
        vec![declare::SERVICE]
    }

    fn desire(&self, declaration: &Declaration, desired: &mut Desired<'_>) {
        desire::desire(declaration, desired);
    }

    /// What is somebody else's isn't there because of us: several apps may reload one nginx.
    fn makes(&self, it: Named<'_>) -> Vec<Thing> {
        if settings(it).external {
            return Vec::new();
        }
        vec![Thing::Unit(it.id.name.clone())]
    }

    fn uses(&self, it: Named<'_>) -> Vec<Thing> {
        settings(it).uses.into_iter().map(Thing::Path).collect()
    }

    /// A unit, and what stands beside it, is the definition as long as it is there. Where it leaves and the service
    /// stays, systemd knows another one, such as a package's.
    fn heeds(&self, it: Named<'_>) -> Vec<Thing> {
        heeded(&settings(it))
    }

    fn occupies(&self, it: Named<'_>) -> Vec<Thing> {
        let settings = settings(it);
        if settings.external || !it.resource.is("active") {
            return Vec::new();
        }
        settings.turn.into_iter().map(Thing::Turn).collect()
    }

    fn renews(&self) -> bool {
        false
    }

    fn freshness(&self, it: Named<'_>) -> Option<&'static str> {
        (settings(it).restart != Restart::Never).then_some("fresh")
    }

    fn is_used_as(&self, _declared: Named<'_>, _found: &Resource) -> bool {
        true
    }

    fn compare(&self, change: Change<'_>) -> Vec<Reason> {
        let settings = ServiceSettings::of(change.id, change.to.or(change.from));
        let runs = change.from.is_some_and(|from| from.is("active"));
        let mut reasons = differing_attributes(change.from, change.to);
        let Some(to) = change.to else {
            // Somebody else's service stays as it is when we no longer use it.
            reasons.retain(|_| !settings.external);
            return reasons;
        };
        reasons.retain(|reason| match reason.attribute.as_str() {
            // Only what runs can be stale, and nothing is ever made stale.
            "fresh" => runs && to.is("fresh") && settings.restart != Restart::Never,
            "active" if settings.restores => to.is("active"),
            _ => !settings.external,
        });
        reasons
    }

    fn parts(&self, change: Change<'_>, reasons: &[Reason], disturbed: bool) -> Vec<Part> {
        parts::of(change, reasons, disturbed)
    }

    fn is_inert(&self, _change: Change<'_>) -> bool {
        false
    }

    fn observe(
        &self,
        context: &ObserveContext<'_>,
        id: &ResourceId,
        wanted: Option<&Resource>,
    ) -> Result<Observed, HostError> {
        let settings = ServiceSettings::of(id, wanted);
        let found = status::settled(context.host, &settings.unit, settings.start_timeout)?;
        let is_fresh = status::is_active(&found)
            && !found.needs_daemon_reload
            && !stale::is_stale(context, id, &settings, &found);
        let enabled = found.enabled;
        let active = status::is_active(&found);
        let absent = !active && !status::starts_at_boot(context.host, &settings, &found)?;
        if absent && !settings.external {
            return Ok(Observed::default());
        }
        let mut resource = Resource::new()
            .with("enabled", enabled)
            .with("active", active)
            .with("fresh", is_fresh);
        // What it uses and who runs it is declared, not read.
        if let Some(wanted) = wanted {
            resource.settings = wanted.settings.clone();
        }
        Ok(Observed {
            resource: Some(resource),
            changes: Vec::new(),
        })
    }

    /// What neither runs nor comes up at boot is no service of ours, whoever has it stopped.
    fn is_absence(&self, it: Named<'_>) -> bool {
        !settings(it).external && !it.resource.is("active") && !it.resource.is("enabled")
    }

    /// Enabling comes before starting, and a restart stops first: each of both may be old or new, and
    /// a service that is to be restarted may be found stopped, as one that died of its reload.
    fn is_between(&self, step: &Step, found: Option<&Resource>) -> bool {
        let is = |resource: Option<&Resource>, attribute: &str| {
            resource.is_some_and(|resource| resource.is(attribute))
        };
        let (from, to) = (step.from.as_ref(), step.to.as_ref());
        let either = |attribute: &str| {
            let found = is(found, attribute);
            found == is(from, attribute) || found == is(to, attribute)
        };
        let renewed = matches!(step.action, Action::Restart | Action::Reload);
        let stopped = renewed && !is(found, "active");
        either("enabled") && (either("active") || stopped)
    }

    /// What is somebody else's is nobody's to start, unless the run itself has brought it down.
    fn restored(&self, id: &ResourceId, before: &Resource) -> Resource {
        if ServiceSettings::of(id, Some(before)).external {
            before.clone().setting("restores", true)
        } else {
            before.clone()
        }
    }

    fn apply(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        act::take(context.host, step)
    }

    fn sweep(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        Ok(act::settle(context.host, step)?)
    }
}

fn settings(it: Named<'_>) -> ServiceSettings {
    ServiceSettings::of(it.id, Some(it.resource))
}

/// The same resource, not running.
pub(super) fn stopped(resource: &Resource) -> Resource {
    let mut resource = resource.clone();
    for attribute in ["active", "fresh"] {
        resource
            .attributes
            .insert(attribute.to_owned(), Value::Bool(false));
    }
    resource
}
