//! The docker command line: commands, flags, tables, templates, terminal.
