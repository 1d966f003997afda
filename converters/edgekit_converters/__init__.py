"""Source model -> float TFLite -> quantized TFLite.

Imports nothing of ``edgekit``; frameworks are imported inside functions and run in a child process.
"""
