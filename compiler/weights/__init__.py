"""`convert`: load checkpoints into emitted models, in either framework."""
