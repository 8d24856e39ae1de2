"""From a recording to an honest answer: the same measurement of simulated networks, a calibrated posterior, and what to doubt."""
