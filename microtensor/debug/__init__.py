"""Finding out why a training goes wrong: `diagnose` says what ails a model, `Recorder` keeps what
happens during a training.
"""
