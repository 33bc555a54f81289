"""Proposers for tests: what they guess is told, and how often it is wrong."""

from girih.engine.guess import Guess


class Told:
    """Guesses by a function of the text so far and a count."""

    def __init__(self, tell, most=6):
        self.tell, self.most = tell, most

    def check(self, model):
        pass

    def begin(self, tracks, tokens):
        self.tracks = tracks
        return self

    def propose(self, wanted):
        out = {}
        for index, count in wanted.items():
            track = self.tracks[index]
            tokens = self.tell(track.prompt + track.tokens, count)[:count]
            out[index] = [Guess(token) for token in tokens]
        return out

    def close(self):
        pass


def knowing(prompts, results, wrong=None, most=6, vocab=61, beyond=()):
    """Knows how texts went on, and what would come `beyond`; errs at each `wrong`th place."""
    texts = [[*p, *one.tokens, *beyond] for p, one in zip(prompts, results, strict=True)]

    def tell(text, count):
        known = next(one for one in texts if one[: len(text)] == text)
        places = range(len(text), min(len(known), len(text) + count))
        return [
            (known[at] + 1) % vocab if wrong and at % wrong == 0 else known[at] for at in places
        ]

    return Told(tell, most)
