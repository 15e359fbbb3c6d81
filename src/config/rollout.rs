//! How a change goes over the hosts, and what an environment insists on.
//!
//! Must not know hosts or apps.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::reader::Reader;
use super::scalar::{FromScalar, Mismatch, Percent, Scalar};

/// `rollout { … }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// How many hosts have the change after each wave, cumulative.
    pub waves: Vec<WaveSize>,
    /// The bake of single waves, by number from 1.
    pub wave_bakes: BTreeMap<u32, Duration>,
    /// How long every other wave is watched after its gates passed.
    pub bake: Duration,
    /// How many hosts may fail without ending the run.
    pub max_failures: u32,
    /// What is done when more fail.
    pub on_failure: OnFailure,
    /// Without the controller for this long, a host goes back by itself.
    pub guard: Duration,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            waves: vec![WaveSize::Percent(100.0)],
            wave_bakes: BTreeMap::new(),
            bake: Duration::ZERO,
            max_failures: 0,
            on_failure: OnFailure::RollbackAll,
            guard: Duration::from_secs(60),
        }
    }
}

impl Rollout {
    /// How many of that many hosts have the change after each wave: rising, the last all of them.
    #[must_use]
    pub fn sizes(&self, hosts: usize) -> Vec<usize> {
        let mut sizes: Vec<usize> = Vec::new();
        for wave in &self.waves {
            let size = wave.of(hosts);
            if sizes.last().is_none_or(|last| size > *last) {
                sizes.push(size);
            }
        }
        if hosts > 0 && sizes.last() != Some(&hosts) {
            sizes.push(hosts);
        }
        sizes
    }

    /// The bake of a wave, by number from 1.
    #[must_use]
    pub fn bake_of(&self, wave: u32) -> Duration {
        self.wave_bakes.get(&wave).copied().unwrap_or(self.bake)
    }
}

/// How far a wave reaches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaveSize {
    /// So many hosts.
    Hosts(u32),
    /// That share of all hosts.
    Percent(f64),
}

impl WaveSize {
    /// Rounded up, at least one, at most all.
    fn of(self, hosts: usize) -> usize {
        let wanted = match self {
            Self::Hosts(count) => count as usize,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a share of a number of hosts is small and positive"
            )]
            Self::Percent(share) => (hosts as f64 * share / 100.0).ceil() as usize,
        };
        wanted.max(1).min(hosts)
    }
}

impl FromScalar for WaveSize {
    const EXPECTED: &'static str = "a number of hosts or a share, such as 1 or \"50%\"";
    const EXAMPLE: &'static str = "\"50%\"";
    fn from_scalar(scalar: &Scalar) -> Result<Self, Mismatch> {
        match scalar {
            Scalar::Integer(0) => Err(Mismatch::because("a wave has at least one host")),
            Scalar::Integer(_) => u32::from_scalar(scalar).map(Self::Hosts),
            other => match Percent::from_scalar(other)? {
                Percent(share) if share > 0.0 => Ok(Self::Percent(share)),
                _ => Err(Mismatch::because("a wave has at least one host")),
            },
        }
    }
}

crate::choice! {
    /// What is done when more hosts fail than may.
    OnFailure {
        /// All hosts of the run go back.
        RollbackAll = "rollback-all",
        /// The hosts of the wave that failed go back.
        RollbackWave = "rollback-wave",
        /// Everything stays as it stands.
        Stop = "stop",
    }
}

/// `protect { … }`: what `apply` insists on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protect {
    /// `--reason` must be given.
    pub reason: bool,
    /// `--version` must be given.
    pub version: bool,
    /// Only a saved plan is applied.
    pub saved_plan: bool,
}

/// Reads `rollout`.
pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Rollout> {
    let default = Rollout::default();
    let waves = reader.child("waves", |waves| {
        let place = waves.name_place();
        let sizes = waves.placed_arguments::<WaveSize>();
        check_waves(waves, &sizes, place);
        Some(sizes.into_iter().map(|(size, _)| size).collect::<Vec<_>>())
    });
    let wave_count = waves.as_ref().map_or(1, Vec::len);
    let wave_bakes = reader.children("wave", |wave| {
        let place = wave.name_place();
        let number = wave.argument::<u32>();
        let bake = wave.required_property::<Duration>("bake");
        let number = number?;
        if number == 0 || number as usize > wave_count {
            let problem = Problem::new(format!("there is no wave {number}"));
            wave.problem(problem.at(place, format!("waves are counted from 1 to {wave_count}")));
        }
        Some((number, bake?))
    });
    let bake = reader.value::<Duration>("bake").unwrap_or(default.bake);
    let max_failures = reader
        .value::<u32>("max-failures")
        .unwrap_or(default.max_failures);
    let on_failure = reader
        .value::<OnFailure>("on-failure")
        .unwrap_or(default.on_failure);
    let guard = reader.value::<Duration>("guard").unwrap_or(default.guard);
    if guard < Duration::from_secs(2) {
        let problem = Problem::new("`guard` needs at least 2 seconds")
            .at(reader.child_place("guard"), "too short");
        reader.problem(problem.help("a shorter loss of the connection is no reason to go back"));
    }
    Some(Rollout {
        waves: waves
            .filter(|waves| !waves.is_empty())
            .unwrap_or(default.waves),
        wave_bakes: wave_bakes.into_iter().collect(),
        bake,
        max_failures,
        on_failure,
        guard,
    })
}

fn check_waves(reader: &Reader<'_>, sizes: &[(WaveSize, super::Place)], place: super::Place) {
    for pair in sizes.windows(2) {
        let ((before, _), (after, place)) = (pair[0], pair[1]);
        let falls = match (before, after) {
            (WaveSize::Hosts(before), WaveSize::Hosts(after)) => after <= before,
            (WaveSize::Percent(before), WaveSize::Percent(after)) => after <= before,
            _ => false,
        };
        if falls {
            let problem =
                Problem::new("`waves` are cumulative: each reaches further than the one before");
            reader.problem(problem.at(place, "not more than the one before"));
        }
    }
    if !sizes
        .last()
        .is_some_and(|(last, _)| *last == WaveSize::Percent(100.0))
    {
        let problem = Problem::new("the last of the `waves` must reach every host");
        let place = sizes.last().map_or(place, |(_, place)| *place);
        reader.problem(
            problem
                .at(place, "some hosts would stay without the change")
                .help("end with \"100%\""),
        );
    }
}

/// Reads `protect`.
pub(crate) fn decode_protect(reader: &mut Reader<'_>) -> Option<Protect> {
    Some(Protect {
        reason: reader.flag("reason"),
        version: reader.flag("version"),
        saved_plan: reader.flag("saved-plan"),
    })
}
