"""The command line, and what the programs of models and demos share."""
