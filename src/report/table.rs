//! Tables for people, and the shapes of hosts for scripts.

use std::collections::BTreeMap;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde_json::{Value, json};

use crate::model::{HostName, HostOutcome};

/// The longest word, in characters, that a table doesn't break: a run's name has fewer.
const WORD: usize = 32;

/// A table without borders; the first row is its head.
#[must_use]
pub fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(
        head.iter()
            .map(|cell| cell.to_uppercase())
            .collect::<Vec<_>>(),
    );
    // What somebody copies stays in one piece, as a run's name: where words don't fit, nor on a terminal that nobody has
    // given a size, no cell is broken, and the terminal breaks its lines.
    let longest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let words = cells.flat_map(|cell| cell.split_whitespace());
        let words = words.map(|word| word.chars().count());
        let width = words.max().unwrap_or_default().min(WORD);
        // A space stands before a cell and after it.
        width.max(head[column].len()) + 2
    };
    let widths: Vec<usize> = (0..head.len()).map(longest).collect();
    if table
        .width()
        .is_some_and(|width| widths.iter().sum::<usize>() > width.into())
    {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    let whole = widths.into_iter().map(|width| {
        ColumnConstraint::LowerBoundary(Width::Fixed(u16::try_from(width).unwrap_or(u16::MAX)))
    });
    table.set_constraints(whole.collect::<Vec<_>>());
    for row in rows {
        table.add_row(row);
    }
    let lines: Vec<String> = table
        .to_string()
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n") + "\n"
}

/// What stands on hosts, as the contract shows it.
#[must_use]
pub fn hosts_json(hosts: &BTreeMap<HostName, Vec<HostOutcome>>) -> Value {
    let mut map = serde_json::Map::new();
    for (host, apps) in hosts {
        let value = match apps.as_slice() {
            [app] => json!(app),
            apps => json!(apps),
        };
        map.insert(host.to_string(), value);
    }
    Value::Object(map)
}

/// What stands on hosts, for people.
#[must_use]
pub fn hosts_table(hosts: &BTreeMap<HostName, Vec<HostOutcome>>) -> String {
    let mut rows = Vec::new();
    for (host, apps) in hosts {
        for app in apps {
            let healthy = match app.healthy {
                Some(true) => "yes",
                Some(false) => "no",
                None => "unknown",
            };
            rows.push(vec![
                host.to_string(),
                app.app.clone(),
                app.generation
                    .map_or_else(|| "-".to_owned(), |number| number.to_string()),
                app.release.clone().unwrap_or_else(|| "-".to_owned()),
                app.version.clone().unwrap_or_else(|| "-".to_owned()),
                healthy.to_owned(),
            ]);
        }
    }
    table(
        &["host", "app", "generation", "release", "version", "healthy"],
        rows,
    )
}
