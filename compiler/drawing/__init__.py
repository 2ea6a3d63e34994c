"""Drawings of networks as SVG: from the ledger and the wiring to boxes, arrows and text."""
