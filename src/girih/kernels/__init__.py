"""How fast: functions on tensors that know nothing of specs, modules or engines."""
