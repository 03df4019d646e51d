"""Plots and the HTML report of a run. The only package that imports matplotlib; nothing here needs a display."""
