"""The commands of ``limrank``, a file each; `limrank_ir.cli` puts them together."""
