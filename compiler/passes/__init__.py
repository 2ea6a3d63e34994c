"""Validate, specialize, trace, count: plain named steps, each reads the IR and makes the next."""
