//! Unknown words, wrong types and missing values: each on its place, all at once.

use insta::assert_snapshot;

use super::Project;

#[test]
fn every_error_is_told_at_once_with_the_nearest_word() {
    let project = Project::with(
        r#"
host "web" adress="web.example.org" port="22" {
    tag "eu"
    become "root"
}
app "bot" {
    on "wbe"
    root "/opt/bot"
    keep release=5
    toyy "one"
    toy "two" size=-1
}
rolout { guard 60; }
rollout { guard 60; }
"#,
    );
    assert_snapshot!(project.errors(), @r#"
      × environments/prod.kdl has 10 errors

    Error:
      × unknown property `adress` of `host`
       ╭─[environments/prod.kdl:2:12]
     1 │
     2 │ host "web" adress="web.example.org" port="22" {
       ·            ───┬──
       ·               ╰── not known here
     3 │     tag "eu"
       ╰────
      help: did you mean `address`?

    Error:
      × `port` needs a whole number from 0 to 65535
       ╭─[environments/prod.kdl:2:42]
     1 │
     2 │ host "web" adress="web.example.org" port="22" {
       ·                                          ──┬─
       ·                                            ╰── found "22"
     3 │     tag "eu"
       ╰────
      help: write the number without quotes

    Error:
      × unknown word `tag` in `host "web"`
       ╭─[environments/prod.kdl:3:5]
     2 │ host "web" adress="web.example.org" port="22" {
     3 │     tag "eu"
       ·     ─┬─
       ·      ╰── not known here
     4 │     become "root"
       ╰────
      help: did you mean `tags`?

    Error:
      × `become` needs one of "none", "sudo"
       ╭─[environments/prod.kdl:4:12]
     3 │     tag "eu"
     4 │     become "root"
       ·            ───┬──
       ·               ╰── found "root"
     5 │ }
       ╰────

    Error:
      × no host has the name or tag "wbe"
       ╭─[environments/prod.kdl:7:8]
     6 │ app "bot" {
     7 │     on "wbe"
       ·        ──┬──
       ·          ╰── nobody is meant
     8 │     root "/opt/bot"
       ╰────
      help: did you mean `web`?

    Error:
      × unknown property `release` of `keep`
        ╭─[environments/prod.kdl:9:10]
      8 │     root "/opt/bot"
      9 │     keep release=5
        ·          ───┬───
        ·             ╰── not known here
     10 │     toyy "one"
        ╰────
      help: did you mean `releases`?

    Error:
      × unknown word `toyy` in `app "bot"`
        ╭─[environments/prod.kdl:10:5]
      9 │     keep release=5
     10 │     toyy "one"
        ·     ──┬─
        ·       ╰── not known here
     11 │     toy "two" size=-1
        ╰────
      help: did you mean `toy`?

    Error:
      × `size` needs a whole number from 0 to 4294967295
        ╭─[environments/prod.kdl:11:20]
     10 │     toyy "one"
     11 │     toy "two" size=-1
        ·                    ─┬
        ·                     ╰── found -1
     12 │ }
        ╰────

    Error:
      × unknown word `rolout`
        ╭─[environments/prod.kdl:13:1]
     12 │ }
     13 │ rolout { guard 60; }
        · ───┬──
        ·    ╰── not known here
     14 │ rollout { guard 60; }
        ╰────
      help: did you mean `rollout`?

    Error:
      × `guard` needs a duration with its unit, such as "30s" or "5m"
        ╭─[environments/prod.kdl:14:17]
     13 │ rolout { guard 60; }
     14 │ rollout { guard 60; }
        ·                 ─┬
        ·                  ╰── found 60 without a unit
        ╰────
      help: `"60s"` for seconds, `"60m"` for minutes
    "#);
}

#[test]
fn every_word_of_the_top_is_offered_in_place_of_an_unknown_one() {
    let near = Project::with("inclde \"common/bot.kdl\"\n").errors();
    assert!(near.contains("did you mean `include`?"), "{near}");
    let far = Project::with("environment \"prod\"\n").errors();
    assert!(far.contains("known here: include, vars, assert"), "{far}");
}
