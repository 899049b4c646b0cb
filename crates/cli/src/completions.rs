//! `ballast completions`: what a shell needs to complete our arguments.

use clap::CommandFactory;

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ballast completions bash > ~/.local/share/bash-completion/completions/ballast
  ballast completions zsh > ~/.zfunc/_ballast
  ballast completions fish > ~/.config/fish/completions/ballast.fish")]
pub struct Arguments {
    shell: clap_complete::Shell,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut crate::Arguments::command(), "ballast", &mut text);
    crate::output::line(String::from_utf8(text)?.trim_end())
}
