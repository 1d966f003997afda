"""edgekit: from a trained model to a working, measured, signed deployment on a small device."""
