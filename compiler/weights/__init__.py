"""`convert`: checkpoints into the weights of emitted models, in either framework."""
