"""When: prompts become batches, batches become tokens."""
