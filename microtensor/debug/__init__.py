"""Tools to find out why a training fails: `diagnose` tests a model for mistakes, `Recorder` records
a training.
"""
