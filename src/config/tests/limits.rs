//! Files that are refused before they are parsed, and syntax that is wrong.

use insta::assert_snapshot;

use super::Project;

#[test]
fn ten_thousand_nested_nodes_are_refused() {
    let project = Project::with(&("a {".repeat(10_000) + &"}".repeat(10_000)));
    let report = project.errors();
    assert!(
        report.contains("nested more than 64 levels deep"),
        "{report}"
    );
    assert!(report.contains("level 65 begins here"), "{report}");
}

#[test]
fn braces_in_strings_and_comments_are_no_nesting() {
    let braces = "{".repeat(100);
    let project = Project::with(&format!(
        "vars {{ a \"{braces}\"; b #\"{braces}\"#; c \"\\\"{braces}\"; d #\"\"\"\n{braces}\n\"\"\"#; }}\n// {braces}\n/* {braces} /* */ {braces} */\n"
    ));
    project.load().unwrap();
}

#[test]
fn nested_comments_are_refused_too() {
    let project = Project::with(&("/*".repeat(10_000) + &"*/".repeat(10_000)));
    assert!(
        project
            .errors()
            .contains("comments nested more than 64 levels deep")
    );
}

#[test]
fn unclosed_raw_strings_are_refused_at_once() {
    let project = Project::with(&"a #\"".repeat(200_000));
    let report = project.errors();
    assert!(report.contains("a string is not closed"), "{report}");
}

#[test]
fn five_megabytes_are_refused() {
    let project = Project::with(&"// nothing\n".repeat(500_000));
    assert_snapshot!(project.errors(), @r"
      × the declaration has an error

    Error:
      × environments/prod.kdl is larger than 1 MiB, which is all that a declaration may be
      help: is it really a declaration? Split it with `include` if so
    ");
}

#[test]
fn bytes_that_are_not_utf_8_are_refused_with_their_offset() {
    let project = Project::new();
    project.write("environments/prod.kdl", b"vars {\n  a \"caf\xe9\"\n}\n");
    assert_snapshot!(project.errors(), @r"
      × the declaration has an error

    Error:
      × environments/prod.kdl is not UTF-8: byte 0xe9 at offset 15, in line 2
      help: save the file as UTF-8
    ");
}

#[test]
fn every_fault_of_the_syntax_is_told() {
    let project = Project::with("vars {\n    a true\n    b 0x\n    c \"open\n}\nhost \"x\n");
    assert_snapshot!(project.errors(), @r#"
      × environments/prod.kdl has 4 errors

    Error:
      × expected identifier string
       ╭─[environments/prod.kdl:2:7]
     1 │ vars {
     2 │     a true
       ·       ──┬─
       ·         ╰── not identifier string
     3 │     b 0x
       ╰────
      help: KDL 2 writes it with a hash: `#true`

    Error:
      × expected hexadecimal number
       ╭─[environments/prod.kdl:3:7]
     2 │     a true
     3 │     b 0x
       ·       ─┬─
       ·        ╰── not hexadecimal number
     4 │     c "open
     5 │ }
       ╰────

    Error:
      × unexpected newline in single-line quoted string
       ╭─[environments/prod.kdl:4:7]
     3 │     b 0x
     4 │     c "open
       ·       ──┬──
       ·         ╰── not quoted string
     5 │ }
       ╰────
      help: You can make a string multi-line by wrapping it in '"""', with a newline immediately after the opening quotes.

    Error:
      × unexpected newline in single-line quoted string
       ╭─[environments/prod.kdl:6:6]
     5 │ }
     6 │ host "x
       ·      ─┬
       ·       ╰── not quoted string
       ╰────
      help: You can make a string multi-line by wrapping it in '"""', with a newline immediately after the opening quotes.
    "#);
}

#[test]
fn a_brace_that_is_missing_is_told_where_it_was_opened() {
    let project = Project::with("vars {\n    a 1\n\nhost \"x\"\n");
    assert_snapshot!(project.errors(), @r"
      × environments/prod.kdl has an error

    Error:
      × no closing '}' for child block
       ╭─[environments/prod.kdl:1:6]
     1 │ vars {
       ·      ┬
       ·      ╰── not closed
     2 │     a 1
       ╰────
    ");
}

#[test]
fn a_file_that_is_not_there_and_one_that_is_no_file() {
    let project = Project::new();
    assert_snapshot!(project.errors(), @r"
      × the declaration has an error

    Error:
      × environments/prod.kdl does not exist
    ");
    std::fs::create_dir(project.path().join("environments/prod.kdl")).unwrap();
    assert_snapshot!(project.errors(), @r"
      × the declaration has an error

    Error:
      × failed to read environments/prod.kdl: it is no regular file
    ");
}

#[test]
fn a_property_has_one_value_and_no_annotation() {
    let project = Project::with("host \"a\" port=1 port=2\nhost (string)\"b\" port = 0\n");
    assert_snapshot!(project.errors(), @r#"
      × environments/prod.kdl has 3 errors

    Error:
      × `port` is given twice
       ╭─[environments/prod.kdl:1:10]
     1 │ host "a" port=1 port=2
       ·          ──┬─   ──┬─
       ·            │      ╰── again here
       ·            ╰── first here
     2 │ host (string)"b" port = 0
       ╰────

    Error:
      × type annotations have no meaning here
       ╭─[environments/prod.kdl:2:7]
     1 │ host "a" port=1 port=2
     2 │ host (string)"b" port = 0
       ·       ───┬──
       ·          ╰── leave it out
       ╰────

    Error:
      × `port` can't be 0
       ╭─[environments/prod.kdl:2:25]
     1 │ host "a" port=1 port=2
     2 │ host (string)"b" port = 0
       ·                         ┬
       ·                         ╰── from 1 to 65535
       ╰────
    "#);
}

#[test]
fn thousands_of_anything_are_read_and_only_so_many_errors_are_told() {
    let lines = |line: &dyn Fn(usize) -> String| -> String { (0..3_000).map(line).collect() };
    let many = [
        (
            format!("vars {{\n{}}}\n", lines(&|n| format!("v{n} {n}\n"))),
            0,
        ),
        (
            format!("vars {{\n{}}}\n", lines(&|n| format!("v{} {n}\n", n % 7))),
            5986,
        ),
        (
            format!("vars {{ v{} }}\n", lines(&|n| format!(" p{n}={n}"))),
            0,
        ),
        (lines(&|n| format!("unknown{n}\n")), 3000),
    ];
    for (text, count) in many {
        let project = Project::with(&format!("include \"base.kdl\"\n{text}"));
        project.write("environments/base.kdl", &text);
        let Err(errors) = project.load() else {
            assert_eq!(count, 0);
            continue;
        };
        let told =
            format!("environments/prod.kdl has {count} errors, of which these are the first 100");
        assert!(errors.to_string().ends_with(&told), "{errors}");
        assert_eq!(errors.messages().count(), 100);
    }
}
