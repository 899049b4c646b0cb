//! Tables through the API: made by the same statement that a client of SQL would send.

use crate::views::quoted;
use ballast_tables::{Session, Tables};
use ballast_types::{Call, TreePath};

/// Makes a table; `columns` as between the parentheses of CREATE TABLE. Durable on return.
pub async fn create(tables: &Tables, call: &Call, path: &str, columns: &str) -> ballast_tables::Result<()> {
    let mut session = Session::new(tables.clone(), call.clone(), TreePath::root());
    let create = format!("create table {} ({columns})", quoted(path));
    let done = async {
        let prepared = session.prepare(&create, &[]).await?;
        session.execute(&prepared, &[], false).await?;
        session.sync().await
    }
    .await;
    session.close().await;
    done
}
