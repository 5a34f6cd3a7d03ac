"""Programs run in the process of the tests."""


def called(main, argv, capture):
    """(exit code, standard output, standard error) of main(argv); `capture` is pytest's capfd."""
    try:
        code = main([str(a) for a in argv])
    except SystemExit as stop:
        code = stop.code
    return code, *capture.readouterr()
