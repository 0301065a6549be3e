//! Generated recentchange events and an SSE server over them or a recording
