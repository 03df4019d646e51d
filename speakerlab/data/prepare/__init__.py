"""From a corpus's download hosts, or a tree on disk, to a checked manifest: each stage does only what is left."""
