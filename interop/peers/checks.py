"""What the Python peers share: one printed line per check."""


def check(name, run):
    """Runs one check and prints `ok NAME` or `FAILED NAME: what was seen`."""
    try:
        run()
    except Exception as error:  # A check may fail in any way; all of them are reported.
        seen = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        print(f"FAILED  {name}: {seen}", flush=True)
    else:
        print(f"ok      {name}", flush=True)


def equal(seen, expected, what):
    """Raises unless both are the same, and says what was seen."""
    if seen != expected:
        raise AssertionError(f"{what} is {seen!r}, not {expected!r}")


def end():
    """Tells the caller that the script reached its end; a script that dies early never says so."""
    print("end", flush=True)
