"""The command line: what scripts share."""
