"""What runs on the device: standard library, numpy and a TFLite runtime; Python >= 3.7; nothing else of edgekit.

The same files run on the host, where audit and evaluate use ``runtime``.
"""
