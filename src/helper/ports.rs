//! Ports that the app's services are to listen on, and that somebody else has. Reads only.
//!
//! Where a service will listen is known only from the gates that ask it: an `http` gate on loopback is
//! answered by one of the app's own services, or by one that is declared as somebody else's. A `tcp`
//! gate asks for something that the app depends on, and says nothing here.

use std::collections::BTreeMap;

use super::registry::Claims;
use crate::host::listening::is_loopback;
use crate::host::{HostError, Listener, LiveProcess, Manager, ReadHost, Unit, server_of};
use crate::model::{EnvironmentName, FindingClass, Gate, GateKind, Gates};

/// PID 1, which holds the sockets of socket units.
const INIT: u32 = 1;

/// What decides whether a port that is taken is in the way.
pub(super) struct Ports<'a> {
    pub host: &'a dyn ReadHost,
    /// The gates of what is wanted.
    pub gates: &'a Gates,
    /// The gates of the generation that stands; none before the first.
    pub standing: Option<&'a Gates>,
    /// Services that are the app's, or ever were.
    pub own: &'a [Unit],
    /// Services that are declared as somebody else's.
    pub external: &'a [Unit],
    /// Whether one of the app's services runs.
    pub runs: bool,
    /// The environment that the app belongs to.
    pub environment: &'a EnvironmentName,
    /// What other apps own.
    pub others: Vec<&'a Claims>,
}

/// A port that somebody else has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Taken {
    /// How bad that is where a service of the app is started.
    pub class: FindingClass,
    /// Who has it, and what for it is wanted.
    pub message: String,
    /// The line to type.
    pub remedy: String,
}

/// Where a gate asks this host itself.
struct Asked<'a> {
    gate: &'a Gate,
    server: String,
    port: u16,
}

impl Ports<'_> {
    /// Every port that a service of the app is to listen on and that somebody else has.
    pub fn taken(&self) -> Result<Vec<Taken>, HostError> {
        let mut by_port = BTreeMap::new();
        for asked in asked(self.gates) {
            by_port.entry(asked.port).or_insert(asked);
        }
        let mut all = Vec::new();
        for asked in by_port.values() {
            all.extend(self.taken_from(asked)?);
        }
        Ok(all)
    }

    fn taken_from(&self, asked: &Asked<'_>) -> Result<Option<Taken>, HostError> {
        // Who answered the gate of what runs may go on to: a server in front of the app, a container's proxy.
        let stands = |gates| self::asked(gates).any(|it| it.port == asked.port);
        if self.runs && self.standing.is_some_and(stands) {
            return Ok(None);
        }
        let mut listeners = self.host.listeners(asked.port)?;
        listeners.retain(|listener| listener.answers(&asked.server));
        if listeners.is_empty() {
            return Ok(None);
        }
        let may_answer_none = |listener: &Listener| listener.may_be_ipv6_only(&asked.server);
        let unsure = listeners.iter().all(may_answer_none);
        let mut holders: Vec<LiveProcess> = listeners.into_iter().flat_map(processes).collect();
        holders.sort();
        for holder in &holders {
            for unit in self.own.iter().chain(self.external) {
                if self.host.is_of_service(holder.id, unit)? {
                    return Ok(None);
                }
            }
        }
        let main = holders.iter().find(|holder| self.is_main(holder));
        let mut taken = match main.or(holders.first()) {
            None => unknown(asked),
            Some(holder) if holder.id == INIT => of_a_socket_unit(asked),
            Some(holder) => self.held(asked, holder)?,
        };
        if unsure {
            taken.class = FindingClass::Note;
        }
        Ok(Some(taken))
    }

    /// Whether a process is the main one of the service that it runs in. Others may only have been started by that, by
    /// cron or over SSH; what systemd doesn't tell of is ended by itself.
    fn is_main(&self, process: &LiveProcess) -> bool {
        let Some(name) = process.unit.as_ref().filter(|_| service(process).is_some()) else {
            return false;
        };
        let unit = Unit {
            manager: Manager::Systemd,
            name: name.clone(),
        };
        let status = self.host.service(&unit);
        status.is_ok_and(|status| status.main_process == Some(process.id))
    }

    fn held(&self, asked: &Asked<'_>, holder: &LiveProcess) -> Result<Taken, HostError> {
        let mut other = None;
        for claims in &self.others {
            if self.host.processes_in(&claims.root)?.contains(&holder.id) {
                other = Some(*claims);
            }
        }
        // Its declarations know each other: an app may ask another one of them.
        let known = other.is_some_and(|other| other.environment == *self.environment);
        // What was there before rosey may answer through another server.
        let adopted = self.runs && self.standing.is_none();
        let class = if known || adopted {
            FindingClass::Note
        } else {
            FindingClass::Blocking
        };
        let whose = match other {
            Some(other) => format!(
                ", of the app {} of the environment {}",
                other.app, other.environment
            ),
            None => holder
                .unit
                .as_ref()
                .map(|unit| format!(", {unit}"))
                .unwrap_or_default(),
        };
        let LiveProcess { id, program, .. } = holder;
        Ok(Taken {
            class,
            message: taken_by(asked, &format!("{program} (process {id}{whose})")),
            remedy: match (other, service(holder).filter(|_| self.is_main(holder))) {
                (Some(other), _) => format!(
                    "give one of both apps another port, or: rosey remove {} {}",
                    other.environment, other.app
                ),
                (None, Some(name)) => format!(
                    "sudo systemctl stop {name}   # or, if the gate is to ask that one, declare: service \"{name}\" external=#true"
                ),
                (None, None) => format!("sudo kill {id}   # after a look at it: ps -fp {id}"),
            },
        })
    }
}

/// The service that a process belongs to, by the name that a declaration gives it.
fn service(process: &LiveProcess) -> Option<&str> {
    process.unit.as_ref()?.strip_suffix(".service")
}

/// The gates that ask this host itself.
fn asked(gates: &Gates) -> impl Iterator<Item = Asked<'_>> {
    gates.gates.iter().filter_map(|gate| {
        let GateKind::Http(http) = &gate.kind else {
            return None;
        };
        let (server, port) = server_of(&http.url).ok()?;
        is_loopback(&server).then_some(Asked { gate, server, port })
    })
}

fn processes(listener: Listener) -> Vec<LiveProcess> {
    listener.processes
}

fn taken_by(asked: &Asked<'_>, who: &str) -> String {
    format!(
        "port {} is taken: {who} listens on it, where the gate {} is to find this app",
        asked.port, asked.gate.name
    )
}

/// Only root can see whose socket another user's is.
fn unknown(asked: &Asked<'_>) -> Taken {
    let port = asked.port;
    Taken {
        class: FindingClass::Note,
        message: taken_by(asked, "a process that can't be looked into"),
        remedy: format!("sudo ss -ltnp 'sport = :{port}'"),
    }
}

/// Which service a socket unit is for, its own file says: it may be this app's.
fn of_a_socket_unit(asked: &Asked<'_>) -> Taken {
    Taken {
        class: FindingClass::Note,
        message: taken_by(asked, "PID 1, for a socket unit,"),
        remedy: "systemctl list-sockets".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::host::{MemoryHost, ServiceAct, WriteHost};
    use crate::model::AppName;
    use crate::model::gate::HttpGate;

    const PORT: u16 = 8000;

    fn unit(name: &str) -> Unit {
        Unit {
            manager: Manager::Systemd,
            name: name.to_owned(),
        }
    }

    fn http(url: &str) -> Gates {
        let gate = HttpGate {
            url: url.to_owned(),
            status: 200,
            json: BTreeMap::new(),
            timeout: 1000,
            p95: None,
            error_rate: None,
        };
        Gates {
            gates: vec![Gate {
                name: format!("http {url}"),
                kind: GateKind::Http(gate),
            }],
            ..Gates::default()
        }
    }

    fn usual() -> Gates {
        http("http://127.0.0.1:8000/api/health")
    }

    fn process(id: u32, unit: Option<&str>) -> LiveProcess {
        LiveProcess {
            id,
            program: "python3".to_owned(),
            unit: unit.map(str::to_owned),
        }
    }

    /// A host on which a process listens.
    fn taken_on(processes: Vec<LiveProcess>) -> MemoryHost {
        let host = MemoryHost::new();
        let address = "0.0.0.0".parse().unwrap();
        host.put_listener(PORT, Listener { address, processes });
        host
    }

    /// The same, with the process being a service's.
    fn taken_by_service(name: &str) -> MemoryHost {
        let host = MemoryHost::new();
        let file = format!("/etc/systemd/system/{name}");
        host.put_file(file, "[Service]\nExecStart=/bin/true\n");
        for act in [ServiceAct::DaemonReload, ServiceAct::Start] {
            let timeout = std::time::Duration::from_secs(1);
            host.manage(&unit(name), &act, timeout).unwrap();
        }
        let id = host.running(&unit(name)).unwrap().process;
        let address = "0.0.0.0".parse().unwrap();
        let processes = vec![process(id, Some(name))];
        host.put_listener(PORT, Listener { address, processes });
        host
    }

    struct Case {
        gates: Gates,
        standing: Option<Gates>,
        own: Vec<Unit>,
        external: Vec<Unit>,
        runs: bool,
    }

    fn case() -> Case {
        Case {
            gates: usual(),
            standing: None,
            own: vec![unit("bot.service")],
            external: Vec::new(),
            runs: false,
        }
    }

    fn taken(host: &MemoryHost, case: &Case) -> Vec<Taken> {
        let ports = Ports {
            host,
            gates: &case.gates,
            standing: case.standing.as_ref(),
            own: &case.own,
            external: &case.external,
            runs: case.runs,
            environment: &EnvironmentName::new("prod").unwrap(),
            others: Vec::new(),
        };
        ports.taken().unwrap()
    }

    fn classes(host: &MemoryHost, case: &Case) -> Vec<FindingClass> {
        taken(host, case).iter().map(|it| it.class).collect()
    }

    #[test]
    fn a_port_that_somebody_else_has_is_in_the_way() {
        let host = taken_on(vec![process(42, None)]);
        insta::assert_debug_snapshot!(taken(&host, &case()), @r#"
        [
            Taken {
                class: Blocking,
                message: "port 8000 is taken: python3 (process 42) listens on it, where the gate http http://127.0.0.1:8000/api/health is to find this app",
                remedy: "sudo kill 42   # after a look at it: ps -fp 42",
            },
        ]
        "#);
        let host = taken_by_service("other.service");
        let found = taken(&host, &case()).remove(0);
        assert!(found.message.contains("other.service"), "{found:?}");
        insta::assert_snapshot!(found.remedy, @r#"sudo systemctl stop other   # or, if the gate is to ask that one, declare: service "other" external=#true"#);
    }

    #[test]
    fn nobody_is_in_the_way_of_what_is_its_own() {
        assert_eq!(taken(&MemoryHost::new(), &case()), []);
        assert_eq!(taken(&taken_by_service("bot.service"), &case()), []);
        let host = taken_by_service("old.service");
        let own = vec![unit("bot.service"), unit("old.service")];
        assert_eq!(taken(&host, &Case { own, ..case() }), []);
        let external = vec![unit("old.service")];
        assert_eq!(taken(&host, &Case { external, ..case() }), []);
    }

    #[test]
    fn only_a_gate_on_loopback_says_where_the_app_listens() {
        let host = taken_on(vec![process(42, None)]);
        for url in [
            "http://10.0.0.1:8000/",
            "http://example.org:8000/",
            "http://127.0.0.1:8001/",
        ] {
            let gates = http(url);
            assert_eq!(taken(&host, &Case { gates, ..case() }), [], "{url}");
        }
        let mut gates = usual();
        gates.gates[0].kind = GateKind::Tcp {
            address: "127.0.0.1:8000".to_owned(),
            timeout: 1000,
        };
        assert_eq!(taken(&host, &Case { gates, ..case() }), []);
    }

    #[test]
    fn who_answers_for_what_runs_goes_on_to() {
        let host = taken_on(vec![process(42, None)]);
        let stands = Case {
            standing: Some(usual()),
            runs: true,
            ..case()
        };
        assert_eq!(classes(&host, &stands), []);
        // Stopped, the app has lost its port to somebody.
        let stopped = Case {
            runs: false,
            ..stands
        };
        assert_eq!(classes(&host, &stopped), [FindingClass::Blocking]);
        let moved = Case {
            standing: Some(http("http://127.0.0.1:7000/")),
            runs: true,
            ..case()
        };
        assert_eq!(classes(&host, &moved), [FindingClass::Blocking]);
        let adopted = Case {
            runs: true,
            ..case()
        };
        assert_eq!(classes(&host, &adopted), [FindingClass::Note]);
    }

    #[test]
    fn what_cannot_be_known_is_only_told() {
        for processes in [Vec::new(), vec![process(INIT, Some("init.scope"))]] {
            let host = taken_on(processes);
            assert_eq!(classes(&host, &case()), [FindingClass::Note]);
        }
    }

    #[test]
    fn only_what_is_the_service_itself_is_ended_with_it() {
        // What was started by cron or over SSH is in their services, and a container's port is held in docker's.
        let host = taken_by_service("cron.service");
        let main = host.running(&unit("cron.service")).unwrap().process;
        let of_unit = |id| process(id, Some("cron.service"));
        let on_all = |processes| Listener {
            address: "0.0.0.0".parse().unwrap(),
            processes,
        };
        let host_of_child = MemoryHost::new();
        host_of_child.put_listener(PORT, on_all(vec![of_unit(main + 1)]));
        let found = taken(&host_of_child, &case()).remove(0);
        let id = main + 1;
        assert_eq!(
            found.remedy,
            format!("sudo kill {id}   # after a look at it: ps -fp {id}")
        );
        // A worker may have a lower number than the process that made it.
        host.put_listener(PORT, on_all(vec![of_unit(main - 1), of_unit(main)]));
        let found = taken(&host, &case()).remove(0);
        assert!(
            found.remedy.starts_with("sudo systemctl stop cron "),
            "{found:?}"
        );
    }

    #[test]
    fn what_may_answer_ipv6_only_is_only_told() {
        let on = |address: &str| {
            let host = MemoryHost::new();
            let address = address.parse().unwrap();
            let processes = vec![process(42, None)];
            host.put_listener(PORT, Listener { address, processes });
            host
        };
        let asking = |url: &str| Case {
            gates: http(url),
            ..case()
        };
        for (address, url, class) in [
            ("::", "http://127.0.0.1:8000/", FindingClass::Note),
            ("::", "http://[::1]:8000/", FindingClass::Blocking),
            ("0.0.0.0", "http://127.0.0.1:8000/", FindingClass::Blocking),
        ] {
            assert_eq!(
                classes(&on(address), &asking(url)),
                [class],
                "{address} {url}"
            );
        }
    }

    #[test]
    fn another_app_of_the_same_environment_may_be_what_is_asked() {
        let host = taken_by_service("api.service");
        let process = host.running(&unit("api.service")).unwrap().process;
        let case = case();
        for (environment, class) in [
            ("prod", FindingClass::Note),
            ("test", FindingClass::Blocking),
        ] {
            let claims = Claims {
                environment: EnvironmentName::new(environment).unwrap(),
                app: AppName::new("api").unwrap(),
                // Where the program of the service in memory lies.
                root: PathBuf::from("/bin"),
                paths: Vec::new(),
                units: Vec::new(),
            };
            assert!(host.processes_in(&claims.root).unwrap().contains(&process));
            let ports = Ports {
                host: &host,
                gates: &case.gates,
                standing: None,
                own: &case.own,
                external: &[],
                runs: false,
                environment: &EnvironmentName::new("prod").unwrap(),
                others: vec![&claims],
            };
            let found = ports.taken().unwrap().remove(0);
            assert_eq!(found.class, class);
            assert!(found.message.contains("app api"), "{found:?}");
        }
    }
}
