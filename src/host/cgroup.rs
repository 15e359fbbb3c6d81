//! Which unit of systemd a process runs in: it has a control group of its own. See
//! proc_pid_cgroup(5), systemd.unit(5).

use std::fs;

/// The unit or scope of a process, as this machine's systemd knows it; none where it runs in none, or
/// in one of a user's own, or it can't be known.
pub(super) fn unit_of(process: u32) -> Option<String> {
    outermost(&of(process)?)
}

/// Whether a process runs in a unit, or in a control group that the unit has made inside of its own.
pub(super) fn is_in(process: u32, unit: &str) -> bool {
    of(process).is_some_and(|text| names(&text).iter().any(|name| name == unit))
}

/// Inside of a container's scope there are units of the container's.
fn outermost(text: &str) -> Option<String> {
    let is_unit = |name: &String| name.ends_with(".service") || name.ends_with(".scope");
    let unit = names(text).into_iter().find(is_unit)?;
    (!unit.starts_with("user@")).then_some(unit)
}

fn of(process: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{process}/cgroup")).ok()
}

/// The names of the group that systemd manages, outermost first: the one of version 2, or the named one.
fn names(text: &str) -> Vec<String> {
    let path = text.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        matches!(controllers, "" | "name=systemd").then_some(path)
    });
    // What would be taken for a file of the kernel's is escaped by an underscore.
    let plain = |name: &str| name.strip_prefix('_').unwrap_or(name).to_owned();
    path.unwrap_or_default().split('/').map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_known_by_its_group_in_either_version() {
        let second = "0::/system.slice/bot.service/worker\n";
        assert_eq!(names(second), ["", "system.slice", "bot.service", "worker"]);
        let first = "12:cpu,cpuacct:/\n1:name=systemd:/system.slice/bot.service\n";
        assert!(names(first).contains(&"bot.service".to_owned()));
        assert_eq!(names("garbage"), [""]);
        assert_eq!(outermost(second).as_deref(), Some("bot.service"));
        let contained = "0::/machine.slice/machine-x.scope/system.slice/web.service";
        assert_eq!(outermost(contained).as_deref(), Some("machine-x.scope"));
        let users = "0::/user.slice/user-1.slice/user@1.service/app.slice/bot.service";
        assert_eq!(outermost(users), None);
    }
}
