//! The hosts of a command, reached and asked, and what is declared of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::config::{ConfigErrors, Environment, Host, SecretValue, Secrets};
use crate::fleet::ask::AskError;
use crate::fleet::compose;
use crate::fleet::connection::Pulse;
use crate::fleet::declared::{self, AppContent, Declared, DeclaredContent, Declaring};
use crate::fleet::pending::Pending;
use crate::fleet::prospect::{Look, Prospect, ProspectError, Sought, Survey, Wanted, survey_some};
use crate::fleet::reach::{ReachError, Reached, Reaching, connections, reach};
use crate::fleet::run::Fleet;
use crate::helper::protocol::{AppAddress, RefusalKind, SecretBytes};
use crate::model::{AppName, HostFacts, HostName, Masks, Member, State, Wave, few};
use crate::remote::{self, HelperSources, Helpers, PassphrasePrompt};
use crate::step::registry::registry;

use super::Session;
use super::arguments::Choice;
use super::conducting::hosts_of;
use super::error::{CommandError, NEXT};
use super::exit::Exit;
use super::project::Project;
use super::surroundings::Surroundings;
use super::unread::Unread;

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// The hosts of a command, and the apps on them.
pub(super) struct Deployment {
    /// The environment.
    pub project: Project,
    /// The chosen apps on the chosen hosts.
    pub addresses: BTreeMap<Member, AppAddress>,
    /// The connections.
    pub fleet: Fleet,
    /// What the hosts say of themselves.
    pub facts: BTreeMap<HostName, HostFacts>,
    /// The wave of each host.
    pub waves: BTreeMap<HostName, Wave>,
    /// What is waited for of them.
    pub pending: Pending,
}

/// What is declared of every member, with what the hosts know of them.
pub(super) struct Declaration {
    /// What the hosts know.
    pub survey: Survey,
    /// What is declared.
    pub declared: BTreeMap<Member, Declared>,
    /// The content that it brings.
    pub content: Arc<DeclaredContent>,
    /// The commit of the sources, where they agree on one.
    pub commit: Option<String>,
}

/// The hosts and apps that a command is about.
pub(super) struct Chosen {
    /// The hosts, in the order of the declaration.
    pub hosts: Vec<Host>,
    /// The apps on them.
    pub addresses: BTreeMap<Member, AppAddress>,
}

/// Chooses hosts by `--only` and `--except`, whatever is declared on them.
///
/// # Errors
/// Exit code 1 when a name is unknown or nothing is left.
pub(super) fn choose_hosts(project: &Project, choice: &Choice) -> Result<Vec<Host>, CommandError> {
    let environment = &project.environment;
    let wrong = |words: String| CommandError::new(Exit::ERROR, words);
    let known = |word: &String| {
        let named = |host: &Host| host.name.as_str() == word || tagged(host, word);
        environment.hosts.iter().any(named)
    };
    if let Some(word) = choice
        .only
        .iter()
        .chain(&choice.except)
        .find(|word| !known(word))
    {
        let names: Vec<_> = environment
            .hosts
            .iter()
            .map(|host| host.name.to_string())
            .collect();
        let message = format!("{} has no host or tag {word:?}", environment.name);
        return Err(wrong(message).hint(format!("its hosts are: {}", names.join(", "))));
    }
    let fits = |host: &Host, words: &[String]| {
        words
            .iter()
            .any(|word| host.name.as_str() == word || tagged(host, word))
    };
    let is_chosen = |host: &&Host| {
        (choice.only.is_empty() || fits(host, &choice.only)) && !fits(host, &choice.except)
    };
    let hosts: Vec<_> = environment
        .hosts
        .iter()
        .filter(is_chosen)
        .cloned()
        .collect();
    if hosts.is_empty() {
        return Err(nothing_left(environment));
    }
    Ok(hosts)
}

fn nothing_left(environment: &Environment) -> CommandError {
    let words = format!("no host of {} is left to do anything on", environment.name);
    CommandError::new(Exit::ERROR, words)
}

/// Chooses by `--only`, `--except` and the name of an app.
///
/// # Errors
/// Exit code 1 when a name is unknown or nothing is left.
pub(super) fn choose(
    project: &Project,
    choice: &Choice,
    app: Option<&str>,
) -> Result<Chosen, CommandError> {
    let environment = &project.environment;
    let chosen = choose_hosts(project, choice)?;
    if let Some(app) = app
        && !environment.apps.iter().any(|it| it.name.as_str() == app)
    {
        let names: Vec<_> = environment
            .apps
            .iter()
            .map(|app| app.name.to_string())
            .collect();
        let message = format!("{} has no app {app:?}", environment.name);
        return Err(CommandError::new(Exit::ERROR, message)
            .hint(format!("its apps are: {}", names.join(", "))));
    }
    let mut hosts = Vec::new();
    let mut addresses = BTreeMap::new();
    for host in &chosen {
        let apps = environment.apps.iter().filter(|it| {
            it.hosts.contains(&host.name) && app.is_none_or(|app| it.name.as_str() == app)
        });
        let apps: Vec<_> = apps.collect();
        if apps.is_empty() {
            continue;
        }
        for app in apps {
            let address = declared::address(environment, app, host);
            addresses.insert(Member::new(&host.name, &app.name), address);
        }
        hosts.push(host.clone());
    }
    if hosts.is_empty() {
        return Err(nothing_left(environment));
    }
    Ok(Chosen { hosts, addresses })
}

/// The secrets that are in what is made for a host.
fn values_in(secrets: &Secrets, made: &BTreeMap<String, SecretBytes>) -> Vec<SecretBytes> {
    // In an environment file some characters have a backslash before them.
    let plain = |text: &str| Zeroizing::new(text.replace('\\', ""));
    let made = made.values();
    let made: Vec<_> = made
        .map(|it| plain(&String::from_utf8_lossy(&it.0)))
        .collect();
    let is_in = |value: &&str| {
        let masks: Masks = [plain(value)].iter().map(|it| it.as_str()).collect();
        made.iter().any(|made| masks.are_in(made))
    };
    let values = secrets.values().map(SecretValue::expose).filter(is_in);
    values.map(SecretBytes::from).collect()
}

fn tagged(host: &Host, word: &str) -> bool {
    host.tags.iter().any(|tag| tag.as_str() == word)
}

/// Reaches hosts; says who is there, and why the others aren't.
pub(super) async fn who_is_there(
    reaching: &Arc<Reaching>,
    hosts: &[Host],
) -> (BTreeMap<HostName, Reached>, Vec<(HostName, ReachError)>) {
    let _phase = reaching.pending.phase();
    let mut there = BTreeMap::new();
    let mut missing = Vec::new();
    for (host, result) in reach(reaching, hosts).await {
        match result {
            Ok(reached) => drop(there.insert(host, reached)),
            Err(error) => missing.push((host, error)),
        }
    }
    (there, missing)
}

/// What reaching hosts needs, from what surrounds the program.
///
/// # Errors
/// Exit code 1 when our own program can't be found.
pub(super) fn reaching(
    session: &Session,
    project: &Project,
) -> Result<Arc<Reaching>, CommandError> {
    let around = &session.around;
    let program = std::env::current_exe().map_err(|error| {
        CommandError::new(
            Exit::ERROR,
            format!("the path of rosey itself is unknown: {error}"),
        )
    })?;
    let mut ssh = remote::Surroundings::new(&around.home, &around.user);
    ssh.agent_socket = around.agent.clone();
    ssh.ssh_program = Some(PathBuf::from("ssh"));
    if around.person {
        ssh.prompt = Some(Arc::new(TerminalPrompt(session.pending.clone())));
    }
    let sources = HelperSources {
        own: program.clone(),
        other: around.helper.clone(),
        cache: Some(project.state(around).join("cache")),
    };
    Ok(Arc::new(Reaching {
        helpers: Helpers::new(sources),
        program,
        around: ssh,
        patience: PATIENCE,
        withheld: project.secret_variables(),
        pulse: Pulse::for_guard(project.environment.rollout.guard),
        pending: session.pending.clone(),
    }))
}

impl Deployment {
    /// Reaches every chosen host.
    ///
    /// # Errors
    /// Exit code 4 with all hosts that aren't there.
    pub async fn reach(
        session: &Session,
        project: Project,
        choice: &Choice,
        app: Option<&str>,
    ) -> Result<Self, CommandError> {
        let (deployment, missing) = Self::reach_some(session, project, choice, app).await?;
        if missing.is_empty() {
            Ok(deployment)
        } else {
            Err(deployment.lacking(&missing).await)
        }
    }

    /// Why hosts are out of reach, with what is known of the others.
    pub async fn lacking(&self, missing: &[(HostName, ReachError)]) -> CommandError {
        let (survey, errors) = self.survey_some(BTreeMap::new()).await;
        let error = unreachable_hosts(missing).knowing(hosts_of(&survey, None));
        let others = errors.iter().map(ToString::to_string);
        others.fold(error, CommandError::hint)
    }

    /// Reaches the chosen hosts that are there, and says which aren't.
    ///
    /// # Errors
    /// Exit code 1 when nothing is chosen.
    pub async fn reach_some(
        session: &Session,
        project: Project,
        choice: &Choice,
        app: Option<&str>,
    ) -> Result<(Self, Vec<(HostName, ReachError)>), CommandError> {
        let mut chosen = choose(&project, choice, app)?;
        let reaching = reaching(session, &project)?;
        let (reached, missing) = who_is_there(&reaching, &chosen.hosts).await;
        chosen
            .addresses
            .retain(|member, _| reached.contains_key(&member.host));
        Ok((Self::with(session, project, chosen, &reached), missing))
    }

    /// The same with hosts that were reached already.
    pub fn with(
        session: &Session,
        project: Project,
        chosen: Chosen,
        reached: &BTreeMap<HostName, Reached>,
    ) -> Self {
        let hosts: Vec<HostName> = chosen.hosts.iter().map(|host| host.name.clone()).collect();
        let waves = compose::waves(&project.environment.rollout, &hosts);
        let facts = reached
            .iter()
            .map(|(host, it)| (host.clone(), it.facts.clone()))
            .collect();
        let fleet = connections(reached);
        Self {
            project,
            addresses: chosen.addresses,
            fleet,
            facts,
            waves,
            pending: session.pending.clone(),
        }
    }

    /// What the hosts know of the apps.
    ///
    /// # Errors
    /// Exit code 4 when a host refuses or is lost.
    pub async fn survey(
        &self,
        seal: BTreeMap<HostName, BTreeMap<String, SecretBytes>>,
    ) -> Result<Survey, CommandError> {
        let (survey, errors) = self.survey_some(seal).await;
        if errors.is_empty() {
            Ok(survey)
        } else {
            Err(asking(&errors).knowing(hosts_of(&survey, None)))
        }
    }

    /// The same of the hosts that answer, and why the others don't.
    pub async fn survey_some(
        &self,
        seal: BTreeMap<HostName, BTreeMap<String, SecretBytes>>,
    ) -> (Survey, Vec<AskError>) {
        let _phase = self.pending.phase();
        survey_some(&self.fleet, &self.addresses, seal).await
    }

    /// What is declared of every member, rendered with what the hosts know.
    ///
    /// # Errors
    /// Exit code 3 when the declaration is wrong, 9 when the version is another, 4 when a host is lost.
    pub async fn declaration(
        &self,
        session: &Session,
        version: Option<&str>,
    ) -> Result<Declaration, CommandError> {
        self.declaration_with(session, version, Project::secrets)
            .await
    }

    /// The same with words in the place of the values of secrets: for finding out what else is missing where these are.
    pub async fn declaration_without_secrets(
        &self,
        session: &Session,
    ) -> Result<Declaration, CommandError> {
        let placeholders = |project: &Project, _: &Surroundings| {
            let secrets = Secrets::placeholders(&project.environment.secrets);
            Ok(Arc::new(secrets))
        };
        self.declaration_with(session, None, placeholders).await
    }

    async fn declaration_with(
        &self,
        session: &Session,
        version: Option<&str>,
        secrets: impl FnOnce(&Project, &Surroundings) -> Result<Arc<Secrets>, CommandError>
        + Send
        + 'static,
    ) -> Result<Declaration, CommandError> {
        let apps: BTreeSet<AppName> = self
            .addresses
            .keys()
            .map(|member| member.app.clone())
            .collect();
        let apps: Vec<AppName> = apps.into_iter().collect();
        let (project, around) = (self.project.clone(), session.around.clone());
        let version = version.map(ToOwned::to_owned);
        let names = few(apps.iter().map(ToString::to_string));
        let pending = session.pending.clone();
        // Builds and large trees take their time: on a thread of their own, so that a signal is heard meanwhile.
        let read = tokio::task::spawn_blocking(move || {
            // A command that gives a secret may ask a person.
            let secrets = secrets(&project, &around)?;
            let _phase = pending.phase();
            let _reading = pending.begin("reading the source of", names);
            let sources = project.sources(&around, &apps, version.as_deref(), &secrets.masks())?;
            Ok::<_, CommandError>((sources, secrets))
        });
        let (sources, secrets) = match read.await {
            Ok(read) => read?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        let commits: BTreeSet<_> = sources
            .values()
            .filter_map(|it| it.commit.clone())
            .collect();
        let commit = commits.into_iter().next();
        let contents: BTreeMap<AppName, AppContent> = sources
            .iter()
            .map(|(app, source)| {
                let tree = Arc::new(source.tree.clone());
                (
                    app.clone(),
                    AppContent {
                        tree,
                        version: source.version.clone(),
                    },
                )
            })
            .collect();
        let declaring = Declaring {
            environment: &self.project.environment,
            contents: &contents,
            secrets: &secrets,
            kinds: registry(),
        };
        let seal = declaring
            .secret_bytes(&self.addresses)
            .map_err(wrong_declaration)?;
        // A host hears only of values that are in what is made for it.
        let values = seal
            .iter()
            .map(|(host, made)| (host.clone(), values_in(&secrets, made)));
        let values: BTreeMap<_, _> = values.collect();
        let survey = self.survey(seal).await?;
        self.conceal(values, &survey).await?;
        let declared = declaring
            .of(&survey, &self.facts)
            .map_err(|errors| wrong_declaration(errors).knowing(hosts_of(&survey, None)))?;
        let made = declared
            .iter()
            .map(|(member, it)| (member.clone(), it.made.clone()))
            .collect();
        let content = Arc::new(DeclaredContent { contents, made });
        Ok(Declaration {
            survey,
            declared,
            content,
            commit,
        })
    }

    /// Tells hosts what nothing that they say may hold.
    async fn conceal(
        &self,
        values: BTreeMap<HostName, Vec<SecretBytes>>,
        survey: &Survey,
    ) -> Result<(), CommandError> {
        let mut errors = Vec::new();
        for (host, values) in values {
            let Some(connection) = self.fleet.get(&host) else {
                continue;
            };
            let sealed = survey.sealed.get(&host).into_iter().flatten();
            let files = sealed.map(|(_, digest)| *digest).collect();
            errors.extend(connection.conceal(values, files).await.err());
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(asking(&errors).knowing(hosts_of(survey, None)))
        }
    }

    /// The prospect of going to what is wanted. Beside what is sought, what hosts that weren't chosen have of
    /// what is done once for all.
    ///
    /// # Errors
    /// Exit code 4 when a host is lost, 3 when what is wanted contradicts itself.
    pub async fn prospect(
        &self,
        survey: &Survey,
        wanted: BTreeMap<Member, Wanted>,
        (findings, elsewhere): (Sought, &State),
    ) -> Result<Prospect, CommandError> {
        let prospect = self
            .try_prospect(survey, wanted, (findings, elsewhere))
            .await;
        prospect.map_err(|error| {
            let error = match error {
                ProspectError::Hosts(errors) => asking(&errors),
                ProspectError::Plan(error) => CommandError::new(Exit::DECLARATION, error),
            };
            error.knowing(hosts_of(survey, None))
        })
    }

    async fn try_prospect(
        &self,
        survey: &Survey,
        wanted: BTreeMap<Member, Wanted>,
        (findings, elsewhere): (Sought, &State),
    ) -> Result<Prospect, ProspectError> {
        let look = Look {
            fleet: &self.fleet,
            addresses: &self.addresses,
            survey,
            waves: &self.waves,
            kinds: registry(),
            findings,
            elsewhere,
        };
        let _phase = self.pending.phase();
        Prospect::of(&look, wanted).await
    }

    /// What the hosts know, and how what is wanted of that compares with what is there; of the hosts that
    /// answer, with why the others don't. Those are left out from then on.
    ///
    /// # Errors
    /// Exit code 3 when what is wanted contradicts itself.
    pub async fn prospect_some(
        &mut self,
        wanted: impl Fn(&Survey) -> BTreeMap<Member, Wanted>,
        findings: Sought,
    ) -> Result<(Survey, Prospect, Vec<AskError>), CommandError> {
        let none = State::default();
        let (mut survey, mut unread) = self.survey_some(BTreeMap::new()).await;
        loop {
            self.leave_out(&mut survey, &unread);
            let wanted = wanted(&survey);
            match self.try_prospect(&survey, wanted, (findings, &none)).await {
                Ok(prospect) => return Ok((survey, prospect, unread)),
                Err(ProspectError::Hosts(lost)) => unread.extend(lost),
                Err(ProspectError::Plan(error)) => {
                    return Err(CommandError::new(Exit::DECLARATION, error));
                }
            }
        }
    }

    /// Reaches the chosen hosts and asks what they know of the apps; those that can't be read are left out.
    ///
    /// # Errors
    /// Exit code 1 when nothing is chosen.
    pub async fn read_some(
        session: &Session,
        project: Project,
        choice: &Choice,
        app: Option<&str>,
    ) -> Result<(Self, Survey, Unread), CommandError> {
        let (mut deployment, missing) = Self::reach_some(session, project, choice, app).await?;
        let mut unread = Unread::missing(&missing);
        let survey = deployment.survey_rest(&mut unread).await;
        Ok((deployment, survey, unread))
    }

    /// What the hosts know that can still be read; the others are left out from then on.
    pub async fn survey_rest(&mut self, unread: &mut Unread) -> Survey {
        let (mut survey, lost) = self.survey_some(BTreeMap::new()).await;
        self.leave_out(&mut survey, &lost);
        unread.add(&lost);
        survey
    }

    fn leave_out(&mut self, survey: &mut Survey, unread: &[AskError]) {
        for error in unread {
            let host = error.host();
            self.fleet.remove(host);
            self.addresses.retain(|member, _| member.host != *host);
            survey.members.retain(|member, _| member.host != *host);
            survey.registry.remove(host);
        }
    }
}

/// All hosts that aren't there, each with what to do.
pub(super) fn unreachable_hosts(errors: &[(HostName, ReachError)]) -> CommandError {
    let words: Vec<_> = errors
        .iter()
        .map(|(host, error)| format!("{host}: {error}"))
        .collect();
    CommandError::new(Exit::UNREACHABLE, words.join(NEXT))
}

/// Hosts that refuse or are lost.
pub(super) fn asking(errors: &[AskError]) -> CommandError {
    let exit = match errors.iter().find_map(AskError::refusal) {
        Some(RefusalKind::NotLocked) => Exit::LOCKED,
        Some(RefusalKind::Stale) => Exit::STALE,
        Some(RefusalKind::Owned | RefusalKind::Host | RefusalKind::ForNow) => Exit::BLOCKED,
        Some(RefusalKind::Internal) => Exit::ERROR,
        _ => Exit::UNREACHABLE,
    };
    let words: Vec<_> = errors.iter().map(ToString::to_string).collect();
    let unread = errors.iter().filter(|_| exit == Exit::UNREACHABLE);
    let unread = unread.map(|error| (error.host().clone(), error.to_string()));
    CommandError::new(exit, words.join(NEXT)).lacking(unread)
}

fn wrong_declaration(errors: Vec<ConfigErrors>) -> CommandError {
    CommandError::all_places(Exit::DECLARATION, errors)
}

/// Asks on the terminal, where nothing is shown meanwhile.
pub(super) struct TerminalPrompt(pub Pending);

impl PassphrasePrompt for TerminalPrompt {
    fn passphrase(&self, key: &Path, attempt: u32) -> Option<Zeroizing<String>> {
        let _hidden = self.0.hide();
        let again = if attempt > 1 { "That was not it. " } else { "" };
        let prompt = format!("{again}Passphrase of {}", key.display());
        dialoguer::Password::new()
            .with_prompt(prompt)
            .interact()
            .ok()
            .map(Zeroizing::new)
    }
}

#[cfg(test)]
impl Deployment {
    /// Hosts of a lab as a deployment, and the directory of its declaration.
    pub fn of(lab: &crate::fleet::testing::Lab) -> (tempfile::TempDir, Self) {
        use crate::fleet::testing::{address, member};
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("prod.kdl");
        std::fs::write(&path, "host \"a\" local=#true\n").unwrap();
        let environment = crate::config::load(&path, &crate::step::words::words()).unwrap();
        let project = Project {
            directory: directory.path().to_owned(),
            environment,
        };
        let hosts = lab.fleet.keys().map(HostName::as_str);
        let deployment = Self {
            project,
            addresses: hosts.map(|host| (member(host), address(host))).collect(),
            fleet: lab.fleet.clone(),
            facts: BTreeMap::new(),
            waves: BTreeMap::new(),
            pending: Pending::default(),
        };
        (directory, deployment)
    }
}
