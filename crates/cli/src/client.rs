//! How a verb reaches the server.

use ballast_api::Client;

/// Which server to ask.
#[derive(Debug, clap::Args)]
pub struct Server {
    /// The server to ask
    #[arg(
        long,
        value_name = "URL",
        env = "BALLAST_SERVER",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8765"
    )]
    pub server: String,
}

impl Server {
    /// Runs `ask` with a client of this server.
    pub fn ask<T, F>(&self, ask: impl FnOnce(Client) -> F) -> anyhow::Result<T>
    where
        F: Future<Output = anyhow::Result<T>>,
    {
        let client = Client::new(&self.server)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(ask(client))
    }
}
