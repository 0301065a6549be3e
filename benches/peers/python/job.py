"""What the harness asks of a peer, by environment variables, and how it ends one."""

import os
import signal
import sys

BROKERS = os.environ.get("PEER_BROKERS", "")
TOPIC = os.environ.get("PEER_TOPIC", "")
GROUP = os.environ.get("PEER_GROUP", "")
REDIS = os.environ.get("PEER_REDIS", "")
# A directory of this run, empty at its start.
DIR = os.environ.get("PEER_DIR", "")
# The SSE stream.
URL = os.environ.get("PEER_URL", "")


def end_on_sigterm():
    """Let SIGTERM unwind the stack, so that clients are closed and offsets committed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
