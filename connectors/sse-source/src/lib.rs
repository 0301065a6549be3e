//! Server-Sent Events as a source of records
