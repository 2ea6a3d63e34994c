"""The life of a vendored file: its base, its state, and the merge of edits with a new emission."""
