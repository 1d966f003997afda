"""Models for microcontrollers: run through TFLite Micro on this machine before any board sees them."""
