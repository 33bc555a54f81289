"""How it computes: modules of the same names as the spec's nodes."""
