"""Pure decisions: facts and an instant in, a decision with reasons out. No clock, no I/O."""
