//! A new kind is one new file and one line: a program with a further kind is built that way, and has all that a kind has.

/// Compiles the program once more, which takes a while.
mod all {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use serde_json::{Value, json};

    use crate::support::{Project, Ran, checkout, copy_tree};

    const NOTE: &str = include_str!("note.rs.txt");

    const ENVIRONMENT: &str = r#"
host "here" local=#true
app "diary" {
    root "../live"
    source "../app"
    manager "process"
    version "1"
    note "today" text="rain on {{ host.name }}"
    // more
}
"#;

    /// Where the test's own build of the program is put together: always the same place, so that cargo builds only what
    /// has changed.
    fn workshop() -> PathBuf {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("toy")
    }

    /// Puts `line` before the first line that has `mark` in it.
    fn add_line(path: &Path, mark: &str, line: &str) {
        let text = std::fs::read_to_string(path).expect("a source can be read");
        let at = text.find(mark).expect("the mark is there");
        let at = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let text = format!("{}{line}\n{}", &text[..at], &text[at..]);
        std::fs::write(path, text).expect("a copied source can be written");
    }

    /// The program with a kind more. It has another package's name, so that it never takes the place of the real one.
    fn build() -> PathBuf {
        let workshop = workshop();
        if workshop.exists() {
            std::fs::remove_dir_all(&workshop).expect("the workshop is this test's");
        }
        std::fs::create_dir_all(&workshop).expect("a target directory is writable");
        copy_tree(&checkout().join("src"), &workshop.join("src"));
        for file in ["Cargo.toml", "Cargo.lock"] {
            let text = std::fs::read_to_string(checkout().join(file)).expect("it is there");
            let text = text.replacen("name = \"rosey\"", "name = \"rosey-with-notes\"", 1);
            let library = "[lib]\nname = \"rosey\"\n\n[workspace]\n\n[dependencies]\n";
            let text = text.replacen("[dependencies]\n", library, 1);
            // Nobody reads a backtrace of it. The dependencies have none either, so they are not built again for this.
            let text = text.replacen("debug = \"line-tables-only\"", "debug = false", 1);
            std::fs::write(workshop.join(file), text).expect("the workshop is writable");
        }

        // The new kind: its file, which has to be declared, and its line.
        let step = workshop.join("src/step");
        std::fs::write(step.join("note.rs"), NOTE).expect("a new source can be written");
        add_line(&step.join("mod.rs"), "pub mod registry;", "pub mod note;");
        add_line(
            &step.join("registry.rs"),
            "&Release,",
            "        &super::note::Note,",
        );

        // What the tests depend on turns features on in what the program depends on. An example has the same
        // dependencies as a test, so with it nothing is built again that this test itself was built with.
        let example = workshop.join("examples/same.rs");
        std::fs::create_dir(workshop.join("examples")).expect("the workshop is writable");
        std::fs::write(example, "fn main() {}\n").expect("the workshop is writable");

        // Cargo's configuration, and with it how the dependencies were built, is that of the checkout.
        let program = Path::new(env!("CARGO_BIN_EXE_rosey"));
        let profile = program
            .parent()
            .expect("a program lies in its profile's directory");
        let target = profile
            .ancestors()
            .nth(2)
            .expect("and that in a target directory");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(checkout()).args([
            "build",
            "--offline",
            "--bins",
            "--example",
            "same",
            "--manifest-path",
        ]);
        // What cargo tells a test of its package would make ring's build script, which asks for it, run again, and
        // with it whatever uses ring; and once more in the next build after this one.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(&name);
            }
        }
        cargo
            .arg(workshop.join("Cargo.toml"))
            .env("CARGO_TARGET_DIR", target);
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        let output = cargo.output().expect("cargo starts");
        Ran::new("cargo build".to_owned(), &output).exits(0);
        profile.join("rosey-with-notes")
    }

    /// Somebody with the program that knows notes.
    struct Diary {
        program: PathBuf,
        project: Project,
    }

    impl Diary {
        fn run(&self, arguments: &[&str]) -> Ran {
            let output = Command::new(&self.program)
                .args(arguments)
                .current_dir(self.project.root())
                .env("HOME", self.project.path("home"))
                .env("ROSEY_STATE", self.project.path("state"))
                .env("ROSEY_HELPER_STATE", self.project.path("registry"))
                .output()
                .expect("the program starts");
            Ran::new(format!("rosey {}", arguments.join(" ")), &output)
        }

        fn note(&self) -> Option<String> {
            std::fs::read_to_string(self.project.path("live/today.note")).ok()
        }

        /// The steps of a plan that are of the new kind.
        fn planned(&self, arguments: &[&str]) -> Vec<Value> {
            let plan = self.run(arguments).exits(0).json();
            let steps = plan["steps"].as_array().expect("a plan has steps").clone();
            steps
                .into_iter()
                .filter(|step| step["kind"] == "jot")
                .collect()
        }
    }

    #[test]
    fn a_new_kind_is_one_file_and_one_line() {
        let project = Project::new();
        project.write("app/hello.txt", "hello\n");
        project.write("home/.keep", "");
        project.environment("test", ENVIRONMENT);
        let diary = Diary {
            program: build(),
            project,
        };
        let path = diary.project.path("live/today.note").display().to_string();

        // Declared: read, and what is wrong is told on its place.
        diary.run(&["check", "test"]).exits(0);
        let declare =
            |old: &str, new: &str| diary.project.replace("environments/test.kdl", old, new);
        declare("text=", "txet=");
        let said = diary.run(&["check", "test"]).exits(3).stderr;
        assert!(said.contains("did you mean `text`?"), "{said}");
        declare("txet=", "text=");

        // Planned, with its reason; and its undo beside it.
        let steps = diary.planned(&["plan", "test", "--json"]);
        let [step] = steps.as_slice() else {
            panic!("{steps:?}")
        };
        assert_eq!(step["action"], "create");
        assert_eq!(step["resource"], json!(format!("note {path}")));
        assert_eq!(
            step["reasons"],
            json!([{ "attribute": "text", "new": "rain on here" }])
        );
        assert_eq!(step["label"], "reversible");
        let words = diary.run(&["plan", "test", "--undo"]).exits(0).stdout;
        assert!(words.contains(&format!("create   note {path}")), "{words}");
        assert!(words.contains(&format!("remove   note {path}")), "{words}");

        // Applied, and then unchanged.
        let lines = diary
            .run(&["apply", "test", "--yes", "--json"])
            .exits(0)
            .json_lines();
        let outcome = lines.last().expect("an outcome");
        assert_eq!(outcome["outcome"], "applied");
        assert_eq!(diary.note().as_deref(), Some("rain on here"));
        let again = diary
            .run(&["apply", "test", "--yes", "--json"])
            .exits(0)
            .json_lines();
        assert_eq!(again.last().expect("an outcome")["outcome"], "unchanged");

        // Shown.
        let run = outcome["run"].as_str().expect("a run has an id");
        let shown = diary.run(&["show", run]).exits(0).stdout;
        assert!(shown.contains(&path), "{shown}");
        let status = diary.run(&["status", "test", "--json"]).exits(0).json();
        assert_eq!(status["hosts"]["here"]["healthy"], true);

        // Drifted, and put right.
        diary.run(&["drift", "test"]).exits(0);
        diary.project.write("live/today.note", "sunshine");
        let found = diary.run(&["drift", "test", "--json"]).exits(2).json();
        assert_eq!(
            found["findings"][0]["resource"],
            json!(format!("note {path}"))
        );
        diary.run(&["drift", "test", "--heal", "--yes"]).exits(0);
        assert_eq!(diary.note().as_deref(), Some("rain on here"));

        // Undone, where something else of the run fails.
        declare("rain on", "storm over");
        declare(
            "// more",
            "verify { within \"500ms\"; stable \"100ms\"; command \"no\" run=\"exit 1\"; } // more",
        );
        let failed = diary
            .run(&["apply", "test", "--yes", "--json"])
            .exits(7)
            .json_lines();
        let jotted = |line: &&Value| {
            let step = line["step"].as_str().unwrap_or_default();
            line["type"] == "step-done" && step.ends_with("today.note")
        };
        let times = failed.iter().filter(jotted).count();
        assert_eq!(times, 2, "it was changed and taken back: {failed:#?}");
        assert_eq!(failed.last().expect("an outcome")["outcome"], "rolled-back");
        assert_eq!(diary.note().as_deref(), Some("rain on here"));
        diary.run(&["drift", "test"]).exits(0);

        // Removed, when it is no longer declared; and with its app.
        declare(
            "verify { within \"500ms\"; stable \"100ms\"; command \"no\" run=\"exit 1\"; } ",
            "",
        );
        declare("note \"today\" text=\"storm over {{ host.name }}\"", "");
        let steps = diary.planned(&["plan", "test", "--json"]);
        assert_eq!(steps.len(), 1, "{steps:?}");
        assert_eq!(steps[0]["action"], "remove");
        diary.run(&["apply", "test", "--yes"]).exits(0);
        assert_eq!(diary.note(), None);
        diary.run(&["rollback", "test", "--yes"]).exits(0);
        assert_eq!(diary.note().as_deref(), Some("rain on here"));
        diary.run(&["remove", "test", "--yes"]).exits(0);
        assert_eq!(diary.note(), None);
    }
}
