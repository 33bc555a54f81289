"""The error of a description that cannot be a model."""


class SpecError(ValueError):
    """A spec that cannot exist, told in the user's words with the path of the culprit."""
