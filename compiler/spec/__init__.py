"""Spec files: networks described in TOML, wherever a name is taken."""
