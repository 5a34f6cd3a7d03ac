"""What the programs of models and demos share, and the command line."""
