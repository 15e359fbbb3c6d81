//! Quantities and things in words.

use crate::model::{ResourceKind, StepId, few};
use crate::step::backup::desire::BACKUP;
use crate::step::verify::desire::GATES;

/// `1 step`, `3 steps`.
#[must_use]
pub fn steps(number: usize) -> String {
    count(number as u64, "step")
}

/// What had been begun: `after 6 steps (link /a, file /b, file /c and 2 more)`.
#[must_use]
pub fn after(begun: &[StepId]) -> String {
    match begun.len() {
        0 => "before its first step".to_owned(),
        number => {
            let things = begun.iter().map(|step| thing_of(&step.0));
            format!("after {} ({})", steps(number), few(things))
        }
    }
}

/// A number with its noun, which takes an `s` for more than one.
#[must_use]
pub fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// A resource as people call it: `link /opt/x/current`, `gates of bot`.
#[must_use]
pub fn thing(kind: &ResourceKind, name: &str) -> String {
    // What accompanies the changes of an app is known by the app's name.
    if [GATES, BACKUP].contains(kind) {
        format!("{kind} of {name}")
    } else {
        format!("{kind} {name}")
    }
}

/// The resource of a step, by the step's name: `host/app/link:/opt/x/current`.
#[must_use]
pub fn thing_of(step: &str) -> String {
    let resource = step.splitn(3, '/').nth(2).unwrap_or(step);
    let Some((kind, name)) = resource.split_once(':') else {
        return resource.to_owned();
    };
    let (name, part) = name.rsplit_once('#').unwrap_or((name, ""));
    for attendant in [GATES, BACKUP] {
        if attendant.as_str() == kind {
            return thing(&attendant, name);
        }
    }
    // A part is one of the program's own words; anything else belongs to the name.
    match part {
        "" => format!("{kind} {name}"),
        "stop" | "start" => format!("{kind} {name}"),
        part => format!("{kind} {name}#{part}"),
    }
}

/// Milliseconds as people say them: `0.4 s`, `12 s`, `3 min 05 s`.
#[must_use]
pub fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0..10 => format!("{}.{} s", seconds, milliseconds % 1000 / 100),
        10..60 => format!("{seconds} s"),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

/// Bytes in powers of 1000, as `ls --si` and disks' makers count.
#[must_use]
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 || value >= 10.0 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_as_people_say_them() {
        assert_eq!(steps(1), "1 step");
        assert_eq!(steps(0), "0 steps");
        assert_eq!(duration(420), "0.4 s");
        assert_eq!(duration(185_000), "3 min 05 s");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_500), "1.5 kB");
        assert_eq!(bytes(23_400_000), "23 MB");
    }
}
