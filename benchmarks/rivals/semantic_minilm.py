"""semantic-router with MiniLM: a route for each candidate, whose utterances are the prompts that it answered best."""

import job
import numpy as np
from semantic_router import Route
from semantic_router.encoders import DenseEncoder
from semantic_router.routers import IndexedRouter


class MiniLM(DenseEncoder):
    """Looks vectors up in what was embedded before; a text that is not there is embedded."""

    name: str = "all-MiniLM-L6-v2"
    known: dict = {}  # noqa: RUF012 - a field of pydantic's
    model: object = None

    def __call__(self, docs: list[str]) -> list[list[float]]:
        """Return the unit vector of each text."""
        missing = [text for text in docs if text not in self.known]
        fresh = self.model.encode(missing, normalize_embeddings=True, show_progress_bar=False) if missing else []
        found = dict(zip(missing, fresh, strict=True))
        return [np.asarray(self.known.get(text, found.get(text))).tolist() for text in docs]


def main() -> None:
    """Build the routes and route every test text."""
    folder, asked = job.read()
    model = job.minilm()
    vectors = np.concatenate([job.vectors(folder, "train"), job.vectors(folder, "test")])
    known = dict(zip(asked["train"] + asked["test"], vectors, strict=True))
    best = np.array(asked["best"])
    routes = [
        Route(name=str(column), utterances=[asked["train"][row] for row in np.flatnonzero(best == column)])
        for column in np.unique(best)
    ]
    encoder = MiniLM(known=known, model=model)
    router = IndexedRouter(encoder=encoder, routes=routes)
    found = [router(text).name for text in asked["test"]]
    choice = [asked["single"] if name is None else int(name) for name in found]
    encoder.known = {}
    spent = job.timed(router, asked["test"][: asked["timed"]])
    job.write(folder, choice, None, spent, "semantic-router", "sentence-transformers", "torch")


if __name__ == "__main__":
    main()
