"""A load for minutes: the first minute, the plateau, and what throttled. Pure."""
