"""Searching for hyperparameters with Optuna: spaces, studies, trials that are runs of train.py, and their workers."""
