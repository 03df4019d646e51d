"""One file a corpus: where its recordings lie, who speaks in them, and its trial lists."""
