"""One use case a module: opens the unit of work, runs named steps, commits."""
