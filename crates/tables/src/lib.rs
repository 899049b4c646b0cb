//! Tables: schemas, rows, transactions and SQL, without a wire protocol
