"""The command line: arguments, tables and exit codes. The work is done by the modules below."""
