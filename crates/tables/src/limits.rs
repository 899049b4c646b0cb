//! Every bound of this crate, with its reason.

use std::time::Duration;

/// Columns of a table, dropped ones included: PostgreSQL's limit, and a schema stays one row.
pub const COLUMNS_MAX: usize = 1600;

/// Changes of a table's row layout (ADD and DROP COLUMN) over its life: rows name their layout in 16 bits,
/// and all layouts stay in the schema's row.
pub const LAYOUTS_MAX: usize = 10_000;

/// Bytes of a row's value: it is one value of the index.
pub const ROW_BYTES_MAX: usize = ballast_store::limits::VALUE_BYTES_MAX;

/// Bytes of an encoded primary key: the index's limit less tag, inode and generation.
pub const KEY_BYTES_MAX: usize = ballast_store::limits::KEY_BYTES_MAX - 16;

/// Rows of one transaction. One batch of the volume, less room for schema rows.
pub const TRANSACTION_ROWS_MAX: usize = ballast_store::limits::BATCH_ROWS_MAX - 100;

/// Bytes of keys and values in one transaction, with room for what the batch adds.
pub const TRANSACTION_BYTES_MAX: usize = ballast_store::limits::BATCH_BYTES_MAX - (1 << 20);

/// How often an autocommit statement runs again after a conflict before the client hears of it.
pub const CONFLICT_RETRIES_MAX: usize = 10;

/// Rows that a purge deletes in one batch: some hundred kilobytes, so that it never crowds out other commits.
pub const PURGE_ROWS: usize = 2_000;

/// Rows that a scan takes from the volume at once, and rows of a record batch: DataFusion's own batch size.
pub const SCAN_ROWS: usize = 8_192;

/// Bytes of rows of one such portion: hundreds of scans may hold one, and a column of a batch cannot hold 2 GiB of text.
pub const SCAN_BYTES: usize = 8 << 20;

/// Rows that a scan takes first, to learn how large they are: 16 MiB if all are as large as a row may be.
pub const SCAN_FIRST_ROWS: usize = 16;

/// Bytes of rows that a statement holds which has to find them all before it writes: some times what it can write, so that
/// large values can be made small.
pub const FOUND_BYTES_MAX: usize = 256 << 20;

/// Rows that are held while a table is measured: 100 MB if all are as large as a row may be, and usually some kilobytes.
pub const MEASURE_ROWS: usize = 100;

/// Rows of one statement that run through the direct path; longer key lists go through the planner.
pub const DIRECT_KEYS_MAX: usize = 1_000;

/// Locks over row keys. Two writers of different rows rarely share one; 4,096 locks are 160 KiB.
pub const KEY_LOCKS: usize = 4_096;

/// Tables kept open. One is some kilobytes; 10,000 are tens of megabytes at most.
pub const OPEN_TABLES_MAX: usize = 10_000;

/// Bytes of memory that all queries of a server share for sorts, joins and groups; beyond it they spill to disk.
pub const QUERY_MEMORY_BYTES: usize = 256 << 20;

/// Queries that compute at a time, each on a thread; others wait for their turn. More would only share the same cores,
/// and the blocking pool has 512 threads for everybody.
pub const QUERIES_COMPUTING_MAX: usize = 64;

/// Parameters of one statement: they are counted in 16 bits on the wire.
pub const PARAMETERS_MAX: usize = 65_535;

/// `idle_in_transaction_session_timeout` of a session that does not say: SlateDB keeps the keys of every commit while any
/// transaction is open, so a forgotten one costs memory with every write. Ten minutes is long for a client that works.
pub const IDLE_IN_TRANSACTION_TIMEOUT: &str = "10min";

/// `transaction_timeout` of a session that does not say, for the same reason: a commit costs 430 bytes while a transaction
/// is open, so the thousand a second of a busy server are 770 MB by then.
pub const TRANSACTION_TIMEOUT: &str = "30min";

/// The largest of both that a session can ask for, as it does with 0: nobody who is still there is silent for a day.
pub const TRANSACTION_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes of one statement's text.
pub const STATEMENT_BYTES_MAX: usize = 16 << 20;

/// Depth of nested expressions, so that neither parser nor evaluator leaves the stack.
pub const EXPRESSION_DEPTH_MAX: usize = 50;

/// Stack of the threads that plan and compute statements. DataFusion takes up to 5 KiB of it for each of
/// `STATEMENT_DEPTH_MAX`. Memory is taken only where a statement is so deep.
pub const STACK_BYTES: usize = 16 << 20;

/// Depth of a statement's tree, operators that follow each other included. Planning takes time with its square:
/// 2,000 times OR take a second and a half.
pub const STATEMENT_DEPTH_MAX: usize = 2_000;

/// What each of several joined or common tables counts in that depth: 14 KiB of stack and, where they are joined, more
/// than the square in time. That makes 100 of them.
pub const TABLE_DEPTH: usize = 20;

/// What a UNION, EXCEPT or INTERSECT counts: up to 10 KiB of stack. That makes 500 of them.
pub const SET_OPERATION_DEPTH: usize = 4;

/// Bytes of one line of COPY data.
pub const COPY_LINE_BYTES_MAX: usize = 16 << 20;

/// Rows that COPY gathers before it looks up their keys and writes them.
pub const COPY_ROWS: usize = 1_000;

/// Bytes of lines that it gathers, so that long ones are not a thousand times their limit.
pub const COPY_BYTES: usize = 4 << 20;
