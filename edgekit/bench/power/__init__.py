"""Energy and battery: from the readings of gauges to joules of an inference and hours of operation. Pure."""
