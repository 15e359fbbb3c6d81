//! What only shows when the whole environment is seen: asserts, names in
//! templates, and two apps that take the same thing.
//!
//! Must not know any step kind: it sees claims and templates, not what they are for.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::names::HostName;

use super::app::{App, Manager};
use super::environment::{Beside, Environment};
use super::place::Place;
use super::problem::Problem;
use super::secret::Secrets;
use super::template::{Scope, TemplateError};
use super::word::{Claimed, Text};

/// Everything that is wrong with the environment as a whole.
pub(crate) fn check(environment: &Environment, beside: &Beside) -> Vec<Problem> {
    let mut problems = Vec::new();
    names(environment, &mut problems);
    machines(environment, &mut problems);
    roots(environment, &mut problems);
    claims(environment, &mut problems);
    references(environment, beside, &mut problems);
    templates(environment, beside, &mut problems);
    problems
}

fn names(environment: &Environment, problems: &mut Vec<Problem>) {
    for host in &environment.hosts {
        let tagged = environment.hosts.iter().find(|other| {
            other
                .tags
                .iter()
                .any(|tag| tag.as_str() == host.name.as_str())
        });
        if let Some(other) = tagged.filter(|other| other.name != host.name) {
            problems.push(
                Problem::new(format!(
                    "`{}` is the name of a host and a tag of another",
                    host.name
                ))
                .at(host.place, "the name")
                .at(other.place, "has it as a tag")
                .help("`on` couldn't tell which one is meant"),
            );
        }
    }
    for app in environment
        .apps
        .iter()
        .filter(|app| app.hosts.is_empty() && environment.hosts.is_empty())
    {
        let problem = Problem::new(format!("the app `{}` has no host to go to", app.name))
            .at(app.place, "no host is declared");
        problems.push(problem.help("such as `host \"here\" local=#true`"));
    }
}

/// What the environment asserts of its own values, and what doesn't hold.
pub(crate) fn asserts(environment: &Environment) -> Vec<Problem> {
    let mut problems = Vec::new();
    for assert in &environment.asserts {
        let base = Scope::new(environment.name.clone(), environment.variables.clone());
        let hosts = environment.hosts.iter();
        let scopes: Vec<(Option<&HostName>, Scope)> = hosts
            .map(|host| {
                let scope = base.clone().on_host(
                    host.name.clone(),
                    host.address().to_owned(),
                    &host.variables,
                );
                (Some(&host.name), scope)
            })
            .collect();
        let scopes = if scopes.is_empty() {
            vec![(None, base)]
        } else {
            scopes
        };
        let mut failed = Vec::new();
        for (host, scope) in &scopes {
            match scope.holds(&assert.expression) {
                Ok(true) => {}
                Ok(false) => failed.extend(host.map(ToString::to_string)),
                Err(error) => {
                    problems.push(error.into_problem(assert.place));
                    break;
                }
            }
        }
        if failed.is_empty() {
            continue;
        }
        let message = assert
            .message
            .clone()
            .unwrap_or_else(|| format!("`{}` doesn't hold", assert.expression));
        let label = if failed.len() == scopes.len() {
            "doesn't hold".to_owned()
        } else {
            format!("doesn't hold on {}", failed.join(", "))
        };
        problems.push(Problem::new(message).at(assert.place, label));
    }
    problems
}

/// An app on two hosts that are one machine would be there twice, at one root.
fn machines(environment: &Environment, problems: &mut Vec<Problem>) {
    for app in &environment.apps {
        let local = environment.hosts.iter().filter(|host| host.is_local());
        let mut local = local.filter(|host| app.hosts.contains(&host.name));
        let first = local.next();
        // One that is declared twice was said already.
        let second = local.find(|host| first.is_some_and(|first| first.name != host.name));
        if let (Some(first), Some(second)) = (first, second) {
            let problem = Problem::new(format!(
                "the app `{}` goes to this machine twice: as `{}` and as `{}`",
                app.name, first.name, second.name
            ));
            problems.push(
                problem
                    .at(second.place, "this machine too")
                    .at(first.place, "this machine")
                    .help("declare one of both, or say with `on` to which one the app goes"),
            );
        }
    }
}

/// Pairs of apps with a machine in common, by the name of the first's host, each pair once.
fn pairs(environment: &Environment) -> impl Iterator<Item = (&App, &App, &HostName)> {
    environment
        .apps
        .iter()
        .enumerate()
        .flat_map(move |(index, first)| {
            environment.apps[index + 1..]
                .iter()
                .filter_map(move |second| {
                    if first.name == second.name {
                        // Said already, and everything that follows from it would only hide that.
                        return None;
                    }
                    let common = first
                        .hosts
                        .iter()
                        .find(|host| second.hosts.iter().any(|it| is_one(environment, host, it)))?;
                    Some((first, second, common))
                })
        })
}

/// Whether two hosts are one machine, as far as the declaration tells.
fn is_one(environment: &Environment, one: &HostName, other: &HostName) -> bool {
    let is_local = |name: &HostName| {
        let mut hosts = environment.hosts.iter();
        hosts.any(|host| host.name == *name && host.is_local())
    };
    one == other || is_local(one) && is_local(other)
}

fn roots(environment: &Environment, problems: &mut Vec<Problem>) {
    for (first, second, host) in pairs(environment) {
        if first.root.is_within(&second.root) || second.root.is_within(&first.root) {
            let what = if first.root == second.root {
                format!(
                    "the apps `{}` and `{}` have one root on {host}",
                    first.name, second.name
                )
            } else {
                format!(
                    "the root of one of `{}` and `{}` is inside the other's on {host}",
                    first.name, second.name
                )
            };
            problems.push(
                Problem::new(what)
                    .at(second.root_place, "taken already")
                    .at(first.root_place, "by this one")
                    .help("give each app a directory of its own"),
            );
        }
    }
}

fn claims(environment: &Environment, problems: &mut Vec<Problem>) {
    for app in &environment.apps {
        let mut own: BTreeMap<&Claimed, Place> = BTreeMap::new();
        for (what, place) in all_claims(app) {
            if let Some(first) = own.get(what) {
                problems.push(twice(
                    what,
                    place,
                    *first,
                    &format!("in the app `{}`", app.name),
                ));
            } else {
                own.insert(what, place);
            }
        }
    }
    for (first, second, host) in pairs(environment) {
        let both_own = [first, second]
            .iter()
            .all(|app| app.manager == Some(Manager::Process));
        let taken: BTreeMap<&Claimed, Place> = all_claims(first).collect();
        for (what, place) in all_claims(second) {
            // What is inside an app's root is its own, and without systemd so are its services.
            let private = match what {
                Claimed::Inside(_) => true,
                Claimed::Unit(_) => both_own,
                Claimed::Path(_) => false,
            };
            if let Some(other) = taken.get(what).filter(|_| !private) {
                problems.push(twice(what, place, *other, &format!("on {host}")));
            }
        }
    }
    for app in &environment.apps {
        for (what, place) in all_claims(app) {
            let Claimed::Path(path) = what else { continue };
            let owner = environment.apps.iter().find(|other| {
                path.is_within(&other.root)
                    && other.hosts.iter().any(|host| app.hosts.contains(host))
            });
            if let Some(owner) = owner {
                let problem = Problem::new(format!(
                    "{path} is inside the root of the app `{}`",
                    owner.name
                ));
                let problem = problem.at(place, "a `file` is outside of every root");
                problems.push(problem.help("`render` or `shared` put files into a release"));
            }
        }
    }
}

fn all_claims(app: &App) -> impl Iterator<Item = (&Claimed, Place)> {
    app.declarations.iter().flat_map(|declaration| {
        declaration
            .claims
            .iter()
            .map(|claim| (&claim.what, claim.place))
    })
}

fn twice(what: &Claimed, place: Place, first: Place, whereabouts: &str) -> Problem {
    let what = match what {
        Claimed::Unit(unit) => format!("the unit {unit}"),
        Claimed::Path(path) => path.to_string(),
        Claimed::Inside(path) => format!("{path} of the release"),
    };
    Problem::new(format!("{what} is declared twice {whereabouts}"))
        .at(place, "again here")
        .at(first, "first here")
}

fn references(environment: &Environment, beside: &Beside, problems: &mut Vec<Problem>) {
    for app in &environment.apps {
        let named = |word: &str| -> Vec<&str> {
            let declared = app
                .declarations
                .iter()
                .filter(|declaration| declaration.word == word);
            declared
                .filter_map(|declaration| declaration.name.as_deref())
                .collect()
        };
        for reference in app
            .declarations
            .iter()
            .flat_map(|declaration| &declaration.references)
        {
            let known = named(&reference.word);
            // `web.service` is no name of a service, and yet `web` is meant.
            let is_spoiled = beside.spoiled.iter().any(|(name, (word, written))| {
                *name == app.name && *word == reference.word && written.starts_with(&reference.name)
            });
            if known.contains(&reference.name.as_str()) || is_spoiled {
                continue;
            }
            let (word, name) = (&reference.word, &reference.name);
            let problem = Problem::new(format!("the app `{}` has no {word} `{name}`", app.name))
                .at(reference.place, "not declared");
            problems.push(match known.is_empty() {
                true => problem.help(format!("declare it: `{word} \"{name}\" {{ … }}`")),
                false => problem.help_nearest(name, known),
            });
        }
    }
}

fn templates(environment: &Environment, beside: &Beside, problems: &mut Vec<Problem>) {
    let secrets = Arc::new(Secrets::placeholders(&environment.secrets));
    let base = Scope::new(environment.name.clone(), environment.variables.clone())
        .with_secrets(Arc::clone(&secrets));
    for text in &beside.texts {
        problems.extend(wrong(text, &base));
    }
    for app in &environment.apps {
        let texts: Vec<&Text> = app
            .declarations
            .iter()
            .flat_map(|declaration| &declaration.texts)
            .collect();
        for text in texts.iter().filter(|text| !text.template.is_empty()) {
            let mut scopes = scopes(environment, app, &secrets);
            problems.extend(scopes.find_map(|scope| wrong(text, &scope)));
        }
    }
}

/// What templates of the app may name, host by host, with stand-ins for what is known later.
pub(crate) fn scopes<'a>(
    environment: &'a Environment,
    app: &'a App,
    secrets: &'a Arc<Secrets>,
) -> impl Iterator<Item = Scope> + 'a {
    let hosts = app.hosts.iter().filter_map(|name| environment.host(name));
    hosts.map(|host| {
        environment
            .scope(&app.name, host)
            .with_version("0.0.0")
            .with_secrets(Arc::clone(secrets))
    })
}

fn wrong(text: &Text, scope: &Scope) -> Option<Problem> {
    let leaked = if text.secrets {
        None
    } else {
        scope.names_secret(&text.template)
    };
    let error = leaked.or_else(|| scope.misnames(&text.template));
    error.map(|error: TemplateError| error.into_problem(text.place))
}
