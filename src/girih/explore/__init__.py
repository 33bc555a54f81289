"""The explorer: a page that looks into the models of this machine."""
