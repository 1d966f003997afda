"""One model against another: in turns, or against a recorded run; verdicts and the gate of a CI job."""
