"""What the programs of models and demos share, and the command line."""


def main(argv):
    """Run a command line by its name and its flags. Returns the exit code."""
    from . import command_line

    name, *flags = argv
    own = {"lookup_table": command_line.lookup_table, "modern_block": command_line.modern_block}
    return own[name](flags) if name in own else command_line.main(name, flags)
