//! Embedded topics and counts on disk, behind the same seams
