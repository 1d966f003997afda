"""Archives written canonically and read strictly: no byte of one can change and still be read."""
