"""What the page in `site/` asks of the compiler, and the command that serves the page."""
