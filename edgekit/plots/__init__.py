"""Plots as files: ``figure.py`` draws SVG and PNG, each other module knows one kind of plot."""
