//! Container output: the json-file format, rotation, reading and following, and the pump that serves attach.
