"""The delivery loop, the log sequencer and the timed jobs."""
