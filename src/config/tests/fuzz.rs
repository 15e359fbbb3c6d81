//! Whatever stands in the files: an environment or a report, never a panic.

use proptest::prelude::*;

use super::Project;

const SEED: &str = r##"
include "base.kdl"
vars { port 8000; list "a" "b"; map { x 1; y #"raw"#; }; }
assert "port > 1023" message="no"
secret "token" env="TOKEN"
host "web" address="web.example.org" port=22 { tags "a"; vars { shard 1; }; }
host "here" local=#true
app "bot" {
    on "a"
    root "/opt/{{ environment }}"
    source "." { exclude "*.pyc"; }
    keep releases=3
    toy "one" size=1 { says "{{ port }} {{ host.name }}"; }
    remove toy "two"
}
rollout { waves 1 "50%" "100%"; wave 1 bake="10m"; guard "60s"; }
drift { ignore "*.log"; }
notify { webhook "https://example.org/"; }
"##;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_declaration_gives_a_report(
        cuts in prop::collection::vec((0..SEED.len(), 0..12_usize, "[ \\n\"{};=#/*é\\\\a-c0-9-]{0,6}"), 1..5),
    ) {
        let mut text = SEED.as_bytes().to_vec();
        for (start, length, insert) in cuts {
            let start = start.min(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, insert.bytes());
        }
        let project = Project::new();
        project.write("environments/prod.kdl", &text);
        project.write("environments/base.kdl", "app \"bot\" { toy \"two\"; }\n");
        if let Err(errors) = project.load() {
            prop_assert!(errors.messages().count() > 0);
            project.show(&errors);
        }
    }

    #[test]
    fn any_bytes_give_a_report(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let project = Project::new();
        project.write("environments/prod.kdl", &bytes);
        if let Err(errors) = project.load() {
            project.show(&errors);
        }
    }
}
