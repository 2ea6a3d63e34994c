"""`verify`: a network in both frameworks, built from source, compared number for number."""
