"""Where weights come from: files, their names, their tokenizers."""
