//! Where the bytes for a heal or a rollback come from: the host itself, another host of the app,
//! the controller's source where the digests agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::content::ManifestEntry;
use crate::fleet::declared::DeclaredContent;
use crate::fleet::prospect::Prospect;
use crate::fleet::run::Run;
use crate::fleet::supply::{Need, Supplies, supplies};
use crate::model::{Digest, Finding, FindingClass, Member};

use super::Session;
use super::deployment::{Deployment, asking};
use super::error::{CommandError, NEXT};
use super::exit::Exit;

/// Content for a way to an earlier state, and where each host gets what it lacks.
pub(super) struct Healing {
    content: Arc<DeclaredContent>,
    needs: BTreeMap<Member, Need>,
    supplies: Supplies,
}

impl Healing {
    /// Finds out where everything is that the plan needs.
    ///
    /// # Errors
    /// Exit code 10 when some bytes are nowhere, with the files that need them; 4 when a host is lost.
    pub async fn find(
        session: &Session,
        deployment: &Deployment,
        prospect: &Prospect,
    ) -> Result<Self, CommandError> {
        let (mut needs, mut unknown) = needs(deployment, prospect).await?;
        // A source that is gone or wrong has nothing, and is no error here. Reading it may take long.
        let mut declaration = None;
        if !unknown.is_empty() {
            declaration = deployment.declaration(session, None).await.ok();
            let declared = declaration.iter().flat_map(|it| &it.declared);
            for (member, declared) in declared {
                let (Some(need), Some(trees)) = (needs.get_mut(member), unknown.get_mut(member))
                else {
                    continue;
                };
                let known = declared.wanted.manifests.clone().into_iter();
                let known = known.filter(|(tree, _)| trees.remove(tree).is_some());
                need.manifests.extend(known);
            }
        }
        let supplies = supplies(&deployment.fleet, &needs)
            .await
            .map_err(|error| asking(&[error]))?;
        if declaration.is_none() && unknown.is_empty() && !supplies.nowhere.is_empty() {
            declaration = deployment.declaration(session, None).await.ok();
        }
        let none = || DeclaredContent {
            contents: BTreeMap::new(),
            made: BTreeMap::new(),
        };
        let content =
            declaration.map_or_else(|| Arc::new(none()), |declaration| declaration.content);
        let mut blocking = unknown_trees(&unknown);
        blocking.extend(supplies.findings(|member, digest| has(&content, member, digest)));
        let lines: Vec<_> = blocking
            .iter()
            .map(|finding| format!("{}: {}", finding.host, finding.message))
            .collect();
        if !lines.is_empty() {
            return Err(CommandError::new(Exit::BLOCKED, lines.join(NEXT))
                .hint("check out the source that was deployed, or apply what is declared now"));
        }
        Ok(Self {
            content,
            needs,
            supplies,
        })
    }

    /// The content from the controller, and in the run where the rest comes from.
    pub fn supply(self, run: &mut Run) -> Arc<DeclaredContent> {
        for (member, elsewhere) in self.supplies.elsewhere {
            if let Some(part) = run.parts.get_mut(&member) {
                part.elsewhere = elsewhere;
            }
        }
        for (member, need) in self.needs {
            if let Some(part) = run.parts.get_mut(&member) {
                part.manifests.extend(need.manifests);
            }
        }
        self.content
    }
}

/// Trees of which nobody has said what they consist of, each with what is made of it.
type Unknown = BTreeMap<Member, BTreeMap<String, String>>;

/// What each member's steps need: by convention the attributes `content` and `tree` of resources. Beside it the trees
/// that no host of the app knows.
async fn needs(
    deployment: &Deployment,
    prospect: &Prospect,
) -> Result<(BTreeMap<Member, Need>, Unknown), CommandError> {
    let mut trees = Unknown::new();
    let mut needs: BTreeMap<Member, Need> = BTreeMap::new();
    for step in &prospect.plan.steps {
        let member = Member::new(&step.resource.host, &step.resource.app);
        let Some(address) = deployment.addresses.get(&member) else {
            continue;
        };
        let need = needs.entry(member.clone()).or_insert_with(|| Need {
            address: address.clone(),
            manifests: BTreeMap::new(),
            contents: BTreeMap::new(),
        });
        let text = |name: &str| step.to.as_ref().and_then(|to| to.text(name));
        if let Some(digest) = text("content").and_then(|digest| digest.parse().ok()) {
            need.contents.insert(digest, step.resource.name.clone());
        }
        if let Some(tree) = text("tree") {
            let trees = trees.entry(member).or_default();
            trees.insert(tree.to_owned(), step.resource.name.clone());
        }
    }
    // The controller never saw these trees, or no longer has them: their host knows what they are, or, where they were
    // removed, another host of the app.
    let mut unknown = Unknown::new();
    for (member, mut trees) in trees {
        let Some(need) = needs.get_mut(&member) else {
            continue;
        };
        let own = std::iter::once(&member);
        let others = deployment.addresses.keys();
        let others = others.filter(|it| it.app == member.app && it.host != member.host);
        for asked in own.chain(others) {
            let (Some(connection), Some(address)) = (
                deployment.fleet.get(&asked.host),
                deployment.addresses.get(asked),
            ) else {
                continue;
            };
            if trees.is_empty() {
                break;
            }
            let wanted: BTreeSet<String> = trees.keys().cloned().collect();
            let manifests = connection.manifests(address.clone(), wanted).await;
            let manifests = manifests.map_err(|error| asking(&[error]))?;
            trees.retain(|tree, _| !manifests.contains_key(tree));
            need.manifests.extend(manifests);
        }
        if !trees.is_empty() {
            unknown.insert(member, trees);
        }
    }
    Ok((needs, unknown))
}

/// What is told of trees that nobody knows, the controller neither.
fn unknown_trees(unknown: &Unknown) -> Vec<Finding> {
    let all = unknown
        .iter()
        .flat_map(|(member, trees)| trees.iter().map(move |it| (member, it)));
    let finding = |(member, (_, name)): (&Member, (&String, &String))| Finding {
        class: FindingClass::Blocking,
        host: member.host.clone(),
        app: Some(member.app.clone()),
        message: format!(
            "the files of {name} are neither on this host nor on another one of {}, and the source here makes another release",
            member.app
        ),
        remedy: None,
    };
    all.map(finding).collect()
}

/// Whether the controller has some content.
fn has(content: &DeclaredContent, member: &Member, digest: &Digest) -> bool {
    let made = content
        .made
        .get(member)
        .is_some_and(|made| made.contains_key(digest));
    let tree = content
        .contents
        .get(&member.app)
        .map(|content| &content.tree.manifest);
    let digests: BTreeSet<_> = tree
        .into_iter()
        .flat_map(|tree| tree.entries.values())
        .filter_map(|entry| match entry {
            ManifestEntry::File { digest, .. } => Some(digest),
            _ => None,
        })
        .collect();
    made || digests.contains(digest)
}
