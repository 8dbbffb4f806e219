"""Side-by-side measurements: the packaged hub, and in the same run the floor that no hub could go below."""
