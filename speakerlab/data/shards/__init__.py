"""Corpora packed into tar files, WebDataset's form, to be read from beginning to end from a disk or a web server."""
