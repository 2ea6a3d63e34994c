"""nnU-Net: from its plans files and checkpoints, or by its planner's rules, to an architecture."""
