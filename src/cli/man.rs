//! `rosey man`: the manual page on stdout, with every command in it.

use clap::{Arg, Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::arguments::Arguments;
use super::completions::print;
use super::error::CommandError;
use super::exit::Exit;

pub(super) fn run() -> Result<Exit, CommandError> {
    let page = page().map_err(|error| {
        CommandError::new(
            Exit::ERROR,
            format!("the manual page can't be made: {error}"),
        )
    })?;
    print(&page)
}

/// One page for all commands, since one is easier to search than twenty.
fn page() -> std::io::Result<Vec<u8>> {
    let mut command = Arguments::command();
    command.build();
    let whole = Man::new(command.clone());
    let mut page = Vec::new();
    whole.render_title(&mut page)?;
    whole.render_name_section(&mut page)?;
    whole.render_synopsis_section(&mut page)?;
    whole.render_options_section(&mut page)?;
    let mut commands = Roff::new();
    commands.control("SH", ["COMMANDS"]);
    let shown = |it: &&Command| !it.is_hide_set() && it.get_name() != "help";
    for each in command.get_subcommands().filter(shown) {
        describe(each, &mut commands);
    }
    commands.to_writer(&mut page)?;
    whole.render_extra_section(&mut page)?;
    Ok(page)
}

/// One command, with what only it understands.
fn describe(command: &Command, page: &mut Roff) {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    page.control("SS", [command.get_name()]);
    page.text([bold(usage)]);
    page.control("PP", []);
    page.text([roman(said(command.get_about()))]);
    let own = |it: &&Arg| {
        !it.is_global_set()
            && !it.is_hide_set()
            && !["help", "version"].contains(&it.get_id().as_str())
    };
    let its_version = |it: &&Arg| it.get_id() == "version" && it.get_action().takes_values();
    for argument in command
        .get_arguments()
        .filter(|it| own(it) || its_version(it))
    {
        page.control("TP", []);
        page.text([bold(argument.to_string())]);
        page.text([roman(said(argument.get_help()))]);
    }
}

fn said(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}
