"""The file formats of the field, read and written, with errors that say where."""
