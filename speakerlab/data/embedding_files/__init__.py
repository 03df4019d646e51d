"""Speaker embeddings as files: one format a file of this folder, with `read(path)` and `write(path, embeddings)`."""
