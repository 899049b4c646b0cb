//! `ballast snapshot`: named cuts through files, streams and tables at one instant.

use crate::client::Server;
use crate::output;

/// Make, list and remove snapshots
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ballast snapshot create before-upgrade
  ballast snapshot ls
  ballast snapshot rm before-upgrade")]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a snapshot of the whole tree: constant time, durable on return
    Create {
        name: String,
        #[command(flatten)]
        server: Server,
    },
    /// List the snapshots
    Ls {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Remove a snapshot; what only it kept is given back in the background
    Rm {
        name: String,
        #[command(flatten)]
        server: Server,
    },
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.verb {
        Verb::Create { name, server } => {
            let made = server.ask(async |client| Ok(client.create_snapshot(name).await?))?;
            output::note(&format!("made snapshot {} at {}", made.name, made.created));
        }
        Verb::Rm { name, server } => {
            let gone = server.ask(async |client| Ok(client.remove_snapshot(name).await?))?;
            output::note(&format!("removed snapshot {}", gone.name));
        }
        Verb::Ls { json, server } => {
            let listed = server.ask(async |client| Ok(client.snapshots().await?))?;
            if *json {
                return output::json(&listed);
            }
            let rows = listed.snapshots.into_iter();
            let rows: Vec<Vec<String>> = rows.map(|snapshot| vec![snapshot.name, snapshot.created]).collect();
            output::columns(&rows, &[])?;
        }
    }
    Ok(())
}
